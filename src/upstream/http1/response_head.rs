//! Parses response heads strictly. `httparse` checks the grammar, and the body's length follows the
//! rules of RFC 9112 §6.3 without their leniencies.
//!
//! An accepted head has a status from 200 to 599, an unambiguous body length, and at most 64 KiB
//! and 100 fields.

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, SERVER,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use super::framing::BodyLength;
use super::framing::FramingFields;
use crate::upstream::failure::ProtocolFault;

/// The most bytes that a response head may have.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most fields that a response head may have.
pub const MAX_FIELDS: usize = 100;
/// Heads of more bytes are unusual, because common servers limit theirs to 4 or 8 KiB by default.
const USUAL_HEAD_BYTES: usize = 8 * 1024;

/// The head of a final response.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The fields as they were received, except for those that concern only the framing or the
    /// socket.
    pub headers: HeaderMap,
    /// The rule that determines where the body ends.
    pub length: BodyLength,
    /// `true` if the head allows another request on the socket afterwards.
    pub keep_alive: bool,
    /// The time for which the socket may be used once it is idle, if the upstream announces one.
    pub idle_limit: Option<Duration>,
    /// `true` if the head is large, or framed in a way that few servers use.
    pub is_unusual: bool,
}

/// The result of a parse.
#[derive(Debug)]
pub enum ParsedHead {
    /// The head is not complete yet.
    Partial,
    /// An informational head of this many bytes, already consumed.
    Informational(usize),
    /// A final head, already consumed.
    Final(ResponseHead),
}

/// The progress of examining an incomplete head.
#[derive(Debug, Default)]
pub struct HeadProgress {
    /// Bytes of the buffer that were searched for the head's end.
    scanned: usize,
    /// Bytes of empty lines before the head, already consumed.
    blank: usize,
}

/// Takes one head off the front of `buffer`, if it is complete. `method` is the request's, because
/// a response to HEAD has no body (RFC 9112 §6.3, rule 1).
///
/// `progress` belongs to the buffer. With it each byte is searched once and the head is parsed
/// at most twice, however few bytes arrive at a time. Otherwise an upstream could cause much work
/// with tiny TLS records.
pub fn take_head(
    buffer: &mut BytesMut,
    progress: &mut HeadProgress,
    method: &Method,
) -> Result<ParsedHead, ProtocolFault> {
    // `httparse` skips empty lines before the status line as well, but starts from the first one
    // each time.
    let blank = blank_lines(buffer);
    buffer.advance(blank);
    progress.blank += blank;
    // Most heads arrive whole, so the first bytes are parsed without a search for the end.
    let is_first = progress.scanned == 0;
    if !is_first && !search_end(buffer, progress) {
        return partial_or_too_large(buffer, progress);
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
        if is_first && !search_end(buffer, progress) {
            return partial_or_too_large(buffer, progress);
        }
        // The buffer contains the end of the head, so the head is invalid.
        return Err(ProtocolFault::Head);
    };
    let total = progress.blank + length;
    if total > MAX_HEAD_BYTES {
        return Err(ProtocolFault::HeadTooLarge);
    }
    let refined = refine(&response, buffer, method)?;
    let bytes = buffer.split_to(length).freeze();
    let has_blank = progress.blank > 0;
    *progress = HeadProgress::default();
    match refined {
        Refined::Informational => Ok(ParsedHead::Informational(total)),
        Refined::Final { mut head, fields } => {
            head.is_unusual = has_blank || total > USUAL_HEAD_BYTES || bytes.ends_with(b"\n\n");
            fill(head, fields, &bytes).map(ParsedHead::Final)
        }
    }
}

/// Returns the result for a buffer without the end of a head.
fn partial_or_too_large(
    buffer: &[u8],
    progress: &HeadProgress,
) -> Result<ParsedHead, ProtocolFault> {
    if progress.blank + buffer.len() > MAX_HEAD_BYTES {
        Err(ProtocolFault::HeadTooLarge)
    } else {
        Ok(ParsedHead::Partial)
    }
}

/// Returns the length of the complete empty lines at the front.
fn blank_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] = rest {
        rest = after;
    }
    bytes.len() - rest.len()
}

/// Searches the part of the buffer that was not searched before, and records in `progress` that it
/// was. Returns whether it contains a line end that follows another, the only place where a head
/// can end.
fn search_end(buffer: &[u8], progress: &mut HeadProgress) -> bool {
    let from = progress.scanned.saturating_sub(2);
    progress.scanned = buffer.len();
    let new = buffer.get(from..).unwrap_or_default();
    memchr::memchr_iter(b'\n', new)
        .any(|at| matches!(new.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

/// Room for the fields that the proxy adds, because growing a map takes longer than filling it.
const ADDED_FIELDS: usize = 4;

/// A head whose values are not copied out of the buffer yet.
enum Refined {
    Informational,
    Final {
        head: ResponseHead,
        /// Names, with the positions of their values.
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
    let has_body = method != Method::HEAD && !matches!(code, 204 | 304);
    let mut framing = FramingFields::default();
    let mut fields = Vec::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name = field_name(field.name.as_bytes()).ok_or(ProtocolFault::Head)?;
        // Without a body, its length is that of the body that a GET would return.
        let is_needed = !framing.note(&name, field.value)? || (!has_body && name == CONTENT_LENGTH);
        if is_needed {
            // A position instead of a slice, because the head is split off the buffer before the
            // values are created.
            fields.push((name, place(field.value, buffer)));
        }
    }
    let length = framing.body_length(version, has_body)?;
    // If a server sends the announced body anyway, later than the head, its bytes would be taken
    // for the response to the next request.
    let may_come_late = !has_body && framing.announces_body();
    let keep_alive =
        version == 1 && framing.stays_open() && length != BodyLength::UntilClose && !may_come_late;
    let head = ResponseHead {
        status,
        headers: HeaderMap::with_capacity(fields.len() + ADDED_FIELDS),
        length,
        keep_alive,
        idle_limit: framing.idle_limit(),
        is_unusual: false,
    };
    Ok(Refined::Final { head, fields })
}

/// Returns the name of a field. Most servers spell the names of the usual fields in one of two
/// ways, and comparing with these takes a third of the time of the general parse.
fn field_name(bytes: &[u8]) -> Option<HeaderName> {
    Some(match bytes {
        b"Date" | b"date" => DATE,
        b"ETag" | b"etag" => ETAG,
        b"Vary" | b"vary" => VARY,
        b"Server" | b"server" => SERVER,
        b"Connection" | b"connection" => CONNECTION,
        b"Content-Type" | b"content-type" => CONTENT_TYPE,
        b"Cache-Control" | b"cache-control" => CACHE_CONTROL,
        b"Last-Modified" | b"last-modified" => LAST_MODIFIED,
        b"Content-Length" | b"content-length" => CONTENT_LENGTH,
        b"Transfer-Encoding" | b"transfer-encoding" => TRANSFER_ENCODING,
        _ => return HeaderName::from_bytes(bytes).ok(),
    })
}

/// Returns the position of a part of the buffer.
fn place(piece: &[u8], buffer: &[u8]) -> Range<usize> {
    let start = (piece.as_ptr() as usize).saturating_sub(buffer.as_ptr() as usize);
    if piece.is_empty() {
        0..0
    } else {
        start..start + piece.len()
    }
}

/// Adds the fields to the head. The values share the bytes of the head, because copying each would
/// take longer than parsing them.
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
mod tests;
