//! Finds where frames begin in a stream of bytes.

use super::{DATA, END_STREAM, HEADERS};

/// Finds the heads of frames in a stream of bytes, whatever pieces it arrives in (RFC 9113 §4.1).
pub(super) struct FrameScanner {
    head: [u8; 9],
    filled: usize,
    /// Bytes of the current frame that are still to be skipped.
    pub(super) payload: usize,
}

/// The head of one frame.
pub(super) struct FrameHead {
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
    pub(super) length: u32,
}

impl FrameScanner {
    /// Creates a scanner for a stream with `skipped` bytes before the first frame.
    pub(super) fn new(skipped: usize) -> Self {
        Self {
            head: [0; 9],
            filled: 0,
            payload: skipped,
        }
    }

    /// Consumes bytes up to the end of the next head. Returns their number, at least one, and the
    /// head if it is complete.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, Option<FrameHead>) {
        let skipped = self.payload.min(bytes.len());
        self.payload -= skipped;
        let rest = bytes.get(skipped..).unwrap_or_default();
        let room = self.head.get_mut(self.filled..).unwrap_or_default();
        let taken = room.len().min(rest.len());
        for (room, byte) in room.iter_mut().zip(rest) {
            *room = *byte;
        }
        self.filled += taken;
        let head = (self.filled == self.head.len()).then(|| self.parse());
        (skipped + taken, head)
    }

    fn parse(&mut self) -> FrameHead {
        self.filled = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.payload = usize::try_from(length).unwrap_or(usize::MAX);
        FrameHead {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            length,
        }
    }
}

impl FrameHead {
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}
