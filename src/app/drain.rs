//! How it stops: readiness falls, the sockets close, what is under way ends or is cut off, then the threads end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{App, Phase};
use crate::memory::MemoryShortage;
use crate::server::{SocketCounts, Ticker};

/// How often a draining process looks whether it is done.
const POLL: Duration = Duration::from_millis(10);
/// How long kept sockets are still answered where nothing else is under way: their agents may have sent a request just now.
const IDLE_SOCKET_GRACE: Duration = Duration::from_millis(200);
/// How long those that the grace period was too short for may take to be told.
const CUT_OFF_GRACE: Duration = Duration::from_millis(500);

/// What the workers let the app see of their sockets.
pub(super) struct WorkerSockets {
    /// Workers that still accept.
    accepting_workers: AtomicUsize,
    /// Each worker's own.
    tickers: Vec<Arc<Ticker>>,
}

impl WorkerSockets {
    pub(super) fn new(workers: usize, shortage: &MemoryShortage) -> Self {
        let tickers = (0..workers).map(|_| Ticker::new(shortage.clone()));
        Self {
            accepting_workers: AtomicUsize::new(workers),
            tickers: tickers.collect(),
        }
    }

    /// The ticker of this worker's sockets.
    pub(super) fn ticker(&self, worker: usize) -> Arc<Ticker> {
        self.tickers
            .get(worker)
            .map_or_else(|| Ticker::new(MemoryShortage::default()), Arc::clone)
    }

    /// A worker has let in everybody who stood in its queues, and nobody comes after them.
    pub(super) fn worker_stopped_accepting(&self) {
        self.accepting_workers.fetch_sub(1, Relaxed);
    }

    fn count_sockets(&self) -> SocketCounts {
        let all = self.tickers.iter().map(|ticker| ticker.count_sockets());
        all.fold(SocketCounts::default(), |sum, one| SocketCounts {
            exchanges: sum.exchanges + one.exchanges,
            others: sum.others + one.others,
            idle: sum.idle + one.idle,
        })
    }
}

impl App {
    /// Takes no more agents, lets exchanges under way finish within the grace period, then ends. How many had to be cut off.
    ///
    /// Readiness fails before the first listener closes, so a refused agent finds it failing.
    pub fn stop(mut self) -> usize {
        let begun = Instant::now();
        self.shared.admission.begin_draining();
        self.phase.send_replace(Phase::Draining);
        for ticker in &self.sockets.tickers {
            ticker.start_drain();
        }
        let end = begun + self.grace;
        poll_until(end, || {
            let SocketCounts { others, idle, .. } = self.sockets.count_sockets();
            let idle_done = idle == 0 || begun.elapsed() >= IDLE_SOCKET_GRACE;
            self.sockets.accepting_workers.load(Relaxed) == 0
                && self.exchanges_in_flight() == 0
                && others == 0
                && idle_done
        });
        let cut_off = self.exchanges_in_flight();
        if cut_off > 0 {
            for ticker in &self.sockets.tickers {
                ticker.end_grace();
            }
            poll_until(Instant::now() + CUT_OFF_GRACE, || {
                self.exchanges_in_flight() == 0 && self.sockets.count_sockets().others == 0
            });
        }
        self.stop_threads();
        cut_off
    }

    /// Exchanges still in flight, or finished but not yet completely written.
    fn exchanges_in_flight(&self) -> usize {
        let admitted = self.shared.admission.in_flight();
        admitted.max(self.sockets.count_sockets().exchanges)
    }
}

/// Until it is so, or the time has come.
fn poll_until(until: Instant, mut is_so: impl FnMut() -> bool) {
    while !is_so() && Instant::now() < until {
        std::thread::sleep(POLL);
    }
}
