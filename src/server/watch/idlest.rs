//! Which socket is closed to make room for another.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::{Clock, Watch};

/// Since when a socket is of no use, the least useful first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Idle {
    Quiet(u64),
    Blocked(u64),
}

impl Clock {
    /// Cuts off the socket that has been of no use for longest, to make room: of those that wait for a request, the one that has waited longest; where there is
    /// none, of those whose agents take nothing, the one that has taken nothing for longest. False if there is neither.
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
    /// Since when the socket is of no use, if it is not and is not being cut off already.
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
