//! Why a path is not canonical, in words that an agent can act on. Raw bytes of the path are never
//! repeated unescaped, nor in full length.

use std::fmt;

/// Why a path is refused: somebody on the way might read it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCanonicalReason {
    /// The path does not begin with `/`.
    NoLeadingSlash,
    /// Two slashes in a row.
    EmptySegment,
    /// `.` or `..` in any encoding, also before a `;`.
    DotSegment,
    /// Nothing before a `;`.
    EmptyBeforeSemicolon,
    /// A backslash, raw or encoded.
    Backslash,
    /// NUL or another ASCII control character, raw or encoded.
    Control,
    /// `%2F` where the connection does not allow it.
    EncodedSlash,
    /// A segment of encoded slashes alone, or an empty text between one and a `;`.
    EmptyAroundEncodedSlash,
    /// A segment that has another structure once it is decoded again.
    DoubleEncoding,
    /// `%` without two hex digits behind it.
    BadEscape,
    /// The decoded segment is not UTF-8; overlong forms are not.
    InvalidUtf8,
    /// A raw byte that no URL path may hold.
    IllegalByte,
}

/// A path was refused; [`Display`](fmt::Display) says why and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCanonical {
    /// What is wrong.
    pub reason: NotCanonicalReason,
    /// Byte offset into the path: of the byte or escape at fault, else of its segment.
    pub at: usize,
    /// Counted from 1; with the connection's id in front, that is segment 1.
    segment: usize,
    shown: String,
}

/// More of a segment than this many bytes is not shown.
const SHOWN: usize = 40;

impl NotCanonical {
    #[cold]
    pub(super) fn new(reason: NotCanonicalReason, path: &[u8], at: usize) -> Self {
        let (before, behind) = path.split_at_checked(at).unwrap_or((path, &[]));
        // An empty segment is found at the slash that ends it, which counts as its place.
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
        let mut shown = text.get(..SHOWN).unwrap_or(text).escape_ascii().to_string();
        if text.len() > SHOWN {
            shown.push_str("...");
        }
        if reason == NotCanonicalReason::IllegalByte {
            shown = behind
                .first()
                .map_or_else(String::new, |byte| format!("%{byte:02X}"));
        }
        Self {
            reason,
            at,
            segment,
            shown,
        }
    }
}

impl NotCanonicalReason {
    /// What is the matter with a segment, and what to write instead.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoLeadingSlash => ("has no slash in front", "begin the path with `/`"),
            Self::EmptySegment => ("is empty", "write one slash, not several"),
            Self::DotSegment => ("is a dot segment", "write the resolved path"),
            Self::EmptyBeforeSemicolon => (
                "is empty before its `;`",
                "name the segment or leave it out",
            ),
            Self::Backslash => ("holds a backslash", "separate segments with `/`"),
            Self::Control => ("holds a control character", "leave it out"),
            Self::EncodedSlash => (
                "holds an encoded slash (`%2F`), which this connection does not allow",
                "write `/` if two segments are meant",
            ),
            Self::EmptyAroundEncodedSlash => (
                "has no name beside an encoded slash (`%2F`)",
                "write a name on one side of it",
            ),
            Self::DoubleEncoding => ("is percent-encoded twice", "encode it once"),
            Self::BadEscape => (
                "has a `%` without two hex digits",
                "write `%25` for a percent sign",
            ),
            Self::InvalidUtf8 => ("is not UTF-8 once decoded", "encode text as UTF-8"),
            Self::IllegalByte => ("holds a raw byte that must be percent-encoded", "encode it"),
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
