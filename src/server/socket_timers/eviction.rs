//! The choice of the sockets that are closed when memory or slots are short.

use std::sync::atomic::Ordering::Relaxed;

use super::deadline::millis;
use super::state::SocketState;
use super::{SocketTimers, TICK};

/// The milliseconds that a head may take while memory is short.
const SLOW_HEAD: u64 = 250;

/// Methods for the ticker.
impl SocketTimers {
    /// Returns whether a head has been arriving for longer than [`SLOW_HEAD`], which a head that is
    /// sent in one piece never takes.
    pub(super) fn has_slow_head(&self, now: u64) -> bool {
        if self.state() != SocketState::Head || self.is_possibly_idle() {
            return false;
        }
        let due = self.state_deadline.get();
        let began = due.saturating_sub(millis(self.limits.header_read));
        now >= began.saturating_add(SLOW_HEAD)
    }

    /// Returns the rank of the socket among those that may be closed to make room, lowest first:
    /// sockets without a request, then those whose agents do not read, each ordered by how long
    /// this has lasted. `None` if the socket is busy or already closing, or has waited for a
    /// request for less than a [`TICK`]: its agent may be about to send one.
    pub(super) fn idle_rank(&self, now: u64) -> Option<(bool, u64)> {
        let has_response = self.state().is_exchange() || self.state() == SocketState::Flushing;
        let is_busy = has_response && !self.is_write_blocked();
        if is_busy || self.is_closed() || self.state_deadline.is_expired() {
            return None;
        }
        if has_response {
            return Some((true, self.write_deadline.get()));
        }
        let since = self.idle_since.load(Relaxed);
        (now.saturating_sub(since) >= millis(TICK)).then_some((false, since))
    }
}
