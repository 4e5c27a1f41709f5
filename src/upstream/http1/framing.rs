//! How a response's body ends, by the rules of RFC 9112 §6.3 without any of its leniencies.

use http::HeaderName;

use crate::upstream::failure::ProtocolFault;

/// How a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none (HEAD, 204, 304).
    Absent,
    /// After this many bytes.
    Exact(u64),
    /// With a last chunk.
    Chunked,
    /// When the upstream closes the socket in good order.
    UntilClose,
}

/// What the fields say of the body's length.
#[derive(Default)]
pub(super) struct Framing {
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    /// The upstream says that it closes the socket afterwards.
    pub(super) close: bool,
}

impl Framing {
    /// Takes a field's word into account.
    pub(super) fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), ProtocolFault> {
        if name == http::header::CONTENT_LENGTH {
            let length = decimal(value).ok_or(ProtocolFault::Framing)?;
            if self.length.is_some_and(|earlier| earlier != length) {
                return Err(ProtocolFault::Framing);
            }
            self.length = Some(length);
        } else if name == http::header::TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name == http::header::CONNECTION {
            self.close |= value
                .split(|b| *b == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }

    /// What all of them say together. `version` is the minor one of HTTP/1.
    pub(super) fn body_length(
        &self,
        version: u8,
        has_body: bool,
    ) -> Result<BodyLength, ProtocolFault> {
        if self.codings > 0 {
            if self.length.is_some() || version == 0 {
                return Err(ProtocolFault::Framing);
            }
            if self.codings > 1 || !self.chunked {
                return Err(ProtocolFault::TransferCoding);
            }
        }
        Ok(match (has_body, self.codings > 0, self.length) {
            (false, _, _) => BodyLength::Absent,
            (true, true, _) => BodyLength::Chunked,
            (true, false, Some(length)) => BodyLength::Exact(length),
            (true, false, None) => BodyLength::UntilClose,
        })
    }
}

/// Digits only, up to 2^64 - 1: no sign, no blanks, no list.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
