//! Stopping: readiness fails, the listeners close, exchanges in flight finish or are cut off, then
//! the threads end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{App, Phase};
use crate::memory::MemoryShortage;
use crate::server::{SocketCounts, Ticker};

/// The interval at which a draining process checks if it is done.
const POLL: Duration = Duration::from_millis(10);
/// The time that idle sockets stay open if nothing else is in flight: an agent may have sent a
/// request just before the drain began.
const IDLE_SOCKET_GRACE: Duration = Duration::from_millis(200);
/// The time to send a refusal to agents whose exchanges exceeded the grace period.
const CUT_OFF_GRACE: Duration = Duration::from_millis(500);

/// The state of the workers' sockets that the app observes.
pub(super) struct WorkerSockets {
    /// The number of workers that still accept sockets.
    accepting_workers: AtomicUsize,
    /// The tickers, one for each worker.
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

    /// Returns the ticker of this worker's sockets.
    pub(super) fn ticker(&self, worker: usize) -> Arc<Ticker> {
        self.tickers
            .get(worker)
            .map_or_else(|| Ticker::new(MemoryShortage::default()), Arc::clone)
    }

    /// Records that a worker has accepted all sockets of its queues and accepts no more.
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
    /// Accepts no more agents, lets exchanges in flight finish within the grace period, and ends.
    /// Returns the number of exchanges that were cut off.
    ///
    /// Readiness fails before the first listener closes, so an agent that cannot connect never
    /// finds egressd ready.
    pub fn stop(mut self) -> usize {
        let begun = Instant::now();
        // Readiness fails from here on. The listeners close only with the next line.
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
                // Agents that still wait for a response get the refusal `draining`; other exchanges
                // are aborted.
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
        // An exchange leaves the admission before its last bytes are written to the agent.
        let admitted = self.shared.admission.in_flight();
        admitted.max(self.sockets.count_sockets().exchanges)
    }
}

/// Blocks until `is_done` returns `true` or the time is reached.
fn poll_until(until: Instant, mut is_done: impl FnMut() -> bool) {
    while !is_done() && Instant::now() < until {
        std::thread::sleep(POLL);
    }
}
