//! Error codes that would make a truncated response look complete.
//!
//! hyper treats the end of a stream with NO_ERROR as the end of the body, even before END_STREAM.
//! So the code is replaced where it truncates a response.

use std::collections::HashMap;

/// The last byte of the error code INTERNAL_ERROR; the others are zero (RFC 9113 §7).
pub(super) const INTERNAL_ERROR: u8 = 2;

/// The progress through a frame whose error code may truncate a response.
pub(super) enum ErrorCodeRewrite {
    /// A RST_STREAM of a stream whose response is not complete.
    Reset {
        /// The number of zero bytes of the code so far.
        zeros: u8,
    },
    /// A GOAWAY: the id of the last stream that may have been processed (4 bytes), then the code
    /// (RFC 9113 §6.8).
    GoAway {
        /// The number of bytes so far.
        bytes: u32,
        last_stream: u32,
        /// The number of zero bytes of the code so far.
        zeros: u8,
    },
}

impl ErrorCodeRewrite {
    pub(super) const fn reset() -> Self {
        Self::Reset { zeros: 0 }
    }

    pub(super) const fn go_away() -> Self {
        Self::GoAway {
            bytes: 0,
            last_stream: 0,
            zeros: 0,
        }
    }

    /// Replaces NO_ERROR, which is four zero bytes, by INTERNAL_ERROR if it would truncate a
    /// response. `open` contains the streams whose response is not complete, with the number of
    /// their heads.
    pub(super) fn rewrite_payload<'a>(
        &mut self,
        payload: impl Iterator<Item = &'a mut u8>,
        open: &HashMap<u32, u8>,
    ) {
        for byte in payload {
            if self.is_completed_by(*byte, open) {
                *byte = INTERNAL_ERROR;
            }
        }
    }

    fn is_completed_by(&mut self, byte: u8, open: &HashMap<u32, u8>) -> bool {
        match self {
            Self::Reset { zeros } => {
                *zeros = zeros.saturating_add(u8::from(byte == 0));
                *zeros == 4
            }
            Self::GoAway {
                bytes,
                last_stream,
                zeros,
            } => {
                *bytes = bytes.saturating_add(1);
                match *bytes {
                    1..=4 => *last_stream = *last_stream << 8 | u32::from(byte),
                    5..=8 => *zeros += u8::from(byte == 0),
                    _ => return false,
                }
                // The server states that it has not processed the streams above the last one, so a
                // response on one of them is cut.
                let last_stream = *last_stream & 0x7fff_ffff;
                let mut open = open.iter();
                *bytes == 8
                    && *zeros == 4
                    && open.any(|(stream, heads)| *stream > last_stream && *heads > 0)
            }
        }
    }
}
