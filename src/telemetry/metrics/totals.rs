//! The counters of one connection, added up over all workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::counter::FaultCounter;
use super::counters::Counters;
use super::histogram::Histogram;
use super::labels::SeriesKey;
use super::tokens::TokenTotals;
use crate::telemetry::{ConnectionStats, FaultStats, RequestOutcome};

/// The counters of one connection, added up for one reader.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) requests: BTreeMap<SeriesKey, u64>,
    pub(super) faults: BTreeMap<&'static str, FaultCounter>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) signed: u64,
    pub(super) dropped_references: u64,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    pub(super) idle_sockets: usize,
    pub(super) active_sockets: usize,
    pub(super) had_sockets: bool,
    /// `None` if no credential of the connection used tokens.
    pub(super) tokens: Option<TokenTotals>,
    /// The route labels in the order of their numbers.
    pub(super) routes: Vec<Arc<str>>,
    /// The time when the last exchange that was sent to the upstream ended, in Unix milliseconds; 0
    /// if none was sent.
    last_sent: u64,
}

impl Totals {
    /// Adds the counters of one worker.
    pub(super) fn add(&mut self, counters: &Counters) {
        // Requests are read first: `Counters::record` counts them last.
        let published = counters.published_series();
        for (key, count) in published.requests {
            *self.requests.entry(key).or_default() += count.get();
        }
        for (code, fault) in published.faults {
            self.faults.entry(code).or_default().merge(&fault);
        }
        self.request_bytes += counters.request_bytes.get();
        self.response_bytes += counters.response_bytes.get();
        self.signed += counters.signed.get();
        self.dropped_references += counters.dropped_references.get();
        self.duration.merge(&counters.duration);
        self.upstream.merge(&counters.upstream);
        self.last_sent = self.last_sent.max(counters.last_sent.get());
        self.idle_sockets += counters.sockets.idle();
        self.active_sockets += counters.sockets.active();
        self.had_sockets |= counters.sockets.had_any();
    }

    /// Returns the sums as the management API shows them.
    pub(super) fn to_stats(&self) -> ConnectionStats {
        let requests = |outcome| -> u64 {
            let all = self.requests.iter();
            all.filter(|(key, _)| key.outcome() == outcome)
                .map(|(_, count)| count)
                .sum()
        };
        let faults = self.faults.iter().map(|(code, fault)| FaultStats {
            code,
            count: fault.count.get(),
            last: to_timestamp(fault.last.get()),
        });
        ConnectionStats {
            last_used: (self.last_sent != 0).then(|| to_timestamp(self.last_sent)),
            forwarded: requests(RequestOutcome::Forwarded),
            refused: requests(RequestOutcome::Refused),
            agent_cancelled: requests(RequestOutcome::AgentCancelled),
            upstream_failed: requests(RequestOutcome::UpstreamFailed),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            faults: faults.collect(),
        }
    }
}

fn to_timestamp(unix_millis: u64) -> Timestamp {
    let unix_millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(unix_millis).unwrap_or_default()
}
