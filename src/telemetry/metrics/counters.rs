//! The counters of one worker for one connection. Only that worker writes them; any thread may read
//! them at any time.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use super::counter::{Counter, FaultCounter};
use super::histogram::Histogram;
use super::labels::{MethodLabel, SeriesKey, SeriesKeyHasher};
use super::sockets::SocketCounters;
use crate::clock::MonotonicTime;
use crate::telemetry::RequestOutcome;

/// The facts about an ended exchange that metrics count.
#[derive(Clone, Copy, Debug)]
pub struct EndedExchange {
    /// The index of the pattern that allowed the request, in the list that its recorder was made
    /// with.
    pub route: Option<usize>,
    /// The label of its method.
    pub method: MethodLabel,
    /// The status that was sent to the agent.
    pub status: Option<StatusCode>,
    /// The end of the exchange.
    pub outcome: RequestOutcome,
    /// The code of the refusal, or of the failure that cut the response off.
    pub code: Option<&'static str>,
    /// `true` if egressd made the response, which then carries the code.
    pub answered_by_us: bool,
    /// `true` if any part of the request was sent to the upstream.
    pub was_sent: bool,
    /// `true` if it was sent with a webhook signature.
    pub was_signed: bool,
    /// Body bytes that the agent sent.
    pub request_bytes: u64,
    /// Body bytes that were handed to the agent's socket, including the bodies of refusals.
    pub response_bytes: u64,
    /// The moment when the head of the request was complete.
    pub begun: MonotonicTime,
    /// The moment when the head of the upstream's response was complete.
    pub answered: Option<MonotonicTime>,
    /// The moment when the exchange ended.
    pub ended: MonotonicTime,
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
    pub(super) dropped_references: Counter,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    /// The time when the last exchange that was sent to the upstream ended, in Unix milliseconds; 0
    /// if none was sent.
    pub(super) last_sent: Counter,
    pub(super) sockets: Arc<SocketCounters>,
}

/// The counters that have labels besides the connection.
#[derive(Clone, Default)]
pub(super) struct Series {
    pub(super) requests: HashMap<SeriesKey, Arc<Counter>, BuildHasherDefault<SeriesKeyHasher>>,
    pub(super) faults: BTreeMap<&'static str, Arc<FaultCounter>>,
}

impl Counters {
    /// Counts an exchange that ended at the Unix time `ended`, in milliseconds. `admits_status`
    /// returns whether a status of the upstream has a label value of its own.
    pub(super) fn record(
        &self,
        key: SeriesKey,
        exchange: &EndedExchange,
        ended: u64,
        admits_status: impl FnOnce(StatusCode) -> bool,
    ) {
        // Never contended: readers use `published`.
        let mut series = self.series.lock();
        let since_begin = |moment: MonotonicTime| moment.nanos_since(exchange.begun);
        self.request_bytes.add(exchange.request_bytes);
        self.response_bytes.add(exchange.response_bytes);
        self.signed.add(exchange.was_signed.into());
        self.duration.observe(since_begin(exchange.ended));
        if let Some(answered) = exchange.answered {
            self.upstream.observe(since_begin(answered));
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
        // The request is counted last, and readers read this count first (`Totals::add`). A reader
        // that finds an exchange here therefore also finds its other counts.
        if let Some(count) = series.requests.get(&key) {
            return count.add(1);
        }
        // A new series, or a status without a label value of its own. The statuses of egressd's own
        // responses are a closed list.
        let has_label = exchange.answered_by_us || exchange.status.is_none_or(admits_status);
        let key = if has_label {
            key
        } else {
            key.with_other_status()
        };
        self.begin_series(&mut series, key).add(1);
    }

    pub(super) fn add_dropped_references(&self, dropped: u64) {
        // Excludes other writers.
        let _series = self.series.lock();
        self.dropped_references.add(dropped);
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
