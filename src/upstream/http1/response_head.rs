//! Reads a response head, strictly: `httparse` for the grammar, and the rules of RFC 9112 §6.3 for the body's length without any of its leniencies.
//!
//! Whatever this file lets through has one status from 200 to 599, one unambiguous body length, and at most 64 KiB and 100 fields.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use super::framing::BodyLength;
use super::framing::Framing;
use crate::upstream::failure::ProtocolFault;

/// The most bytes that a response head may have.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most fields that a response head may have.
pub const MAX_FIELDS: usize = 100;

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
    let refined = refine(&response, buffer, method);
    let bytes = buffer.split_to(length).freeze();
    *scanned = 0;
    match refined? {
        Refined::Informational => Ok(Parsed::Informational(length)),
        Refined::Final { head, fields } => fill(head, fields, &bytes).map(Parsed::Final),
    }
}

/// Whether a line end is followed by another: the only place where a head can end.
fn has_blank_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes)
        .any(|at| matches!(bytes.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
        || matches!(bytes, [b'\r', b'\n', ..] | [b'\n', ..])
}

/// A head whose values still lie in the buffer.
enum Refined {
    Informational,
    Final {
        head: ResponseHead,
        /// Names, and where their values are.
        fields: Vec<(HeaderName, Range<usize>)>,
    },
}

fn refine(
    response: &httparse::Response<'_, '_>,
    buffer: &[u8],
    method: &Method,
) -> Result<Refined, ProtocolFault> {
    let code = response.code.ok_or(ProtocolFault::Head)?;
    let version = response.version.ok_or(ProtocolFault::Head)?;
    match code {
        101 => return Err(ProtocolFault::Upgrade),
        100..=199 => return Ok(Refined::Informational),
        200..=599 => {}
        _ => return Err(ProtocolFault::Head),
    }
    let status = StatusCode::from_u16(code).map_err(|_| ProtocolFault::Head)?;
    let mut framing = Framing::default();
    let mut fields = Vec::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| ProtocolFault::Head)?;
        framing.note(&name, field.value)?;
        fields.push((name, place(field.value, buffer)));
    }
    let has_body = method != Method::HEAD && !matches!(code, 204 | 304);
    let length = framing.body_length(version, has_body)?;
    let keep_alive = version == 1 && !framing.close && length != BodyLength::UntilClose;
    let head = ResponseHead {
        status,
        headers: HeaderMap::with_capacity(fields.len()),
        length,
        keep_alive,
    };
    Ok(Refined::Final { head, fields })
}

/// Where a piece of the buffer lies in it.
fn place(piece: &[u8], buffer: &[u8]) -> Range<usize> {
    let start = (piece.as_ptr() as usize).saturating_sub(buffer.as_ptr() as usize);
    if piece.is_empty() {
        0..0
    } else {
        start..start + piece.len()
    }
}

/// The values share the head's bytes: a copy of each would cost more than parsing them.
fn fill(
    mut head: ResponseHead,
    fields: Vec<(HeaderName, Range<usize>)>,
    bytes: &Bytes,
) -> Result<ResponseHead, ProtocolFault> {
    for (name, place) in fields {
        if place.end > bytes.len() {
            return Err(ProtocolFault::Head);
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice(place));
        head.headers
            .append(name, value.map_err(|_| ProtocolFault::Head)?);
    }
    Ok(head)
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
    fn values_are_those_that_were_sent() {
        let head = whole(
            "\r\nHTTP/1.1 200 OK\r\nA: one\r\nEmpty:\r\nContent-Length: 0\r\nA:  two \r\nB: \u{e9}\r\n\r\n",
        );
        let values: Vec<_> = head.headers.get_all("a").iter().collect();
        assert_eq!(values, ["one", "two"]);
        assert_eq!(head.headers.get("empty").unwrap(), "");
        assert_eq!(head.headers.get("content-length").unwrap(), "0");
        assert_eq!(
            head.headers.get("b").unwrap().as_bytes(),
            "\u{e9}".as_bytes()
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
