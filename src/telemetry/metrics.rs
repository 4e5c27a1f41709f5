//! Counts and durations of exchanges. Each worker counts in its own shard, and readers add up the
//! shards.
//!
//! Six types are on the counting path:
//!
//! - [`Metrics`] are the metrics of the process. They hold the `ConnectionMetrics` by id.
//! - A [`Shard`] is the part of one worker. It makes recorders.
//! - A [`Recorder`] counts the exchanges of one worker with one generation of a connection.
//! - `ConnectionMetrics` hold the label values of a connection, and the `Counters` of each worker.
//! - `Counters` are written by one worker, and read by any thread.
//! - `Totals` are the counters of a connection, added up over all workers for one reader.
//!
//! Recording takes one lock that no other thread takes, and readers do not block workers: they read
//! the series that were published when they began. `ConnectionMetrics` live as long as the process
//! and are identified by the connection's id and the route's text, so no count decreases when a
//! connection is reloaded, changed or removed.
//!
//! The names, help texts and types of all metrics are in one table in `families`; `scrape` fills
//! it.
//!
//! Label values come from closed lists and from the configuration. Nothing that an agent sends
//! becomes a label value, and only [`MAX_STATUSES`] statuses of an upstream do.

mod connection;
mod counter;
mod counters;
mod families;
mod histogram;
mod labels;
mod scrape;
mod sockets;
#[cfg(test)]
mod tests;
mod tokens;
mod totals;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;

use super::ConnectionStats;
use crate::clock::MonotonicTime;
use connection::ConnectionMetrics;
pub use connection::Recorder;
pub use counters::EndedExchange;
pub use histogram::BOUNDS;
pub use labels::{MAX_STATUSES, METHODS, MethodLabel};
pub use scrape::{GaugeValues, GrantGauges, ReflectionCounts};
pub use sockets::{SocketCountGuard, SocketCounters};
pub use tokens::TokenCounters;

/// The content type of the text that [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The connection label of requests that name no existing connection. A configured connection with
/// this id shares its metrics.
pub const UNKNOWN_CONNECTION: &str = "unknown";

/// The metrics of the process.
pub struct Metrics {
    connections: Mutex<BTreeMap<Arc<str>, Arc<ConnectionMetrics>>>,
    workers: AtomicUsize,
    /// The moment from which `unix_at_epoch` counts.
    epoch: MonotonicTime,
    /// The Unix time of `epoch` in milliseconds, according to the system clock when it was last
    /// read. Exchanges carry a [`MonotonicTime`] only, so that recording reads no clock.
    unix_at_epoch: AtomicI64,
    panics: AtomicU64,
    process_collector: OnceLock<ProcessCollector>,
    reload_succeeded: AtomicBool,
    /// The Unix time when the configuration in use was loaded, in milliseconds.
    loaded: AtomicI64,
    memory: Mutex<Option<MemoryUse>>,
    /// The counters of the credentials in use. The store of credentials drops counters that only it
    /// holds, and they must exist before the first token request.
    token_counters: Mutex<Vec<Arc<TokenCounters>>>,
}

/// A memory limit and the memory in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in use.
    pub used: u64,
    /// The limit in bytes.
    pub limit: u64,
    /// `true` while new requests are refused, except for a few at a time.
    pub is_short: bool,
}

/// The part of the metrics that one worker writes.
pub struct Shard {
    metrics: Arc<Metrics>,
    worker: usize,
    unknown_connection: Arc<Recorder>,
}

impl Metrics {
    /// Creates metrics without any exchange. The configuration counts as loaded now.
    pub fn new() -> Self {
        let metrics = Self {
            connections: Mutex::default(),
            workers: AtomicUsize::new(0),
            epoch: MonotonicTime::now(),
            unix_at_epoch: AtomicI64::new(0),
            panics: AtomicU64::new(0),
            process_collector: OnceLock::new(),
            reload_succeeded: AtomicBool::new(true),
            loaded: AtomicI64::new(Timestamp::now().as_millisecond()),
            memory: Mutex::default(),
            token_counters: Mutex::default(),
        };
        metrics.sync_clock();
        metrics
    }

    /// Creates the shard of one more worker.
    pub fn new_shard(self: &Arc<Self>) -> Shard {
        let worker = self.workers.fetch_add(1, Relaxed);
        Shard {
            metrics: Arc::clone(self),
            worker,
            unknown_connection: Arc::new(Recorder::new(
                self,
                self.connection_metrics(UNKNOWN_CONNECTION),
                worker,
                [],
            )),
        }
    }

    /// Records a reload. After a failed one, the time of the last successful load stays.
    pub fn record_reload(&self, succeeded: bool) {
        self.reload_succeeded.store(succeeded, Relaxed);
        if succeeded {
            let now = Timestamp::now().as_millisecond();
            self.loaded.store(now, Relaxed);
        }
    }

    /// Returns whether the last reload succeeded; `true` before the first.
    pub fn last_reload_succeeded(&self) -> bool {
        self.reload_succeeded.load(Relaxed)
    }

    /// Sets the memory use that was last measured; `None` without a memory limit.
    pub fn set_memory_use(&self, seen: Option<MemoryUse>) {
        *self.memory.lock() = seen;
    }

    /// Returns the memory use that was last measured, if there is a memory limit.
    pub fn memory_use(&self) -> Option<MemoryUse> {
        *self.memory.lock()
    }

    /// Calls `work`. If it panics, counts the panic and returns `None`. The panic hook has then
    /// logged the place.
    pub fn catch_panic<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.count_panic();
        }
        done
    }

    fn count_panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// Reads the system clock, from which the times in [`ConnectionStats`] are derived. Must be
    /// called regularly, because the clock can be set.
    pub fn sync_clock(&self) {
        let now = Timestamp::now().as_millisecond();
        let since_epoch = MonotonicTime::now().millis_since(self.epoch).cast_signed();
        self.unix_at_epoch.store(now - since_epoch, Relaxed);
    }

    /// Returns the Unix time of a moment in milliseconds.
    fn unix_millis(&self, moment: MonotonicTime) -> u64 {
        // 64 bits of nanoseconds are less than 63 bits of milliseconds.
        let since_epoch = moment.millis_since(self.epoch).cast_signed();
        let unix_millis = self.unix_at_epoch.load(Relaxed) + since_epoch;
        u64::try_from(unix_millis).unwrap_or(0)
    }

    /// Returns the activity of a connection; with `None`, of the requests that named no existing
    /// connection.
    pub fn connection_stats(&self, id: Option<&str>) -> ConnectionStats {
        let connection = self
            .connections
            .lock()
            .get(id.unwrap_or(UNKNOWN_CONNECTION))
            .cloned();
        connection.map_or_else(ConnectionStats::default, |connection| {
            connection.totals().to_stats()
        })
    }

    /// Sets the token counters of all connections whose credential uses tokens. Must be called for
    /// each generation of the configuration, before its connections are used.
    pub fn set_token_counters(&self, counters: BTreeMap<&str, Arc<TokenCounters>>) {
        let address = |counters: &Arc<TokenCounters>| Arc::as_ptr(counters).addr();
        let mut connections: HashMap<usize, Vec<_>> = HashMap::new();
        for (id, counters) in &counters {
            // The series of token requests exist before the first request of a connection.
            let connection = self.connection_metrics(id);
            let counts = connection
                .tokens
                .get_or_init(|| counters.shared_counts().into());
            let sharing = connections.entry(address(counters)).or_default();
            sharing.push(Arc::clone(counts));
        }
        let counters: Vec<Arc<TokenCounters>> = counters.into_values().collect();
        for counters in &counters {
            if let Some(connections) = connections.remove(&address(counters)) {
                counters.set_connections(connections);
            }
        }
        *self.token_counters.lock() = counters;
    }

    fn connection_metrics(&self, id: &str) -> Arc<ConnectionMetrics> {
        let mut connections = self.connections.lock();
        // Looked up first, because `entry` needs an owned key.
        if let Some(known) = connections.get(id) {
            return Arc::clone(known);
        }
        Arc::clone(connections.entry(id.into()).or_default())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    /// Returns a recorder for the exchanges of this worker with a connection. `routes` are the
    /// texts of its patterns; an exchange identifies its pattern by the index in this list. Callers
    /// keep the recorder, because making one takes locks that all workers share.
    pub fn recorder<'a>(
        &self,
        id: &str,
        routes: impl IntoIterator<Item = &'a str>,
    ) -> Arc<Recorder> {
        let connection = self.metrics.connection_metrics(id);
        Arc::new(Recorder::new(
            &self.metrics,
            connection,
            self.worker,
            routes,
        ))
    }

    /// Returns the recorder for requests that name no existing connection.
    pub fn unknown_connection_recorder(&self) -> &Arc<Recorder> {
        &self.unknown_connection
    }
}
