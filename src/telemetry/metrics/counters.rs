//! One worker's counters of one connection. That worker alone writes them; any thread may read them
//! at any time.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use parking_lot::Mutex;

use super::counter::{Counter, FaultCounter};
use super::histogram::Histogram;
use super::labels::{MethodLabel, SeriesKey, SeriesKeyHasher};
use super::sockets::SocketCounters;
use crate::telemetry::RequestOutcome;

/// An exchange that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedExchange {
    /// The place of the pattern that admitted it, among those that its recorder was made with.
    pub route: Option<usize>,
    /// The method as sent.
    pub method: MethodLabel,
    /// The status that the agent saw.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// Why egressd answered in its own name, or broke off.
    pub code: Option<&'static str>,
    /// Whether the answer was egressd's own, and carries the code.
    pub answered_by_us: bool,
    /// Whether it went up to the upstream.
    pub was_sent: bool,
    /// Whether it went up with a signature.
    pub was_signed: bool,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the upstream's response that went to the agent.
    pub response_bytes: u64,
    /// When its head was there.
    pub begun: Instant,
    /// When the head of the upstream's response was there.
    pub answered: Option<Instant>,
    /// When it ended.
    pub ended: Instant,
}

/// The counters of one worker for one connection.
#[derive(Default)]
pub(super) struct Counters {
    /// The series by their labels. Only the worker takes this lock.
    series: Mutex<Series>,
    /// The same series, for readers. The worker takes this lock only when a series begins, so a
    /// scrape does not delay requests.
    published: Mutex<Series>,
    pub(super) request_bytes: Counter,
    pub(super) response_bytes: Counter,
    pub(super) signed: Counter,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    /// When the last exchange that was sent ended, in Unix milliseconds; 0 is never.
    pub(super) last_sent: Counter,
    pub(super) sockets: Arc<SocketCounters>,
}

/// The counters that have labels beside the connection.
#[derive(Clone, Default)]
pub(super) struct Series {
    pub(super) requests: HashMap<SeriesKey, Arc<Counter>, BuildHasherDefault<SeriesKeyHasher>>,
    pub(super) faults: BTreeMap<&'static str, Arc<FaultCounter>>,
}

impl Counters {
    /// Counts an exchange that ended at this time, in Unix milliseconds. `admits_status` returns
    /// whether a status of the upstream has a label of its own.
    pub(super) fn record(
        &self,
        key: SeriesKey,
        exchange: &EndedExchange,
        ended: u64,
        admits_status: impl FnOnce(StatusCode) -> bool,
    ) {
        let mut series = self.series.lock();
        let since = |moment: Instant| moment.saturating_duration_since(exchange.begun);
        self.request_bytes.add(exchange.request_bytes);
        self.response_bytes.add(exchange.response_bytes);
        self.signed.add(exchange.was_signed.into());
        self.duration.observe(since(exchange.ended));
        if let Some(answered) = exchange.answered {
            self.upstream.observe(since(answered));
        }
        if let Some(code) = exchange.code {
            let fault = series.faults.entry(code).or_insert_with(|| {
                let mut published = self.published.lock();
                Arc::clone(published.faults.entry(code).or_default())
            });
            fault.count.add(1);
            fault.answered.add(exchange.answered_by_us.into());
            fault.last.set(ended);
        }
        if exchange.was_sent {
            self.last_sent.set(ended);
        }
        // Last, because readers look at it first: a reader that finds an exchange here finds the
        // rest of it.
        if let Some(count) = series.requests.get(&key) {
            return count.add(1);
        }
        // The first exchange of its series, or one whose status has no label. The statuses of our
        // own answers are a closed list.
        let has_label = exchange.answered_by_us || exchange.status.is_none_or(admits_status);
        let key = if has_label {
            key
        } else {
            key.with_other_status()
        };
        self.begin_series(&mut series, key).add(1);
    }

    #[cold]
    fn begin_series<'s>(&self, series: &'s mut Series, key: SeriesKey) -> &'s Counter {
        series.requests.entry(key).or_insert_with(|| {
            let mut published = self.published.lock();
            Arc::clone(published.requests.entry(key).or_default())
        })
    }

    /// Returns all series that have begun.
    pub(super) fn published_series(&self) -> Series {
        self.published.lock().clone()
    }
}
