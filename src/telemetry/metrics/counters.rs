//! One worker's books of one connection: written by that worker alone, read by anybody at any time.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Instant;

use http::StatusCode;
use parking_lot::{Mutex, MutexGuard};

use super::Process;
use super::histogram::Histogram;
use super::labels::{Labels, MethodLabel, SeriesKey, SeriesKeyHasher};
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
    /// Whether the answer was egressd's own: it has the code for all to see.
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

/// A number with one writer at a time.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Whoever adds holds the lock of the counters, so that this is no read-modify-write.
    pub(super) fn add(&self, more: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(more), Release);
    }

    /// Whoever sees a number sees all that was added anywhere before it.
    pub(super) fn now(&self) -> u64 {
        self.0.load(Acquire)
    }
}

/// How often exchanges ended with one code.
#[derive(Debug)]
pub(super) struct FaultCounter {
    pub(super) code: &'static str,
    pub(super) all: Counter,
    /// Those that were answered with it.
    pub(super) answered: Counter,
    /// In Unix milliseconds.
    pub(super) last: AtomicI64,
}

/// The books.
pub(super) struct Counters {
    /// Taken by the worker alone.
    written: Mutex<Written>,
    /// What readers go through; the worker takes it only when a series begins.
    published: Mutex<Published>,
    labels: Arc<Labels>,
    process: Arc<Process>,
    pub(super) sums: Sums,
    pub(super) sockets: Arc<SocketCounters>,
}

#[derive(Default)]
struct Written {
    series: HashMap<SeriesKey, Arc<Counter>, BuildHasherDefault<SeriesKeyHasher>>,
    faults: Vec<Arc<FaultCounter>>,
}

/// All series so far.
#[derive(Clone, Default)]
pub(super) struct Published {
    pub(super) series: Vec<(SeriesKey, Arc<Counter>)>,
    pub(super) faults: Vec<Arc<FaultCounter>>,
}

/// What has no labels but the connection.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) request_bytes: Counter,
    pub(super) response_bytes: Counter,
    pub(super) signed: Counter,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    /// In Unix milliseconds; 0 is never.
    pub(super) last_sent: AtomicI64,
}

impl Counters {
    pub(super) fn new(labels: Arc<Labels>, process: Arc<Process>) -> Self {
        Self {
            written: Mutex::default(),
            published: Mutex::default(),
            labels,
            process,
            sums: Sums::default(),
            sockets: Arc::default(),
        }
    }

    /// Writes an exchange down. `route` is the number that its labels gave it; 0 is none.
    pub(super) fn record(&self, route: u32, exchange: &EndedExchange) {
        let key = SeriesKey::new(route, exchange.method, exchange.outcome, exchange.status);
        let mut written = self.written.lock();
        self.sums.add(exchange);
        if let Some(code) = exchange.code {
            let fault = self.fault(&mut written, code);
            fault.all.add(1);
            fault.answered.add(exchange.answered_by_us.into());
            let now = self.process.unix_millis(exchange.ended);
            fault.last.store(now, Relaxed);
        }
        if exchange.was_sent {
            let now = self.process.unix_millis(exchange.ended);
            self.sums.last_sent.store(now, Relaxed);
        }
        // Last, as readers look at it first: whoever finds an exchange here finds the rest of it.
        match written.series.get(&key) {
            Some(count) => count.add(1),
            None => self.first(&mut written, key, exchange).add(1),
        }
    }

    /// The series of an exchange that is the first of it, or has one status too many. The statuses of our own answers are a closed list.
    #[cold]
    fn first(
        &self,
        written: &mut Written,
        key: SeriesKey,
        exchange: &EndedExchange,
    ) -> Arc<Counter> {
        let admitted = exchange.answered_by_us
            || exchange
                .status
                .is_none_or(|status| self.labels.admits(status));
        let key = if admitted {
            key
        } else {
            key.with_other_status()
        };
        let count = written.series.entry(key).or_insert_with(|| {
            let count = Arc::<Counter>::default();
            let mut published = self.published_now();
            published.series.push((key, Arc::clone(&count)));
            count
        });
        Arc::clone(count)
    }

    fn fault(&self, written: &mut Written, code: &'static str) -> Arc<FaultCounter> {
        if let Some(known) = written.faults.iter().find(|fault| fault.code == code) {
            return Arc::clone(known);
        }
        let fault = Arc::new(FaultCounter {
            code,
            all: Counter::default(),
            answered: Counter::default(),
            last: AtomicI64::new(0),
        });
        self.published_now().faults.push(Arc::clone(&fault));
        written.faults.push(Arc::clone(&fault));
        fault
    }

    fn published_now(&self) -> MutexGuard<'_, Published> {
        self.published.lock()
    }

    /// All series so far, to be read at leisure.
    pub(super) fn published(&self) -> Published {
        self.published_now().clone()
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }
}

impl Sums {
    fn add(&self, exchange: &EndedExchange) {
        let since = |moment: Instant| moment.saturating_duration_since(exchange.begun);
        self.request_bytes.add(exchange.request_bytes);
        self.response_bytes.add(exchange.response_bytes);
        self.signed.add(exchange.was_signed.into());
        self.duration.observe(since(exchange.ended));
        if let Some(answered) = exchange.answered {
            self.upstream.observe(since(answered));
        }
    }
}
