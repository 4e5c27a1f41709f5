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
    /// `true` if the last bytes end with the last chunk of a body that has no trailers, or with a
    /// head.
    ends_with_last_chunk: AtomicBool,
    /// The number of bytes that were read after the head.
    after_head: AtomicU64,
    /// The length of the body.
    body_length: AtomicU64,
}

impl ReadProgress {
    /// Returns whether hyper, which has parsed the request and read its body, may hold bytes of the
    /// next head that have to be read again. It holds none if the bytes after the head are the
    /// body, or if the last ones are the end of a chunked body.
    pub(super) fn may_hold_head(&self) -> bool {
        let body_length = self.body_length.load(Relaxed);
        self.after_head.load(Relaxed) != body_length
            && !(body_length == UNKNOWN_LENGTH && self.ends_with_last_chunk.load(Relaxed))
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
        let state = self.state();
        if !state.awaits_head() {
            let ends_with_last_chunk = ends_with_empty_line && ends_with_last_chunk(read);
            reads
                .ends_with_last_chunk
                .store(ends_with_last_chunk, Relaxed);
            let after = reads.after_head.load(Relaxed) + read.len() as u64;
            reads.after_head.store(after, Relaxed);
            return ReadPlace::Elsewhere;
        }
        reads
            .ends_with_last_chunk
            .store(ends_with_empty_line, Relaxed);
        let after = count_after_head(read, ends_with_empty_line).unwrap_or(END_NOT_FOUND);
        reads.after_head.store(after, Relaxed);
        self.may_be_idle.store(false, Relaxed);
        if !state.is_idle() {
            return ReadPlace::Head;
        }
        self.enter(SocketState::Head, self.limits.header_read);
        ReadPlace::HeadStart
    }

    /// Corrects the record of a read that ends with an empty line, which may be that of a later
    /// head. `after_head` is the number of bytes after the first head; `None` if its end is not
    /// known.
    #[cold]
    pub(in crate::server) fn correct_read(&self, read: &[u8], after_head: Option<usize>) {
        self.reads
            .ends_with_last_chunk
            .store(ends_with_last_chunk(read), Relaxed);
        let after_head = after_head.map_or(END_NOT_FOUND, |after| after as u64);
        self.reads.after_head.store(after_head, Relaxed);
    }

    /// Returns whether hyper may hold bytes of the head after this request.
    pub(in crate::server) fn may_hold_head(&self) -> bool {
        self.reads.may_hold_head()
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

/// Returns whether the bytes end with the last chunk of a body, which no head ends with.
fn ends_with_last_chunk(read: &[u8]) -> bool {
    read.ends_with(b"\n0\r\n\r\n") || read == b"0\r\n\r\n"
}

/// Returns the number of bytes after the first empty line. `None` if no whole one is found: it may
/// have begun in an earlier read. A head that is followed by others in the same read ends with an
/// empty line as well; see [`SocketTimers::correct_read`].
fn count_after_head(read: &[u8], ends_with_empty_line: bool) -> Option<u64> {
    if ends_with_empty_line {
        return Some(0);
    }
    let end = memchr::memmem::find(read, b"\r\n\r\n")?;
    Some((read.len() - end - 4) as u64)
}
