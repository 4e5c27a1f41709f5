//! What a process that stops asks of its sockets: to come to an end soon, to end now, and how many have not.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{NEVER, SocketTimers, Ticker};

/// How long a socket that waits for a request is kept once the process stops: long enough that a request on it gets an answer, and short enough that its agent
/// takes the next one elsewhere.
const DRAIN_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How far a ticker's sockets are from having none of them in the middle of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounts {
    /// Sockets with an exchange, or with an answer that is not yet written.
    pub exchanges: usize,
    /// Sockets in the middle of a head, and those that are being closed.
    pub others: usize,
    /// Sockets that wait for a request.
    pub idle: usize,
}

impl Ticker {
    /// The process stops: sockets that wait for a request, now or after their exchange, are kept for a moment only.
    pub fn start_drain(&self) {
        let now = self.update_now();
        self.draining_since.store(now, Relaxed);
    }

    /// The grace period is over: what is answered already is cut off, what is not is refused.
    pub fn end_grace(&self) {
        self.grace_over.store(true, Relaxed);
        let sockets = self.sockets.lock();
        for timers in sockets.iter() {
            timers.wake();
        }
    }

    /// What its sockets are in the middle of.
    pub fn count_sockets(&self) -> SocketCounts {
        let sockets = self.sockets.lock();
        let mut busy = SocketCounts::default();
        for timers in sockets.iter().filter(|timers| !timers.closed.load(Relaxed)) {
            if timers.in_exchange.load(Relaxed) || timers.is_write_blocked() {
                busy.exchanges += 1;
            } else if timers.is_idle() {
                busy.idle += 1;
            } else {
                busy.others += 1;
            }
        }
        busy
    }
}

impl SocketTimers {
    /// Whether it waits for a request of which nothing has come.
    fn is_idle(&self) -> bool {
        !self.in_exchange.load(Relaxed) && !self.in_head.load(Relaxed)
    }

    /// Whether the process stops and the socket has waited too long since. What it waits for is judged by the socket's own thread, which alone changes it: nothing
    /// that has just begun is cut.
    pub(super) fn has_drain_timeout_passed(&self, now: u64) -> bool {
        let draining_since = self.ticker.draining_since.load(Relaxed);
        if draining_since == NEVER || !self.is_idle() || self.is_write_blocked() {
            return false;
        }
        let since = draining_since.max(self.idle_since.load(Relaxed));
        u128::from(now.saturating_sub(since)) >= DRAIN_IDLE_TIMEOUT.as_millis()
    }
}
