//! Counts and durations of exchanges, kept by each worker for itself and merged when somebody asks.
//!
//! A worker owns a [`Shard`]; in it every connection has counters that only this worker writes. Recording takes one lock that nobody else ever takes, and
//! readers wait for nobody: they read what was published when a series began. Ledgers live as long as the process and are kept by the connection's id and the route's
//! text, so that no count falls when a connection is reloaded, changed or removed.
//!
//! Labels come from closed lists and from the configuration. What an agent sends never becomes one, and of an upstream's statuses a bounded number
//! does.

mod connection;
mod counters;
mod families;
mod histogram;
mod labels;
mod memory_use;
mod reflections;
mod scrape;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;

use super::ConnectionStats;
use connection::ConnectionMetrics;
pub use connection::Recorder;
pub use counters::EndedExchange;
pub use histogram::BOUNDS;
pub use labels::{METHODS, MOST_STATUSES, MethodLabel};
pub use memory_use::MemoryUse;
pub use reflections::ReflectionCount;
pub use scrape::{GaugeValues, TokenSample};
pub use sockets::{OpenSocket, SocketCounters};

/// What `/metrics` is, for whoever scrapes it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The connection of requests that name none that exists. A connection of this very id shares its books.
pub const UNKNOWN: &str = "unknown";

/// The metrics of the process.
pub struct Metrics {
    connections: Mutex<BTreeMap<Arc<str>, Arc<ConnectionMetrics>>>,
    unknown: Arc<ConnectionMetrics>,
    workers: AtomicUsize,
    process: Arc<Process>,
    process_collector: OnceLock<ProcessCollector>,
    reload_succeeded: AtomicBool,
    /// Of the configuration in use, in Unix milliseconds.
    loaded: AtomicI64,
    memory: memory_use::MemoryGauge,
}

/// State that all workers share.
#[derive(Debug)]
struct Process {
    epoch: Instant,
    /// Unix milliseconds at `epoch`, by the system's clock when it was last looked at.
    unix_at_epoch: AtomicI64,
    panics: AtomicU64,
}

/// One worker's part.
pub struct Shard {
    metrics: Arc<Metrics>,
    worker: usize,
    unknown: Arc<Recorder>,
}

impl Metrics {
    /// Books without an entry. The configuration counts as loaded now.
    pub fn new() -> Self {
        let process = Arc::new(Process {
            epoch: Instant::now(),
            unix_at_epoch: AtomicI64::new(0),
            panics: AtomicU64::new(0),
        });
        process.sync_clock();
        let unknown = Arc::new(ConnectionMetrics::new(Arc::clone(&process)));
        Self {
            connections: Mutex::new(BTreeMap::from([(UNKNOWN.into(), Arc::clone(&unknown))])),
            unknown,
            workers: AtomicUsize::new(0),
            process,
            process_collector: OnceLock::new(),
            reload_succeeded: AtomicBool::new(true),
            loaded: AtomicI64::new(Timestamp::now().as_millisecond()),
            memory: memory_use::MemoryGauge::default(),
        }
    }

    /// The books of one more worker.
    pub fn new_shard(self: &Arc<Self>) -> Shard {
        let worker = self.workers.fetch_add(1, Relaxed);
        Shard {
            metrics: Arc::clone(self),
            worker,
            unknown: Arc::new(self.unknown.recorder(worker, [])),
        }
    }

    /// A reload was tried. The configuration that is in use stays the one that was loaded last.
    pub fn record_reload(&self, succeeded: bool) {
        self.reload_succeeded.store(succeeded, Relaxed);
        if succeeded {
            self.loaded
                .store(Timestamp::now().as_millisecond(), Relaxed);
        }
    }

    /// Whether the last reload succeeded; true before the first.
    pub fn last_reload_succeeded(&self) -> bool {
        self.reload_succeeded.load(Relaxed)
    }

    /// The memory limit was looked at. `None`: there is none.
    pub fn set_memory_use(&self, seen: Option<MemoryUse>) {
        self.memory.write(seen);
    }

    /// The memory limit as it was last seen, if there is one.
    pub fn memory_use(&self) -> Option<MemoryUse> {
        self.memory.read()
    }

    /// Does this and counts a panic in it, which is `None`. The panic hook has told where it was.
    pub fn catch_panic<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.process.catch_panic(work)
    }

    /// Looks at the system's clock, by which [`ConnectionStats`] tells times: to be called now and then, for it may be set.
    pub fn sync_clock(&self) {
        self.process.sync_clock();
    }

    /// What a connection has done so far; `None`: requests that named no connection that exists.
    pub fn connection_stats(&self, connection: Option<&str>) -> ConnectionStats {
        let connections = self.connections.lock();
        let connection = connections.get(connection.unwrap_or(UNKNOWN)).cloned();
        drop(connections);
        connection.map_or_else(ConnectionStats::default, |connection| {
            connection.totals().to_stats()
        })
    }

    fn connection(&self, id: &str) -> Arc<ConnectionMetrics> {
        let mut connections = self.connections.lock();
        if let Some(known) = connections.get(id) {
            return Arc::clone(known);
        }
        let connection = Arc::new(ConnectionMetrics::new(Arc::clone(&self.process)));
        connections.insert(id.into(), Arc::clone(&connection));
        connection
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    fn sync_clock(&self) {
        let now = Timestamp::now().as_millisecond();
        self.unix_at_epoch
            .store(now - millis_between(self.epoch, Instant::now()), Relaxed);
    }

    /// In Unix milliseconds.
    fn unix_millis(&self, moment: Instant) -> i64 {
        self.unix_at_epoch.load(Relaxed) + millis_between(self.epoch, moment)
    }

    fn catch_panic<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.count_panic();
        }
        done
    }

    fn count_panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }
}

fn millis_between(earlier: Instant, later: Instant) -> i64 {
    let between = later.saturating_duration_since(earlier);
    i64::try_from(between.as_millis()).unwrap_or(i64::MAX)
}

impl Shard {
    /// Where this worker's exchanges of a connection are recorded. `routes` are the texts of its patterns; an exchange names its own by its place among them.
    /// To be kept: it takes locks that workers share.
    pub fn recorder<'a>(
        &self,
        id: &str,
        routes: impl IntoIterator<Item = &'a str>,
    ) -> Arc<Recorder> {
        Arc::new(self.metrics.connection(id).recorder(self.worker, routes))
    }

    /// Where those are recorded that name no connection that exists.
    pub fn unknown_recorder(&self) -> &Arc<Recorder> {
        &self.unknown
    }
}
