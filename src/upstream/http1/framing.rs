//! Determines how a response's body ends, by the rules of RFC 9112 §6.3 without their leniencies,
//! and how long its socket stays open.

use std::time::Duration;

use http::HeaderName;

use crate::upstream::failure::ProtocolFault;
use crate::upstream::head::parse_content_length;

/// The end of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body (HEAD, 204, 304).
    Absent,
    /// The body ends after this many bytes.
    Exact(u64),
    /// The body ends with a last chunk.
    Chunked,
    /// The body ends when the upstream closes the socket properly, with `close_notify`.
    UntilClose,
}

/// The fields of a head that concern the body's length and the socket.
#[derive(Default)]
pub(super) struct FramingFields {
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    /// `true` if the upstream closes the socket after this response.
    pub(super) close: bool,
    /// Seconds for which the upstream keeps the idle socket open (`Keep-Alive: timeout=N`).
    idle_seconds: Option<u64>,
}

/// The time, in seconds, before the announced end of an idle socket in which the socket is no
/// longer used. A later request could arrive while the upstream closes the socket, and it would be
/// unknown whether the upstream processed it.
const IDLE_MARGIN: u64 = 1;

impl FramingFields {
    /// Takes a field into account. Returns whether the field concerns only the body's framing or
    /// this socket, so that no other part of egressd needs it.
    pub(super) fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, ProtocolFault> {
        if name == http::header::CONTENT_LENGTH {
            let length = parse_content_length(value).ok_or(ProtocolFault::Framing)?;
            if self.length.is_some_and(|earlier| earlier != length) {
                return Err(ProtocolFault::Framing);
            }
            self.length = Some(length);
        } else if name == http::header::TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name == http::header::CONNECTION {
            return Ok(self.note_connection(value));
        } else if name.as_str() == "keep-alive" {
            self.note_keep_alive(value);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Returns `false` if the field names others as hop-by-hop (RFC 9110 §7.6.1).
    fn note_connection(&mut self, value: &[u8]) -> bool {
        let mut names_fields = false;
        for option in value.split(|b| *b == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                names_fields = true;
            }
        }
        !names_fields
    }

    /// Reads `timeout=N` and `max=N` (RFC 2068 §19.7.1.1). Unknown and malformed parameters are
    /// ignored, because the field is a hint.
    fn note_keep_alive(&mut self, value: &[u8]) {
        for parameter in value.split(|b| matches!(b, b',' | b';')) {
            let Some(equals) = memchr::memchr(b'=', parameter) else {
                continue;
            };
            let (name, number) = parameter.split_at(equals);
            let Some(number) = leading_number(number.get(1..).unwrap_or_default()) else {
                continue;
            };
            if name.trim_ascii().eq_ignore_ascii_case(b"timeout") {
                let shortest = self.idle_seconds.unwrap_or(u64::MAX).min(number);
                self.idle_seconds = Some(shortest);
            } else if name.trim_ascii().eq_ignore_ascii_case(b"max") {
                self.close |= number == 0;
            }
        }
    }

    /// Returns whether the socket stays open after the response, according to the fields.
    pub(super) fn stays_open(&self) -> bool {
        !self.close && self.idle_limit() != Some(Duration::ZERO)
    }

    /// Returns how long the idle socket may be used, less the margin. `None` if the upstream names
    /// no time.
    pub(super) fn idle_limit(&self) -> Option<Duration> {
        let seconds = self.idle_seconds?;
        Some(Duration::from_secs(seconds.saturating_sub(IDLE_MARGIN)))
    }

    /// Returns whether the fields announce a body of at least one byte, even if the response has
    /// none.
    pub(super) fn announces_body(&self) -> bool {
        self.codings > 0 || self.length.is_some_and(|length| length > 0)
    }

    /// Returns the end of the body according to all fields. `version` is the minor version of
    /// HTTP/1.
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

/// Parses the number at the start of a parameter's value, in quotes or not. A number that is too
/// large becomes the largest one.
fn leading_number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let digits = std::str::from_utf8(value.get(..digits)?).ok()?;
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Duration, FramingFields};
    use http::HeaderName;

    fn noted(values: &[&str]) -> FramingFields {
        let name = HeaderName::from_static("keep-alive");
        let mut framing = FramingFields::default();
        for value in values {
            framing.note(&name, value.as_bytes()).unwrap();
        }
        framing
    }

    #[test]
    fn the_announced_idle_time_counts_less_a_margin() {
        // F-223
        for (values, seconds) in [
            (&["timeout=5"][..], Some(4)),
            (&["timeout=5, max=100"], Some(4)),
            (&["max=100 ; TIMEOUT = \"72\""], Some(71)),
            (&["timeout=20", "timeout=3"], Some(2)),
            (&["timeout=5.5"], Some(4)),
            (&["timeout=99999999999999999999"], Some(u64::MAX - 1)),
            (&["timeout=1"], Some(0)),
            (&["timeout=0"], Some(0)),
            (&["timeout"], None),
            (&["timeout=", "timeout=-1", "timeout=soon", "x=1", ""], None),
        ] {
            let framing = noted(values);
            let limit = seconds.map(Duration::from_secs);
            assert_eq!(framing.idle_limit(), limit, "{values:?}");
            assert_eq!(framing.stays_open(), seconds != Some(0), "{values:?}");
        }
        assert!(noted(&["timeout=5, max=1"]).stays_open());
        assert!(!noted(&["timeout=5, max=0"]).stays_open());
    }
}
