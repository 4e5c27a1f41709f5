//! What all workers know of one connection: its labels, and the counters of each worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::Process;
use super::counters::{Counters, EndedExchange};
use super::histogram::Distribution;
use super::labels::{Labels, SeriesKey};
use super::sockets::SocketCounters;
use crate::telemetry::{ConnectionStats, FaultStats, RequestOutcome};

/// The books of a connection, for the life of the process.
pub(super) struct ConnectionMetrics {
    process: Arc<Process>,
    labels: Arc<Labels>,
    /// By worker.
    workers: Mutex<BTreeMap<usize, Arc<Counters>>>,
}

/// Where one worker records the exchanges of one generation of a connection.
pub struct Recorder {
    counters: Arc<Counters>,
    /// What the labels call this generation's routes.
    routes: Box<[u32]>,
}

/// The books of all workers together.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) requests: BTreeMap<SeriesKey, u64>,
    pub(super) faults: BTreeMap<&'static str, FaultTotal>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) signed: u64,
    pub(super) duration: Distribution,
    pub(super) upstream: Distribution,
    pub(super) idle_sockets: usize,
    pub(super) active_sockets: usize,
    pub(super) had_sockets: bool,
    last_sent: i64,
}

#[derive(Default)]
pub(super) struct FaultTotal {
    all: u64,
    pub(super) answered: u64,
    last: i64,
}

impl ConnectionMetrics {
    pub(super) fn new(process: Arc<Process>) -> Self {
        Self {
            process,
            labels: Arc::default(),
            workers: Mutex::default(),
        }
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// One that writes into the counters of this worker.
    pub(super) fn recorder<'a>(
        &self,
        worker: usize,
        routes: impl IntoIterator<Item = &'a str>,
    ) -> Recorder {
        let mut workers = self.workers.lock();
        let counters = workers.entry(worker).or_insert_with(|| {
            let labels = Arc::clone(&self.labels);
            Arc::new(Counters::new(labels, Arc::clone(&self.process)))
        });
        Recorder {
            counters: Arc::clone(counters),
            routes: self.labels.number(routes),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let workers = self.workers.lock();
        let workers: Vec<_> = workers.values().cloned().collect();
        let mut totals = Totals::default();
        for counters in workers {
            totals.add(&counters);
        }
        totals
    }
}

impl Recorder {
    /// Writes an exchange down. A fraction of a microsecond, and no wait.
    pub fn record(&self, exchange: &EndedExchange) {
        let route = exchange.route.and_then(|route| self.routes.get(route));
        self.counters.record(route.copied().unwrap_or(0), exchange);
    }

    /// Where this worker's sockets to the upstream are counted.
    pub fn sockets(&self) -> &Arc<SocketCounters> {
        &self.counters.sockets
    }

    /// There was a panic, and it was caught.
    pub fn count_panic(&self) {
        self.counters.process().count_panic();
    }
}

impl Totals {
    fn add(&mut self, counters: &Counters) {
        let published = counters.published();
        for (key, count) in published.series {
            *self.requests.entry(key).or_default() += count.now();
        }
        for fault in published.faults {
            let total = self.faults.entry(fault.code).or_default();
            total.all += fault.all.now();
            total.answered += fault.answered.now();
            total.last = total.last.max(fault.last.load(Relaxed));
        }
        let sums = &counters.sums;
        self.request_bytes += sums.request_bytes.now();
        self.response_bytes += sums.response_bytes.now();
        self.signed += sums.signed.now();
        self.duration.add(&sums.duration);
        self.upstream.add(&sums.upstream);
        self.last_sent = self.last_sent.max(sums.last_sent.load(Relaxed));
        self.idle_sockets += counters.sockets.idle();
        self.active_sockets += counters.sockets.active();
        self.had_sockets |= counters.sockets.had_any();
    }

    pub(super) fn to_stats(&self) -> ConnectionStats {
        let mut stats = ConnectionStats {
            last_used: Some(self.last_sent).filter(|last| *last != 0).map(time),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            ..ConnectionStats::default()
        };
        for (key, count) in &self.requests {
            *match key.outcome() {
                RequestOutcome::Forwarded => &mut stats.forwarded,
                RequestOutcome::Refused => &mut stats.refused,
                RequestOutcome::AgentCancelled => &mut stats.agent_cancelled,
                RequestOutcome::UpstreamFailed => &mut stats.upstream_failed,
            } += count;
        }
        stats.faults = self
            .faults
            .iter()
            .map(|(code, total)| FaultStats {
                code,
                count: total.all,
                last: time(total.last),
            })
            .collect();
        stats
    }
}

fn time(unix_millis: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_millis).unwrap_or_default()
}
