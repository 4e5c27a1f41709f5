//! The metrics of one connection: its label values, and the counters of each worker.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Metrics;
use super::counters::{Counters, EndedExchange};
use super::labels::{LabelValues, SeriesKey};
use super::sockets::SocketCounters;
use super::tokens::TokenCounts;
use super::totals::Totals;

/// The metrics of a connection, for the life of the process.
#[derive(Default)]
pub(super) struct ConnectionMetrics {
    labels: Mutex<LabelValues>,
    /// The counters, by the number of the worker.
    workers: Mutex<BTreeMap<usize, Arc<Counters>>>,
    /// The token requests, once a credential of the connection uses tokens.
    pub(super) tokens: OnceLock<Arc<TokenCounts>>,
}

/// Records the exchanges of one worker with one generation of a connection.
pub struct Recorder {
    metrics: Arc<Metrics>,
    connection: Arc<ConnectionMetrics>,
    counters: Arc<Counters>,
    /// The label number of each route of this generation.
    routes: Box<[u32]>,
}

impl ConnectionMetrics {
    /// Returns the sums over all workers.
    pub(super) fn totals(&self) -> Totals {
        let workers: Vec<_> = self.workers.lock().values().cloned().collect();
        let mut totals = Totals::default();
        for counters in workers {
            totals.add(&counters);
        }
        totals.tokens = self.tokens.get().map(|counts| counts.totals());
        // A route gets its number before it is counted. Reading the numbers after the counts
        // therefore finds all of them.
        totals.routes = self.labels.lock().routes();
        totals
    }
}

impl Recorder {
    pub(super) fn new<'a>(
        metrics: &Arc<Metrics>,
        connection: Arc<ConnectionMetrics>,
        worker: usize,
        routes: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let counters = Arc::clone(connection.workers.lock().entry(worker).or_default());
        let routes = connection.labels.lock().number_routes(routes);
        Self {
            metrics: Arc::clone(metrics),
            connection,
            counters,
            routes,
        }
    }

    /// Counts an exchange. Takes a fraction of a microsecond and never blocks.
    pub fn record(&self, exchange: &EndedExchange) {
        let route = exchange.route.and_then(|route| self.routes.get(route));
        let route = route.copied().unwrap_or(0);
        let key = SeriesKey::new(route, exchange.method, exchange.outcome, exchange.status);
        let ended = self.metrics.unix_millis(exchange.ended);
        self.counters.record(key, exchange, ended, |status| {
            self.connection.labels.lock().admits_status(status)
        });
    }

    /// Returns the counters of this worker's sockets to the upstream.
    pub fn sockets(&self) -> &Arc<SocketCounters> {
        &self.counters.sockets
    }

    /// Counts references in a response that did not reach the agent.
    pub fn count_dropped_references(&self, dropped: u64) {
        self.counters.add_dropped_references(dropped);
    }

    /// Counts a panic that was caught.
    pub fn count_panic(&self) {
        self.metrics.count_panic();
    }
}
