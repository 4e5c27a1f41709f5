//! The refusals of heads that hyper rejects. There is no request, so these responses are written
//! here as bytes.

use std::io::Write as _;
use std::str::from_utf8;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::ext::ReasonPhrase;
use memchr::memchr;

use super::code::RefusalCode;
use super::head_fields::MAX_FIELD_BYTES;
use super::identify::{MAX_TARGET_BYTES, not_canonical};
use super::refusal::Refusal;
use super::request_id::RequestId;
use crate::domain::query::escape_query;
use crate::route::CanonicalPath;
use crate::server::{HeadFault, HeadReply, MAX_FIELDS, UnparsedHead, WrittenTarget};

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Returns the head with a query that hyper accepts. `None` if the query is not the reason for
/// which hyper rejects the head.
pub(super) fn replace_query(head: &UnparsedHead<'_>) -> Option<HeadReply> {
    if !head.is_whole || head.fault != HeadFault::Target {
        return None;
    }
    let (line, fields) = head.bytes.split_at_checked(memchr(b'\n', head.bytes)?)?;
    let (method, rest) = from_utf8(line).ok()?.split_once(' ')?;
    let (target, version) = rest.split_once(' ')?;
    let line = format!("{method} {} {version}", escape_query(target)?);
    Some(HeadReply::Replace {
        head: [line.as_bytes(), fields].concat(),
        target: WrittenTarget(target.into()),
    })
}

/// Returns the refusal of a head.
pub(super) fn head_refusal(head: &UnparsedHead<'_>) -> Refusal {
    let malformed = |detail| Refusal::new(RefusalCode::MalformedRequest, detail);
    match head.fault {
        HeadFault::Method if head.bytes.first() == Some(&TLS_HANDSHAKE) => malformed(
            "The request begins with a TLS handshake. Agents reach egressd over plain HTTP: write `http://` instead of `https://`.",
        ),
        HeadFault::Method => malformed("The request line does not begin with a valid method."),
        HeadFault::Target => path_refusal(head).unwrap_or_else(|| {
            malformed(
                "The request target has a byte that no URI may hold, such as a control character, a backtick or a byte above 0x7f. Percent-encode it.",
            )
        }),
        HeadFault::Version if has_spaced_target(head.bytes) => {
            malformed("The request target has a space. Percent-encode it as `%20`.")
        }
        HeadFault::Version => Refusal::new(
            RefusalCode::HttpVersionRefused,
            "The request line does not end with a known HTTP version. Use HTTP/1.1.",
        ),
        HeadFault::Field => malformed(
            "A header field is malformed. A name has no space, also not before the colon, and a value is one line without control characters.",
        ),
        HeadFault::Framing => malformed(
            "The length of the request body is not clear: `Content-Length` or `Transfer-Encoding` is invalid or contradictory.",
        ),
        HeadFault::TargetTooLong => Refusal::new(
            RefusalCode::TargetTooLong,
            format!("The request target is too long; at most {MAX_TARGET_BYTES} bytes are allowed."),
        )
        .limited_to(MAX_TARGET_BYTES),
        HeadFault::TooLarge => Refusal::new(
            RefusalCode::HeadersTooLarge,
            format!("The request head has more than {MAX_FIELD_BYTES} bytes."),
        )
        .limited_to(MAX_FIELD_BYTES),
        // `limit` counts bytes, so this document has none.
        HeadFault::TooManyFields => Refusal::new(
            RefusalCode::HeadersTooLarge,
            format!("The request head has more than {MAX_FIELDS} header fields."),
        ),
    }
}

/// Returns the refusal of the path, if the head is known and its path is not canonical.
fn path_refusal(head: &UnparsedHead<'_>) -> Option<Refusal> {
    let line = first_line(head.bytes)?;
    let target = line.split(|b| *b == b' ').nth(1)?;
    let path = target.split(|b| matches!(b, b'?' | b'#')).next()?;
    let is_path = path.first() == Some(&b'/');
    let refused = is_path.then(|| CanonicalPath::parse(path).err())??;
    Some(not_canonical(refused))
}

/// Returns whether the first line has a known version at its end, so that there is a space within
/// its target.
fn has_spaced_target(head: &[u8]) -> bool {
    first_line(head)
        .is_some_and(|line| line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

fn first_line(head: &[u8]) -> Option<&[u8]> {
    let line = head.split(|b| *b == b'\n').next()?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Returns the whole response to a head, and the length of its body. The socket closes after it.
pub(super) fn response_bytes(refusal: &Refusal, request_id: &RequestId) -> (Bytes, usize) {
    let mut response = refusal.response(&HeaderMap::new(), None, request_id);
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_LENGTH, length.into());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(DATE, date);
    }
    (serialize(&response).into(), length)
}

fn serialize(response: &Response<Bytes>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let phrase = response.extensions().get::<ReasonPhrase>();
    // Writing to a vector always succeeds.
    let _ = write!(bytes, "HTTP/1.1 {} ", response.status().as_u16());
    bytes.extend_from_slice(phrase.map_or(&b""[..], ReasonPhrase::as_bytes));
    for (name, value) in response.headers() {
        let _ = write!(bytes, "\r\n{name}: ");
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(response.body());
    bytes
}
