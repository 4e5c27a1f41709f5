//! Parking of sockets that wait for a request.
//!
//! A parked socket waits until bytes arrive, without a connection of hyper and its buffers. New
//! sockets start parked, and idle sockets are parked after [`PARK_AFTER`]. Parking costs about as
//! much as a tenth of a request, so it is not worthwhile between two requests of a busy agent.
//!
//! A possibly idle socket, for which hyper may hold the next head, is parked at once. It then
//! either waits, or continues with a connection that reads this head from its first byte.

use std::sync::atomic::Ordering::Relaxed;

use super::SocketTimers;
use super::state::SocketState;

/// The milliseconds of idleness after which a socket is parked.
const PARK_AFTER: u64 = 1_000;

/// Methods for the task of the socket.
impl SocketTimers {
    /// Takes the ticker's request to park the socket. Returns `false` if there is none, or if
    /// hyper's connection can no longer be taken apart without losing anything. The caller has just
    /// polled the connection.
    pub(in crate::server) fn take_parking_request(&self) -> bool {
        let is_requested = &self.is_parking_requested;
        is_requested.load(Relaxed)
            && is_requested.swap(false, Relaxed)
            && (self.can_park_immediately() || self.is_parking_due(self.ticker.now()))
    }

    /// Requests that a possibly idle socket is parked at once. All of its responses are written,
    /// and the last one keeps it open. Returns whether the request was made; hyper must not parse
    /// the next head then.
    #[cold]
    pub(in crate::server) fn request_immediate_parking(&self) -> bool {
        let can_park_immediately = self.can_park_immediately();
        if can_park_immediately {
            self.is_parking_requested.store(true, Relaxed);
        }
        can_park_immediately
    }

    /// Records whether hyper, whose connection was taken apart, held no part of a head. If so, a
    /// possibly idle socket has been idle since its last response.
    pub(in crate::server) fn record_idleness(&self, is_idle: bool) {
        if self.is_possibly_idle() && is_idle {
            self.set_state(SocketState::Idle);
            let elapsed = self
                .ticker
                .now()
                .saturating_sub(self.idle_since.load(Relaxed));
            let due = self.ticker.due_after(self.limits.idle);
            self.state_deadline.set(due.saturating_sub(elapsed));
        }
        self.may_be_idle.store(false, Relaxed);
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

    /// Records that a body was read to its end, or dropped.
    pub(in crate::server) fn remove_open_body(&self) {
        self.open_bodies.fetch_sub(1, Relaxed);
    }

    /// Records that a body is dropped unread. hyper skips the rest or closes the socket when it is
    /// polled next, so its connection must not be taken apart before.
    pub(in crate::server) fn record_unread_body(&self) {
        self.has_dropped_body.store(true, Relaxed);
    }
}

/// Methods for the ticker.
impl SocketTimers {
    /// Returns whether the socket is in the state Head but may be idle: whether hyper holds a part
    /// of a head is not known (`ReadProgress::may_hold_head`).
    pub(super) fn is_possibly_idle(&self) -> bool {
        self.may_be_idle.load(Relaxed) && self.state() == SocketState::Head
    }

    /// Requests parking if it is due. Returns whether the socket has to be woken for it.
    pub(super) fn request_parking(&self, now: u64) -> bool {
        let is_due = self.is_parking_due(now);
        if is_due {
            self.is_parking_requested.store(true, Relaxed);
        }
        is_due
    }

    /// Returns whether the socket has been idle for [`PARK_AFTER`] without being parked, or may
    /// have been, and hyper has nothing to write and no body to read.
    fn is_parking_due(&self, now: u64) -> bool {
        (self.state().is_idle() || self.is_possibly_idle())
            && now.saturating_sub(self.idle_since.load(Relaxed)) >= PARK_AFTER
            && self.can_park()
    }

    /// Returns whether the socket is possibly idle and can be parked at once.
    fn can_park_immediately(&self) -> bool {
        self.is_possibly_idle() && !self.has_dropped_body.load(Relaxed) && self.can_park()
    }

    fn can_park(&self) -> bool {
        !self.is_parked.load(Relaxed)
            && !self.is_write_blocked()
            && self.open_bodies.load(Relaxed) == 0
    }
}

#[cfg(test)]
mod tests;
