//! Chooses the socket that is closed to make room for another.

use std::sync::atomic::Ordering::Relaxed;

use super::{SocketTimers, Ticker};

/// The time since when a socket has been idle. Sockets without a request come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum IdleSince {
    NoRequest(u64),
    WriteBlocked(u64),
}

impl Ticker {
    /// Closes the socket that has been idle for longest, to make room. Sockets that wait for a
    /// request come first; if there are none, sockets whose agents read nothing. Returns false if
    /// there are neither.
    pub fn close_idlest(&self) -> bool {
        let sockets = self.sockets.lock();
        let idle = sockets
            .iter()
            .filter_map(|timers| Some((timers.idle_rank()?, timers)));
        let Some((_, idlest)) = idle.min_by_key(|(since, _)| *since) else {
            return false;
        };
        idlest.socket_due.store(0, Relaxed);
        idlest.wake();
        true
    }
}

impl SocketTimers {
    /// Returns the time since when the socket has been idle. `None` if it is busy or is being
    /// closed already.
    fn idle_rank(&self) -> Option<IdleSince> {
        if self.closed.load(Relaxed) || self.socket_due.load(Relaxed) == 0 {
            return None;
        }
        if !self.in_exchange.load(Relaxed) {
            return Some(IdleSince::NoRequest(self.idle_since.load(Relaxed)));
        }
        self.is_write_blocked()
            .then(|| IdleSince::WriteBlocked(self.write_due.load(Relaxed)))
    }
}
