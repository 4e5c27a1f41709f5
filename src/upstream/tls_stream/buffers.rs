//! The buffers of a TLS stream: records from the upstream, and records that are not sent yet.
//!
//! rustls decrypts the records in the buffer, and copies their data into memory of its own. It
//! encrypts into a slice. So both buffers are initialised memory with a used range. They keep their
//! size while the socket is busy and return to a small size when it is idle, because most sockets
//! of a pool are idle.

use std::ops::Range;

use rustls::unbuffered::{EncodeError, EncryptError, InsufficientSizeError};

/// The size of a buffer for received records, until a record or a body needs more. The response to
/// a usual request fits.
const SMALL: usize = 4 * 1024;
/// The size for bodies. It has room for a whole record (RFC 8446 §5.2) and for the beginning of the
/// next one.
const LARGE: usize = 20 * 1024;
/// The largest size. rustls joins handshake messages of up to 64 KiB in the buffer, and a record
/// can follow.
const LARGEST: usize = 64 * 1024 + LARGE;

/// The smallest size of a buffer for unsent records.
const SMALL_UNSENT: usize = 1024;

/// Bytes from the upstream that rustls has not used yet.
#[derive(Default)]
pub(super) struct ReceivedRecords {
    bytes: Vec<u8>,
    used: Range<usize>,
    /// `true` if the last read filled the buffer, so that more bytes are likely to be available.
    was_filled: bool,
}

impl ReceivedRecords {
    pub(super) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    pub(super) fn used_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.used.clone()).unwrap_or_default()
    }

    /// Removes bytes from the front.
    pub(super) fn discard(&mut self, length: usize) {
        self.used.start = (self.used.start + length).min(self.used.end);
    }

    pub(super) fn clear(&mut self) {
        self.used = 0..0;
    }

    /// Returns the free part, for a read. It is empty if a message is larger than TLS allows.
    pub(super) fn free_mut(&mut self) -> &mut [u8] {
        if self.used.start > 0 {
            self.bytes.copy_within(self.used.clone(), 0);
            self.used = 0..self.used.len();
        }
        let size = self.bytes.len();
        let is_full = self.used.end == size;
        if size < SMALL {
            self.bytes.resize(SMALL, 0);
        } else if size < LARGE && (is_full || self.was_filled) {
            self.bytes.resize(LARGE, 0);
        } else if is_full && size < LARGEST {
            self.bytes.resize(LARGEST, 0);
        }
        self.bytes.get_mut(self.used.end..).unwrap_or_default()
    }

    /// Adds bytes that were read into the free part.
    pub(super) fn add(&mut self, length: usize) {
        self.used.end = (self.used.end + length).min(self.bytes.len());
        self.was_filled = self.used.end == self.bytes.len();
    }

    /// Reduces the size, if the buffer is empty.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() > SMALL {
            *self = Self::default();
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// Records that are encrypted and not sent yet.
#[derive(Default)]
pub(super) struct UnsentRecords {
    bytes: Vec<u8>,
    used: Range<usize>,
}

impl UnsentRecords {
    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    pub(super) fn used(&self) -> &[u8] {
        self.bytes.get(self.used.clone()).unwrap_or_default()
    }

    /// Removes bytes that were sent.
    pub(super) fn discard(&mut self, length: usize) {
        self.used.start += length;
        if self.used.start >= self.used.end {
            self.used = 0..0;
        }
    }

    /// Appends the bytes that `write` produces, which returns their number, or an error if the
    /// slice is too small. `expected` is the number of bytes that it needs most likely.
    pub(super) fn append<E: WriteError>(
        &mut self,
        expected: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let mut needed = expected;
        loop {
            self.reserve(needed);
            let free = self.bytes.get_mut(self.used.end..).unwrap_or_default();
            match write(free) {
                Ok(length) => {
                    self.used.end = (self.used.end + length).min(self.bytes.len());
                    return Ok(());
                }
                Err(error) => match error.required_size() {
                    // A larger slice that is again too small would otherwise repeat for ever.
                    Some(size) if size > needed => needed = size,
                    Some(_) | None => return Err(error),
                },
            }
        }
    }

    fn reserve(&mut self, additional: usize) {
        if self.bytes.len() - self.used.end >= additional {
            return;
        }
        self.bytes.copy_within(self.used.clone(), 0);
        self.used = 0..self.used.len();
        let size = (self.used.end + additional).max(SMALL_UNSENT);
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
    }

    /// Reduces the size, if the buffer is empty.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() > SMALL {
            *self = Self::default();
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// An error of rustls when it writes records into a slice.
pub(super) trait WriteError {
    /// Returns the size that the slice needs, if it was too small.
    fn required_size(&self) -> Option<usize>;
}

impl WriteError for EncodeError {
    fn required_size(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl WriteError for EncryptError {
    fn required_size(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::EncryptExhausted => None,
        }
    }
}
