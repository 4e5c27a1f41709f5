//! Parses a pattern, `[METHOD ][HOST]/[PATH]`, with any host and method, as Go does: the accepted
//! texts, the errors and their offsets are those of `parsePattern` in `net/http` (pattern.go, as of
//! Go 1.27).
//!
//! [`pattern`](super::pattern) contains the further restrictions of egressd.

use super::invalid::{InvalidPattern, InvalidPatternKind as Kind};
use super::{name, path};

/// A segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Exactly this text, percent-decoded.
    Literal(Box<[u8]>),
    /// `{name}`: any one segment that is not empty.
    Wildcard(Box<str>),
    /// `{name...}`: the rest of the path, which may be empty. A trailing slash is a remainder
    /// without a name.
    Remainder(Box<str>),
    /// `{$}`: the path ends after this slash. Go treats a literal `%2F` alone in the same way, and
    /// that is the only way to write an end mark that is not last. Such a pattern matches no
    /// canonical path.
    End,
}

/// The parts of a pattern, as Go parses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax<'a> {
    /// The method: any HTTP token. Empty if the pattern has none.
    pub method: &'a [u8],
    /// The host, which egressd rejects. Empty if the pattern has none.
    pub host: &'a [u8],
    /// The segments, at least one.
    pub segments: Vec<Segment>,
}

impl<'a> Syntax<'a> {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// Returns the first mistake in the order of Go: first those of the whole pattern, then those
    /// of its segments from the left.
    pub fn parse(text: &'a [u8]) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::new(Kind::Empty, 0, text));
        }
        let (method, rest, offset) = split_method(text);
        if !method.iter().copied().all(is_token_byte) {
            return Err(InvalidPattern::new(Kind::BadMethod, 0, method));
        }
        let Some((host, path)) =
            memchr::memchr(b'/', rest).and_then(|at| rest.split_at_checked(at))
        else {
            return Err(InvalidPattern::new(Kind::NoSlash, offset, rest));
        };
        if let Some(at) = memchr::memchr(b'{', host) {
            return Err(InvalidPattern::new(Kind::HostBrace, offset + at, host));
        }
        // Go's `ServeMux` cleans the path of every request except CONNECT, so with another method
        // such a pattern would never match.
        if !method.is_empty() && method != b"CONNECT" && !is_clean(path) {
            return Err(InvalidPattern::new(
                Kind::Unclean,
                offset + host.len(),
                path,
            ));
        }
        let segments = parse_path(path, text.len() - path.len())?;
        Ok(Self {
            method,
            host,
            segments,
        })
    }
}

/// Splits off the method. Returns it with the text after the blanks that follow it, and the offset
/// that Go reports for that text: one byte after the method, however many blanks there are.
fn split_method(text: &[u8]) -> (&[u8], &[u8], usize) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some((method, rest)) = text
        .iter()
        .position(is_blank)
        .and_then(|at| text.split_at_checked(at))
    else {
        return (&[], text, 0);
    };
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    (
        method,
        rest.get(blanks..).unwrap_or_default(),
        method.len() + 1,
    )
}

/// Returns whether a byte may be part of a token (RFC 9110, section 5.6.2).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Returns whether Go's `cleanPath` would leave the path unchanged.
fn is_clean(path: &[u8]) -> bool {
    let mut segments = path
        .get(1..)
        .unwrap_or_default()
        .split(|&byte| byte == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || segment == b"." || segment == b".." {
            return false;
        }
    }
    true
}

/// Parses the segments of `path`, which begins with a slash at offset `start` of the pattern.
fn parse_path(path: &[u8], start: usize) -> Result<Vec<Segment>, InvalidPattern> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut at = start + 1;
    let mut texts = path
        .get(1..)
        .unwrap_or_default()
        .split(|&byte| byte == b'/')
        .peekable();
    while let Some(text) = texts.next() {
        let last = texts.peek().is_none();
        let segment = if last && text.is_empty() {
            Segment::Remainder("".into())
        } else {
            parse_segment(text, last, &segments)
                .map_err(|kind| InvalidPattern::new(kind, at, text))?
        };
        segments.push(segment);
        at += text.len() + 1;
    }
    Ok(segments)
}

fn parse_segment(text: &[u8], last: bool, before: &[Segment]) -> Result<Segment, Kind> {
    let inner = match memchr::memchr(b'{', text) {
        None => return Ok(literal(text)),
        Some(1..) => return Err(Kind::BraceNotFirst),
        Some(0) => match text {
            [b'{', inner @ .., b'}'] => inner,
            _ => return Err(Kind::BraceNotLast),
        },
    };
    if inner == b"$" {
        return if last {
            Ok(Segment::End)
        } else {
            Err(Kind::EndMarkNotLast)
        };
    }
    let (name, takes_rest) = match inner.strip_suffix(b"...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    if takes_rest && !last {
        return Err(Kind::RestNotLast);
    }
    if name.is_empty() {
        return Err(Kind::EmptyName);
    }
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| name::is_name(name))
        .ok_or(Kind::BadName)?;
    if before
        .iter()
        .any(|segment| matches!(segment, Segment::Wildcard(other) if **other == *name))
    {
        return Err(Kind::DuplicateName);
    }
    Ok(if takes_rest {
        Segment::Remainder(name.into())
    } else {
        Segment::Wildcard(name.into())
    })
}

fn literal(text: &[u8]) -> Segment {
    match path::decoded(text).as_ref() {
        b"/" => Segment::End,
        text => Segment::Literal(text.into()),
    }
}
