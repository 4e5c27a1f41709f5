//! Reads of a socket: the state that they lead to, and the place of their bytes.
//!
//! hyper reads as much as there is, and does not report how much of it belongs to the next request.
//! The end of the head and the length of the body show this, unless the end of the head is split
//! between two reads, or the body is sent in chunks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::SocketTimers;
use super::state::SocketState;

/// The length of a body that is sent in chunks.
const UNKNOWN_LENGTH: u64 = u64::MAX;
/// The value of `after_head` for a head whose end was not found. Later reads are added to it, and
/// the sum equals neither [`UNKNOWN_LENGTH`] nor the length of a body.
const END_NOT_FOUND: u64 = u64::MAX / 2;

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

/// The bytes that were read of the last request.
#[derive(Default)]
pub(super) struct ReadProgress {
    /// `true` if the last bytes end with an empty line.
    ends_with_empty_line: AtomicBool,
    /// The number of bytes that were read after the head.
    after_head: AtomicU64,
    /// The length of the body.
    body_length: AtomicU64,
}

impl ReadProgress {
    /// Returns whether hyper, which has parsed the request and read its body, may hold bytes of the
    /// next head. It holds no part of a head if the bytes that were read end with an empty line, or
    /// if those after the head are the body.
    pub(super) fn may_hold_head(&self) -> bool {
        !self.ends_with_empty_line.load(Relaxed)
            && self.after_head.load(Relaxed) != self.body_length.load(Relaxed)
    }
}

/// Methods for the task of the socket.
impl SocketTimers {
    /// Records bytes that were read, and returns where they belong.
    pub(in crate::server) fn record_read(
        &self,
        read: &[u8],
        ends_with_empty_line: bool,
    ) -> ReadPlace {
        let reads = &self.reads;
        reads
            .ends_with_empty_line
            .store(ends_with_empty_line, Relaxed);
        let state = self.state();
        if !state.awaits_head() {
            let after = reads.after_head.load(Relaxed) + read.len() as u64;
            reads.after_head.store(after, Relaxed);
            return ReadPlace::Elsewhere;
        }
        let after = count_after_head(read, ends_with_empty_line).unwrap_or(END_NOT_FOUND);
        reads.after_head.store(after, Relaxed);
        self.may_be_idle.store(false, Relaxed);
        if !state.is_idle() {
            return ReadPlace::Head;
        }
        self.enter(SocketState::Head, self.limits.header_read);
        ReadPlace::HeadStart
    }

    /// Records the length of the request's body; `None` if it is sent in chunks.
    pub(in crate::server) fn set_body_length(&self, length: Option<u64>) {
        let length = length.unwrap_or(UNKNOWN_LENGTH);
        self.reads.body_length.store(length, Relaxed);
    }

    /// Returns whether an exchange is in progress, and no piece of the agent's body is awaited.
    pub(in crate::server) fn awaits_only_service(&self) -> bool {
        self.state().is_exchange() && !self.is_body_awaited()
    }

    /// Returns whether the socket waits for a head, or for more of one.
    pub(in crate::server) fn is_awaiting_head(&self) -> bool {
        self.state().awaits_head()
    }
}

/// Returns the number of bytes after the first empty line. `None` if no whole one is found: it may
/// have begun in an earlier read.
fn count_after_head(read: &[u8], ends_with_empty_line: bool) -> Option<u64> {
    if ends_with_empty_line {
        return Some(0);
    }
    let end = memchr::memmem::find(read, b"\r\n\r\n")?;
    Some((read.len() - end - 4) as u64)
}
