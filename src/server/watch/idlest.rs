//! Chooses the socket that is closed to make room for another.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::{Clock, Watch};

/// The time since when a socket has been idle. Sockets without a request come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Idle {
    Quiet(u64),
    Blocked(u64),
}

impl Clock {
    /// Closes the socket that has been idle for longest, to make room. Sockets that wait for a
    /// request come first; if there are none, sockets whose agents read nothing. Returns false if
    /// there are neither.
    pub fn cut_idlest(&self) -> bool {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = watched
            .iter()
            .filter_map(|watch| Some((watch.idle()?, watch)));
        let Some((_, idlest)) = idle.min_by_key(|(since, _)| *since) else {
            return false;
        };
        idlest.socket_due.store(0, Relaxed);
        idlest.wake();
        true
    }
}

impl Watch {
    /// Returns the time since when the socket has been idle. `None` if it is busy or is being
    /// closed already.
    fn idle(&self) -> Option<Idle> {
        if self.gone.load(Relaxed) || self.socket_due.load(Relaxed) == 0 {
            return None;
        }
        if !self.in_exchange.load(Relaxed) {
            return Some(Idle::Quiet(self.quiet_since.load(Relaxed)));
        }
        self.is_write_blocked()
            .then(|| Idle::Blocked(self.write_due.load(Relaxed)))
    }
}
