//! Reasons why a path is not canonical, in words that help an agent to correct it. Raw bytes of the
//! path are repeated only escaped and shortened.

use std::fmt;

/// The reason why a path is refused: some program on the way might read it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCanonicalReason {
    /// The path does not begin with `/`.
    NoLeadingSlash,
    /// The path contains two slashes in a row.
    EmptySegment,
    /// A segment is `.` or `..` in any encoding, or is one before a `;`.
    DotSegment,
    /// A segment has no text before its `;`.
    EmptyBeforeSemicolon,
    /// A segment contains a backslash, raw or encoded.
    Backslash,
    /// A segment contains NUL or another ASCII control character, raw or encoded.
    Control,
    /// A segment contains `%2F`, and the connection does not allow it.
    EncodedSlash,
    /// A segment consists of encoded slashes only, or has no text between one and a `;`.
    EmptyAroundEncodedSlash,
    /// A segment has a different structure after it is decoded again.
    DoubleEncoding,
    /// A `%` is not followed by two hex digits.
    BadEscape,
    /// The decoded segment is not UTF-8. Overlong encodings are not UTF-8 (RFC 3629 §3).
    InvalidUtf8,
    /// A segment contains a raw byte that a URL path cannot contain.
    IllegalByte,
}

/// Error: a path is not canonical. [`Display`](fmt::Display) explains the reason and the
/// correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCanonical {
    /// The reason.
    pub reason: NotCanonicalReason,
    /// The byte offset into the path: of the invalid byte or escape, or else of its segment.
    pub at: usize,
    /// The number of the segment, counted from 1. In an agent's path, segment 1 is the id of the
    /// connection.
    segment: usize,
    shown: String,
}

/// The most bytes of a segment that are shown.
const SHOWN: usize = 40;

impl NotCanonical {
    #[cold]
    pub(super) fn new(reason: NotCanonicalReason, path: &[u8], at: usize) -> Self {
        let (before, behind) = path.split_at_checked(at).unwrap_or((path, &[]));
        // An empty segment is found at the slash that ends it, and that slash is its position.
        let segment = before.iter().filter(|&&byte| byte == b'/').count();
        let start = before
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        let end = behind
            .iter()
            .position(|&byte| byte == b'/')
            .map_or(path.len(), |offset| at + offset);
        let text = path.get(start..end).unwrap_or_default();
        let mut shown = escape_invisible(text.get(..SHOWN).unwrap_or(text));
        if text.len() > SHOWN {
            shown.push_str("...");
        }
        if reason == NotCanonicalReason::IllegalByte {
            shown = encoded_character(behind);
        }
        Self {
            reason,
            at,
            segment,
            shown,
        }
    }

    /// Counts one more segment, for an error in a path from which
    /// [`split_first_segment`](super::CanonicalPath::split_first_segment) removed the first one.
    #[must_use]
    pub fn after_first_segment(mut self) -> Self {
        self.segment += 1;
        self
    }
}

/// Replaces each byte that is not printable ASCII by `\xNN` or a short escape. A backslash and
/// quotes stay as they are, unlike with [`escape_ascii`](slice::escape_ascii): the agent must
/// recognise what it sent.
fn escape_invisible(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'\\' | b'\'' | b'"' => shown.push(char::from(byte)),
            _ => shown.extend(byte.escape_ascii().map(char::from)),
        }
    }
    shown
}

/// Percent-encodes the character at the start of `text`: all bytes of it, because the escape of
/// one of them alone would not be UTF-8. Returns an empty text if `text` does not begin with UTF-8.
fn encoded_character(text: &[u8]) -> String {
    let start = text.get(..4).unwrap_or(text);
    let first = start.utf8_chunks().next();
    let character = first.and_then(|chunk| chunk.valid().chars().next());
    let length = character.map_or(0, char::len_utf8);
    let bytes = start.iter().take(length);
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

impl NotCanonicalReason {
    /// Returns the fault of a segment, and the correction.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoLeadingSlash => ("does not begin with `/`", "begin the path with `/`"),
            Self::EmptySegment => ("is empty", "write one slash, not several"),
            Self::DotSegment => ("is a dot segment", "write the resolved path"),
            Self::EmptyBeforeSemicolon => (
                "is empty before its `;`",
                "add a name before the `;`, or remove the segment",
            ),
            Self::Backslash => ("contains a backslash", "separate segments with `/`"),
            Self::Control => ("contains a control character", "remove it"),
            Self::EncodedSlash => (
                "contains an encoded slash (`%2F`), which this connection does not allow",
                "write `/` if two segments are meant",
            ),
            Self::EmptyAroundEncodedSlash => (
                "has no name beside an encoded slash (`%2F`)",
                "write a name before or after it",
            ),
            Self::DoubleEncoding => ("is percent-encoded twice", "encode it once"),
            Self::BadEscape => (
                "has a `%` without two hex digits",
                "write `%25` for a percent sign",
            ),
            Self::InvalidUtf8 => ("is not UTF-8 after decoding", "encode text as UTF-8"),
            Self::IllegalByte => (
                "contains a raw byte that must be percent-encoded",
                "encode it",
            ),
        }
    }
}

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reason,
            segment,
            shown,
            ..
        } = self;
        let (what, remedy) = reason.words();
        match reason {
            NotCanonicalReason::NoLeadingSlash => write!(f, "the path {what}; {remedy}"),
            NotCanonicalReason::EmptySegment => write!(f, "segment {segment} {what}; {remedy}"),
            NotCanonicalReason::IllegalByte if shown.is_empty() => {
                write!(f, "segment {segment} {what}; encode text as UTF-8 first")
            }
            NotCanonicalReason::IllegalByte => {
                write!(f, "segment {segment} {what}; write it as `{shown}`")
            }
            NotCanonicalReason::DotSegment
            | NotCanonicalReason::EmptyBeforeSemicolon
            | NotCanonicalReason::Backslash
            | NotCanonicalReason::Control
            | NotCanonicalReason::EncodedSlash
            | NotCanonicalReason::EmptyAroundEncodedSlash
            | NotCanonicalReason::DoubleEncoding
            | NotCanonicalReason::BadEscape
            | NotCanonicalReason::InvalidUtf8 => {
                write!(f, "segment {segment} `{shown}` {what}; {remedy}")
            }
        }
    }
}

impl std::error::Error for NotCanonical {}
