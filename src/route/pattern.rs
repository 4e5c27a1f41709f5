//! A pattern that egressd accepts: one that Go accepts, without a host, and with one of seven
//! methods or none.

use super::invalid::{InvalidPattern, InvalidPatternKind as Kind};
use super::method::{Method, MethodSet};
use super::path;
use super::refusal::NotCanonicalReason;
use super::syntax::{Segment, Syntax};
use std::fmt;

/// The longest pattern that a remedy suggests, in bytes.
const MAX_CORRECTION: usize = 80;

/// A pattern of `http.ServeMux`: `[METHOD ]/[PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    method: Option<Method>,
    segments: Box<[Segment]>,
}

impl Pattern {
    /// Parses a pattern as Go does, unless it contains a URL. Then rejects a host, a method outside
    /// [`Method::ALL`], a query or a fragment.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidPattern`] with the first mistake.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        // Go would report the scheme as a host, or the `//` as an unclean path.
        if let Some(at) = find_url(text) {
            return Err(InvalidPattern::new(Kind::Url, at, b""));
        }
        let syntax = Syntax::parse(text.as_bytes())?;
        let method = match Method::parse(syntax.method) {
            None if !syntax.method.is_empty() => {
                return Err(InvalidPattern::new(
                    Kind::UnsupportedMethod,
                    0,
                    syntax.method,
                ));
            }
            method => method,
        };
        if !syntax.host.is_empty() {
            let behind_method = text.bytes().skip(syntax.method.len());
            let blanks = behind_method
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count();
            let at = syntax.method.len() + blanks;
            let correction = correct_host(text, at, syntax.host);
            let invalid = InvalidPattern::new(Kind::Host, at, syntax.host);
            return Err(invalid.with_correction(correction));
        }
        // Only in the path: methods and hosts are checked above.
        let ends_path = |(_, byte): &(usize, u8)| matches!(byte, b'?' | b'#');
        if let Some((at, byte)) = text.bytes().enumerate().find(ends_path) {
            let kind = if byte == b'?' {
                Kind::Query
            } else {
                Kind::Fragment
            };
            return Err(InvalidPattern::new(kind, at, b""));
        }
        Ok(Self {
            text: text.into(),
            method,
            segments: syntax.segments.into(),
        })
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the method, if the pattern has one.
    #[must_use]
    pub const fn method(&self) -> Option<Method> {
        self.method
    }

    /// Returns the segments of the path, at least one. Literals are decoded.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the methods that the pattern admits: GET admits HEAD too, no method admits all
    /// seven.
    #[must_use]
    pub const fn methods(&self) -> MethodSet {
        MethodSet::admitted_by(self.method)
    }

    /// Returns the reason why no canonical path can match, if that is so. With
    /// `allow_encoded_slash` a literal may contain a slash; otherwise a path that would match it is
    /// refused first.
    #[must_use]
    pub fn never_matches(&self, allow_encoded_slash: bool) -> Option<NeverMatches> {
        let last = self.segments.len();
        (1..).zip(&self.segments).find_map(|(segment, kind)| {
            let reason = match kind {
                Segment::Literal(text) => path::check_decoded(text).err().or_else(|| {
                    (!allow_encoded_slash && text.contains(&b'/'))
                        .then_some(NotCanonicalReason::EncodedSlash)
                }),
                Segment::End => {
                    (segment < last).then_some(NotCanonicalReason::EmptyAroundEncodedSlash)
                }
                Segment::Wildcard(_) | Segment::Remainder(_) => None,
            };
            reason.map(|reason| NeverMatches { segment, reason })
        })
    }
}

/// Returns the offset of a URL in the position of the path: `[METHOD ]scheme://…`.
fn find_url(text: &str) -> Option<usize> {
    let is_blank = [' ', '\t'];
    let path = match text.find(is_blank) {
        Some(blank) => text.get(blank..)?.trim_start_matches(is_blank),
        None => text,
    };
    let (scheme, _) = path.split_once("://")?;
    // The characters of a scheme (RFC 3986, section 3.1).
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(legal);
    is_scheme.then(|| text.len() - path.len())
}

/// Returns the pattern that was probably meant by one with a host at this offset: without the host
/// if it is written like a domain name or has a port, otherwise with the `/` that is missing.
fn correct_host(text: &str, at: usize, host: &[u8]) -> Option<String> {
    let (method, rest) = text.split_at_checked(at)?;
    let is_domain = host.contains(&b'.') || host.contains(&b':');
    let path = if is_domain {
        rest.get(host.len()..)?.to_owned()
    } else {
        format!("/{rest}")
    };
    let correction = format!("{method}{path}");
    let is_plain = correction.len() <= MAX_CORRECTION && !correction.contains(char::is_control);
    // `/` alone would allow every path, and ` GET /a` has a blank too many instead of a host.
    let is_meant = path != "/" && !host.contains(&b' ') && Pattern::parse(&correction).is_ok();
    (is_plain && is_meant).then_some(correction)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A literal of a pattern that no canonical path contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeverMatches {
    /// The number of the segment, counted from 1.
    pub segment: usize,
    /// The reason why a path with this segment is refused.
    pub reason: NotCanonicalReason,
}

impl fmt::Display for NeverMatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use NotCanonicalReason as Reason;
        let what = match self.reason {
            Reason::EmptySegment => "is empty",
            Reason::DotSegment => "is a dot segment",
            Reason::EmptyBeforeSemicolon => "is empty before its `;`",
            Reason::Backslash => "contains a backslash",
            Reason::Control => "contains a control character",
            Reason::EncodedSlash => {
                "contains an encoded slash, which the connection does not allow"
            }
            Reason::EmptyAroundEncodedSlash => "has no name beside an encoded slash",
            Reason::DoubleEncoding => "has another structure when it is decoded twice",
            Reason::InvalidUtf8 => "is not UTF-8 after decoding",
            // Literals are checked after decoding, so these three cannot occur.
            Reason::NoLeadingSlash | Reason::BadEscape | Reason::IllegalByte => "is not canonical",
        };
        write!(
            f,
            "never matches: segment {} {what}, and such paths are refused",
            self.segment
        )
    }
}

#[cfg(test)]
mod tests;
