//! The canonical path. Every request target passes through it before it is matched.
//!
//! A path that two programs could read differently is refused and never rewritten, so the matched
//! bytes are the sent bytes. The module does no lookup and never percent-decodes a whole path.
//! Invariant: resolving a [`CanonicalPath`] by RFC 3986, section 5.2.4, before or after decoding
//! its escapes, leaves every segment in its position.

mod special_byte;

use self::special_byte::{Special, find_special};
use super::refusal::{NotCanonical, NotCanonicalReason as Reason};
use std::borrow::Cow;

/// A path that all programs read in the same way, borrowed from the request target.
///
/// The path starts with `/` and contains neither a query nor a fragment. No segment is empty
/// (except the last), a dot segment or invalid UTF-8, and none becomes one of these when it is
/// decoded again. An encoded slash is only recorded at first, because the connection decides
/// whether it is allowed. Until [`allowing_encoded_slash`](Self::allowing_encoded_slash) is called,
/// a path that contains one matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    raw: &'a [u8],
    has_escape: bool,
    /// The offset of the first `%2F`.
    encoded_slash: Option<usize>,
    encoded_slash_allowed: bool,
}

impl<'a> CanonicalPath<'a> {
    /// Parses the raw path of a request target, from its first slash to the end or to `?`.
    ///
    /// # Errors
    ///
    /// Returns [`NotCanonical`] with the first reason from left to right. An encoded slash without
    /// a name on either side is reported only if nothing else is wrong, because the connection may
    /// allow encoded slashes.
    pub fn parse(raw: &'a [u8]) -> Result<Self, NotCanonical> {
        let mut path = Self {
            raw,
            has_escape: false,
            encoded_slash: None,
            encoded_slash_allowed: false,
        };
        if raw.first() != Some(&b'/') {
            return Err(NotCanonical::new(Reason::NoLeadingSlash, raw, 0));
        }
        let (mut start, mut escaped) = (1, false);
        let mut unnamed = None;
        let mut at = 1;
        // Most bytes are plain, so they are skipped in a loop of their own.
        while let Some(rest) = raw.get(at..)
            && let Some((plain, special)) = find_special(rest)
        {
            at += plain;
            match special {
                Special::Percent => escaped = true,
                Special::Slash if start == at => {
                    return Err(NotCanonical::new(Reason::EmptySegment, raw, at));
                }
                Special::Slash => {
                    defer_unnamed(path.admit_segment(start, at, escaped), &mut unnamed)?;
                    (start, escaped) = (at + 1, false);
                }
                Special::Refused(reason) => return Err(NotCanonical::new(reason, raw, at)),
            }
            at += 1;
        }
        if start < raw.len() {
            defer_unnamed(path.admit_segment(start, raw.len(), escaped), &mut unnamed)?;
        }
        unnamed.map_or(Ok(path), Err)
    }

    /// Checks the segment `start..end`, which is not empty and contains only plain bytes and
    /// escapes.
    #[inline]
    fn admit_segment(
        &mut self,
        start: usize,
        end: usize,
        escaped: bool,
    ) -> Result<(), NotCanonical> {
        let segment = self.raw.get(start..end).unwrap_or_default();
        if escaped {
            return self.admit_escaped_segment(segment, start);
        }
        // Only with these first bytes can a segment without escapes be a dot segment, or empty
        // before its `;`.
        match segment {
            [b'.' | b';', ..] => {
                check_piece(segment).map_err(|reason| NotCanonical::new(reason, self.raw, start))
            }
            _ => Ok(()),
        }
    }

    fn admit_escaped_segment(&mut self, segment: &[u8], start: usize) -> Result<(), NotCanonical> {
        self.has_escape = true;
        let decoded = decode(segment)
            .map_err(|offset| NotCanonical::new(Reason::BadEscape, self.raw, start + offset))?;
        check_decoded(&decoded).map_err(|reason| NotCanonical::new(reason, self.raw, start))?;
        if self.encoded_slash.is_none() && decoded.contains(&b'/') {
            self.encoded_slash = find_encoded_slash(segment).map(|offset| start + offset);
        }
        Ok(())
    }

    /// Returns the bytes that were parsed, which are also the bytes that are sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns whether a segment contains `%2F`.
    #[must_use]
    pub const fn has_encoded_slash(&self) -> bool {
        self.encoded_slash.is_some()
    }

    /// Returns the path if it contains no encoded slash.
    ///
    /// # Errors
    ///
    /// Returns [`NotCanonicalReason::EncodedSlash`](Reason::EncodedSlash) at the first one.
    pub fn without_encoded_slash(self) -> Result<Self, NotCanonical> {
        match self.encoded_slash {
            None => Ok(self),
            Some(at) => Err(NotCanonical::new(Reason::EncodedSlash, self.raw, at)),
        }
    }

    /// Returns the same path, with encoded slashes allowed as text of their segments.
    #[must_use]
    pub const fn allowing_encoded_slash(mut self) -> Self {
        self.encoded_slash_allowed = true;
        self
    }

    /// Returns whether the path has an encoded slash that was not allowed yet.
    pub(super) const fn has_undecided_slash(&self) -> bool {
        self.encoded_slash.is_some() && !self.encoded_slash_allowed
    }

    /// Returns whether any segment may contain an escape. After
    /// [`split_first_segment`](Self::split_first_segment) this can be true although only the first
    /// segment had one.
    pub(super) const fn has_escape(&self) -> bool {
        self.has_escape
    }

    /// Returns the first segment as it was written, and the path that begins at the next slash.
    /// `/id` has no such path, `/id/` has `/`.
    #[must_use]
    pub fn split_first_segment(&self) -> (&'a [u8], Option<Self>) {
        let text = self.raw.get(1..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'/', text) else {
            return (text, None);
        };
        let (first, raw) = text.split_at_checked(end).unwrap_or((text, &[]));
        let encoded_slash = self
            .encoded_slash
            .and_then(|at| match at.checked_sub(end + 1) {
                Some(offset) => Some(offset),
                // The first `%2F` was in the segment that is split off, so the rest is searched for
                // another.
                None => find_encoded_slash(raw),
            });
        (
            first,
            Some(Self {
                raw,
                encoded_slash,
                ..*self
            }),
        )
    }

    /// Returns the segments in order, as they were written. After a trailing slash the last one is
    /// empty.
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> {
        self.raw
            .get(1..)
            .unwrap_or_default()
            .split(|&byte| byte == b'/')
    }
}

/// Records the first encoded slash without a name on either side for later, because any other fault
/// takes precedence.
#[inline]
fn defer_unnamed(
    verdict: Result<(), NotCanonical>,
    unnamed: &mut Option<NotCanonical>,
) -> Result<(), NotCanonical> {
    match verdict {
        Err(found) if found.reason == Reason::EmptyAroundEncodedSlash => {
            unnamed.get_or_insert(found);
            Ok(())
        }
        verdict => verdict,
    }
}

/// Returns the decoded text of a segment, borrowed if it has no escape. A segment with an invalid
/// escape, which no [`CanonicalPath`] has, is returned unchanged, as Go does in patterns.
#[must_use]
pub fn decoded(segment: &[u8]) -> Cow<'_, [u8]> {
    if !segment.contains(&b'%') {
        return Cow::Borrowed(segment);
    }
    decode(segment).map_or(Cow::Borrowed(segment), Cow::Owned)
}

/// Returns the decoded bytes of a segment one by one, for comparing without an allocation.
pub(super) fn decoded_bytes(segment: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        let (byte, length) = first_decoded(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        Some(byte)
    })
}

fn first_decoded(text: &[u8]) -> Option<(u8, usize)> {
    match *text {
        [] => None,
        [b'%', high, low, ..] => Some(match (hex(high), hex(low)) {
            (Some(high), Some(low)) => (high << 4 | low, 3),
            _ => (b'%', 1),
        }),
        [byte, ..] => Some((byte, 1)),
    }
}

/// Decodes every escape once.
///
/// # Errors
///
/// Returns the offset of the first invalid escape.
fn decode(segment: &[u8]) -> Result<Vec<u8>, usize> {
    let mut text = Vec::with_capacity(segment.len());
    let mut at = 0;
    while let Some((byte, length)) = segment.get(at..).and_then(first_decoded) {
        if length == 1 && byte == b'%' {
            return Err(at);
        }
        text.push(byte);
        at += length;
    }
    Ok(text)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn find_encoded_slash(text: &[u8]) -> Option<usize> {
    text.windows(3)
        .position(|three| three.eq_ignore_ascii_case(b"%2f"))
}

/// The number of further decodings that a segment is checked for.
///
/// More than one is rare, and the limit keeps the cost of a hostile path linear.
const MAX_DECODINGS: usize = 4;

/// Checks the text of one segment after decoding. A slash in it was an encoded one. The text
/// between slashes must be a valid segment too, in case a server decodes before it splits.
pub(super) fn check_decoded(text: &[u8]) -> Result<(), Reason> {
    if std::str::from_utf8(text).is_err() {
        return Err(Reason::InvalidUtf8);
    }
    if text.contains(&b'\\') {
        return Err(Reason::Backslash);
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err(Reason::Control);
    }
    if text.contains(&b'%') && !stays_harmless(text) {
        return Err(Reason::DoubleEncoding);
    }
    check_pieces(text)
}

/// Returns whether a segment keeps its structure on a server that decodes it again and again.
///
/// A percent sign before two hexadecimal digits is allowed in text such as `50%decline`. It is
/// rejected if the escape stands for a byte that has a meaning in a path.
fn stays_harmless(text: &[u8]) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_DECODINGS {
        let mut further = Vec::with_capacity(text.len());
        let mut rest = &*text;
        while let Some((byte, length)) = first_decoded(rest) {
            let structural = matches!(byte, b'.' | b'/' | b'\\' | b'%') || byte.is_ascii_control();
            if length > 1 && structural {
                return false;
            }
            further.push(byte);
            rest = rest.get(length..).unwrap_or_default();
        }
        if further.len() == text.len() {
            return true;
        }
        if holds_overlong(&further) || check_pieces(&further).is_err() {
            return false;
        }
        text = Cow::Owned(further);
    }
    false
}

/// Returns whether the bytes contain an overlong form, which a lenient UTF-8 decoder reads as ASCII
/// (RFC 3629, section 10): `%C0%AE` is a dot to such a decoder.
fn holds_overlong(text: &[u8]) -> bool {
    text.windows(2).any(|two| {
        matches!(
            two,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]
        )
    })
}

/// Checks the text between the slashes of a decoded segment.
fn check_pieces(text: &[u8]) -> Result<(), Reason> {
    if !text.contains(&b'/') {
        return check_piece(text);
    }
    // Text on one side of an encoded slash may be empty (`folder%2F`), but not on both. A dot
    // segment takes precedence, whatever is around it.
    let mut unnamed = text.iter().all(|&byte| byte == b'/');
    for piece in text.split(|&byte| byte == b'/') {
        match check_piece(piece) {
            Err(Reason::EmptySegment) => {}
            Err(Reason::EmptyBeforeSemicolon) => unnamed = true,
            verdict => verdict?,
        }
    }
    if unnamed {
        return Err(Reason::EmptyAroundEncodedSlash);
    }
    Ok(())
}

/// Checks one piece of a segment. The text before the first `;` decides, because some servers cut
/// off the rest.
fn check_piece(piece: &[u8]) -> Result<(), Reason> {
    let mut parts = piece.splitn(2, |&byte| byte == b';');
    match (parts.next().unwrap_or_default(), parts.next()) {
        (b"." | b"..", _) => Err(Reason::DotSegment),
        (b"", None) => Err(Reason::EmptySegment),
        (b"", Some(_)) => Err(Reason::EmptyBeforeSemicolon),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod laws;
