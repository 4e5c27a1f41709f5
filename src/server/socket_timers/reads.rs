//! Reads of a socket: the state that they lead to, and the place of their bytes.

use std::sync::atomic::Ordering::Relaxed;

use super::SocketTimers;
use super::state::SocketState;

/// The place of bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum ReadPlace {
    /// They begin with the first byte of a head.
    HeadStart,
    /// They belong to a head, which may have begun in an earlier read.
    Head,
    /// They belong to a body, or may do so.
    Elsewhere,
}

/// Methods for the task of the socket.
impl SocketTimers {
    /// Records a read, and returns where its bytes belong. During an exchange, a read that returned
    /// nothing shows that hyper holds no bytes after the request.
    pub(in crate::server) fn record_read(&self, has_bytes: bool) -> ReadPlace {
        self.has_unparsed.store(has_bytes, Relaxed);
        let state = self.state();
        if !has_bytes || !state.awaits_head() {
            return ReadPlace::Elsewhere;
        }
        if !state.is_idle() {
            return ReadPlace::Head;
        }
        self.enter(SocketState::Head, self.limits.header_read);
        ReadPlace::HeadStart
    }

    /// Returns whether the socket waits for a head, or for more of one.
    pub(in crate::server) fn is_awaiting_head(&self) -> bool {
        self.state().awaits_head()
    }
}
