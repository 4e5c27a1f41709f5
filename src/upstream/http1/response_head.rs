//! Reads a response head, strictly: `httparse` for the grammar, and the rules of RFC 9112 §6.3 for the body's length without any of its leniencies.
//!
//! Whatever this file lets through has one status from 200 to 599, one unambiguous body length, and at most 64 KiB and 100 fields.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::upstream::failure::ProtocolFault;

/// The most bytes that a response head may have.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most fields that a response head may have.
pub const MAX_FIELDS: usize = 100;

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

/// A final response's head.
#[derive(Debug)]
pub struct ResponseHead {
    /// 200 to 599.
    pub status: StatusCode,
    /// All fields as they came, framing included.
    pub headers: HeaderMap,
    /// How the body ends.
    pub length: BodyLength,
    /// Whether the socket may serve another request afterwards.
    pub keep_alive: bool,
}

/// What a parse found.
#[derive(Debug)]
pub enum Parsed {
    /// Not whole yet.
    Partial,
    /// An informational head of this many bytes, already consumed.
    Informational(usize),
    /// A final head, already consumed.
    Final(ResponseHead),
}

/// Takes one head off the front of `buffer`, if it is whole. `method` is that of the request (RFC 9112 §6.3, rule 1).
///
/// `scanned` is how many bytes of the buffer were searched for the head's end before; it is kept up to date, so that a head which arrives byte by
/// byte is not parsed anew each time.
pub fn take_head(
    buffer: &mut BytesMut,
    scanned: &mut usize,
    method: &Method,
) -> Result<Parsed, ProtocolFault> {
    let from = scanned.saturating_sub(2);
    *scanned = buffer.len();
    if !has_blank_line(buffer.get(from..).unwrap_or_default()) {
        return if buffer.len() > MAX_HEAD_BYTES {
            Err(ProtocolFault::HeadTooLarge)
        } else {
            Ok(Parsed::Partial)
        };
    }
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, buffer, &mut fields)
        .map_err(|error| {
            if error == httparse::Error::TooManyHeaders {
                ProtocolFault::HeadTooLarge
            } else {
                ProtocolFault::Head
            }
        })?;
    let httparse::Status::Complete(length) = status else {
        return if buffer.len() > MAX_HEAD_BYTES {
            Err(ProtocolFault::HeadTooLarge)
        } else {
            Ok(Parsed::Partial)
        };
    };
    if length > MAX_HEAD_BYTES {
        return Err(ProtocolFault::HeadTooLarge);
    }
    let parsed = refine(&response, method, length);
    let _consumed = buffer.split_to(length);
    *scanned = 0;
    parsed
}

/// Whether a line end is followed by another: the only place where a head can end.
fn has_blank_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes)
        .any(|at| matches!(bytes.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
        || matches!(bytes, [b'\r', b'\n', ..] | [b'\n', ..])
}

fn refine(
    response: &httparse::Response<'_, '_>,
    method: &Method,
    length: usize,
) -> Result<Parsed, ProtocolFault> {
    let code = response.code.ok_or(ProtocolFault::Head)?;
    let version = response.version.ok_or(ProtocolFault::Head)?;
    match code {
        101 => return Err(ProtocolFault::Upgrade),
        100..=199 => return Ok(Parsed::Informational(length)),
        200..=599 => {}
        _ => return Err(ProtocolFault::Head),
    }
    let status = StatusCode::from_u16(code).map_err(|_| ProtocolFault::Head)?;
    let mut framing = Framing::default();
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| ProtocolFault::Head)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| ProtocolFault::Head)?;
        framing.note(&name, field.value)?;
        headers.append(name, value);
    }
    let has_body = method != Method::HEAD && !matches!(code, 204 | 304);
    let length = framing.body_length(version, has_body)?;
    let keep_alive = version == 1 && !framing.close && length != BodyLength::UntilClose;
    Ok(Parsed::Final(ResponseHead {
        status,
        headers,
        length,
        keep_alive,
    }))
}

/// What the fields say of the body's length.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    close: bool,
}

impl Framing {
    fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), ProtocolFault> {
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

    fn body_length(&self, version: u8, has_body: bool) -> Result<BodyLength, ProtocolFault> {
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

#[cfg(test)]
mod tests {
    use super::{BodyLength, Parsed, ProtocolFault, ResponseHead, take_head};
    use bytes::BytesMut;
    use http::Method;

    fn parse(text: &str) -> Result<Parsed, ProtocolFault> {
        take_head(&mut BytesMut::from(text), &mut 0, &Method::GET)
    }

    fn whole(text: &str) -> ResponseHead {
        match parse(text) {
            Ok(Parsed::Final(head)) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn lengths() {
        for (head, length, keep_alive) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                BodyLength::Exact(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                BodyLength::Exact(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
                BodyLength::Chunked,
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", BodyLength::UntilClose, false),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
                BodyLength::Exact(5),
                false,
            ), // F-125
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                BodyLength::Absent,
                true,
            ), // F-127
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                BodyLength::Absent,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 0\r\n\r\n",
                BodyLength::Exact(0),
                false,
            ),
            (
                "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
                BodyLength::Exact(0),
                true,
            ),
        ] {
            let head = whole(head);
            assert_eq!(
                (head.length, head.keep_alive),
                (length, keep_alive),
                "{head:?}"
            );
        }
    }

    #[test]
    fn refuses_what_is_unclear() {
        use ProtocolFault::{Framing, Head, TransferCoding, Upgrade};
        for (fields, fault) in [
            // F-121
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Framing,
            ),
            (
                "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
                Framing,
            ),
            ("Content-Length: 5, 5\r\n", Framing),
            ("Content-Length: 2\r\nContent-Length: 5\r\n", Framing),
            ("Content-Length: -5\r\n", Framing),
            ("Content-Length: +5\r\n", Framing),
            ("Content-Length: \r\n", Framing),
            ("Content-Length: 18446744073709551616\r\n", Framing),
            // F-122
            ("Transfer-Encoding: gzip, chunked\r\n", TransferCoding),
            ("Transfer-Encoding: gzip\r\n", TransferCoding),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                TransferCoding,
            ),
            // F-126
            ("A : b\r\n", Head),
            ("A: b\r\n c\r\n", Head),
            ("A: b\0\r\n", Head),
            ("A: b\rc\r\n", Head),
            ("no colon\r\n", Head),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            assert_eq!(parse(&text).map(drop), Err(fault), "{text:?}");
        }
        for (line, fault) in [
            // F-119, F-120
            ("HTTP/1.1 101 Switching Protocols", Upgrade),
            ("HTTP/1.1 099 Low", Head),
            ("HTTP/1.1 20 Short", Head),
            ("HTTP/1.1 abc Text", Head),
            ("HTTP/1.1 600 High", Head),
            ("HTTP/1.1 999 High", Head),
            ("HTTP/2.0 200 OK", Head),
            ("hello", Head),
        ] {
            assert_eq!(
                parse(&format!("{line}\r\n\r\n")).map(drop),
                Err(fault),
                "{line}"
            );
        }
        assert_eq!(
            parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").map(drop),
            Err(Framing)
        );
    }

    #[test]
    fn heads_are_bounded() {
        // F-116
        let many = "A: b\r\n".repeat(101);
        assert_eq!(
            parse(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).map(drop),
            Err(ProtocolFault::HeadTooLarge)
        );
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(65_536));
        assert_eq!(parse(&long).map(drop), Err(ProtocolFault::HeadTooLarge));
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(65_536));
        assert_eq!(parse(&endless).map(drop), Err(ProtocolFault::HeadTooLarge));
    }

    #[test]
    fn byte_by_byte_is_the_same_as_at_once() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "\r\nHTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        ] {
            let (mut buffer, mut scanned, mut heads) = (BytesMut::new(), 0, 0);
            for byte in text.bytes() {
                buffer.extend_from_slice(&[byte]);
                if heads == 0 {
                    match take_head(&mut buffer, &mut scanned, &Method::GET).unwrap() {
                        Parsed::Final(head) => {
                            assert_eq!(head.length, BodyLength::Exact(5));
                            heads += 1;
                        }
                        Parsed::Partial => {}
                        Parsed::Informational(_) => panic!("{text:?}"),
                    }
                }
            }
            assert_eq!((&buffer[..], heads), (&b"hello"[..], 1), "{text:?}");
        }
    }
}
