//! Sockets without an exchange: which of them are parked, and which of them are closed when memory
//! or slots are short.
//!
//! A parked socket waits until bytes arrive, without a connection of hyper and its buffers. New
//! sockets begin so, and idle sockets are parked after [`PARK_AFTER`]. Parking costs about as much
//! as a tenth of a request, so it does not pay between two requests of a busy agent.

use std::sync::atomic::Ordering::Relaxed;

use super::deadline::millis;
use super::state::SocketState;
use super::{SocketTimers, TICK};

/// The milliseconds of idleness after which a socket is parked.
const PARK_AFTER: u64 = 1_000;
/// The milliseconds that a head may take while memory is short.
const SLOW_HEAD: u64 = 250;

/// Methods for the task of the socket.
impl SocketTimers {
    /// Returns whether the ticker has found the socket idle for long enough, and hyper's connection
    /// can still be taken apart without losing anything. The caller has just polled the connection.
    pub(in crate::server) fn should_park(&self) -> bool {
        let is_requested = &self.is_parking_requested;
        is_requested.load(Relaxed)
            && is_requested.swap(false, Relaxed)
            && self.is_parking_due(self.ticker.now())
    }

    /// Returns whether any byte has arrived on the socket.
    pub(in crate::server) fn has_received(&self) -> bool {
        self.state() != SocketState::Accepted
    }

    /// Records that the socket is parked, or that it no longer is.
    pub(in crate::server) fn set_parked(&self, is_parked: bool) {
        self.is_parked.store(is_parked, Relaxed);
    }

    /// Records that the body of a request may have to be read. Until
    /// [`SocketTimers::remove_open_body`], the next bytes may belong to it, and only hyper's
    /// connection knows where it ends.
    pub(in crate::server) fn add_open_body(&self) {
        self.open_bodies.fetch_add(1, Relaxed);
    }

    /// Records that a body was read or dropped. If it was dropped unread, hyper skips the rest or
    /// closes the socket when it is polled.
    pub(in crate::server) fn remove_open_body(&self) {
        self.open_bodies.fetch_sub(1, Relaxed);
    }
}

/// Methods for the ticker.
impl SocketTimers {
    /// Requests parking if it is due. Returns whether the socket has to be woken for it.
    pub(super) fn request_parking(&self, now: u64) -> bool {
        let is_due = self.is_parking_due(now);
        if is_due {
            self.is_parking_requested.store(true, Relaxed);
        }
        is_due
    }

    /// Returns whether the socket has been idle for [`PARK_AFTER`] without being parked, and hyper
    /// has nothing to write and no body to read.
    fn is_parking_due(&self, now: u64) -> bool {
        self.state().is_idle()
            && now.saturating_sub(self.idle_since.load(Relaxed)) >= PARK_AFTER
            && !self.is_parked.load(Relaxed)
            && !self.is_write_blocked()
            && self.open_bodies.load(Relaxed) == 0
    }

    /// Returns whether a head has been arriving for longer than [`SLOW_HEAD`], which a head that is
    /// sent in one piece never takes.
    pub(super) fn has_slow_head(&self, now: u64) -> bool {
        if self.state() != SocketState::Head {
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

#[cfg(test)]
mod tests;
