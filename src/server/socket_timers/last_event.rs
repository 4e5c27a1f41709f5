//! The time for the last event of an event stream that is cut off.
//!
//! Other responses are cut off as soon as the deadline or the grace period passes. The service of
//! an event stream can instead send an event that states the reason. It has [`CLOSE_TIMEOUT`] until
//! the event is written.

use super::state::SocketState;
use super::{CLOSE_TIMEOUT, ExceededLimit, SocketTimers};

impl SocketTimers {
    /// Records that the head of an event stream is being sent.
    pub fn begin_event_stream(&self) {
        if self.state() == SocketState::Exchange {
            self.set_state(SocketState::Streaming);
        }
    }

    /// Limits the time in which the last event of an event stream can be written.
    pub fn begin_last_event(&self) {
        if self.state() == SocketState::Streaming {
            self.start(&self.state_deadline, CLOSE_TIMEOUT);
        }
    }

    /// Returns `false` if a limit has passed after which the service sends no last event.
    /// Otherwise starts the time that the service has, if a limit has passed.
    pub(super) fn may_send_last_event(&self) -> bool {
        match self.exceeded_limit() {
            None => true,
            Some(ExceededLimit::Body) => false,
            Some(ExceededLimit::Exchange | ExceededLimit::Grace) => {
                self.begin_last_event();
                true
            }
        }
    }
}
