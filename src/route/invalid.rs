//! Reasons why a text is not a pattern, and how to correct it.

use std::fmt;

/// The kinds of invalid patterns. All but the last five exist in Go too. A pattern with several
/// mistakes is reported with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidPatternKind {
    /// The text is empty.
    Empty,
    /// The text before the first blank is not an HTTP token.
    BadMethod,
    /// The text contains no `/`, so it has no path.
    NoSlash,
    /// A `{` is before the first `/`.
    HostBrace,
    /// The pattern has a method and an empty or dot segment, so it can never match.
    Unclean,
    /// A `{` follows other text in its segment.
    BraceNotFirst,
    /// A segment that begins with `{` and does not end in `}`.
    BraceNotLast,
    /// `{$}` is not the last segment.
    EndMarkNotLast,
    /// `{name...}` is not the last segment.
    RestNotLast,
    /// A wildcard has no name.
    EmptyName,
    /// The name of a wildcard contains characters other than letters, digits and `_`, or begins
    /// with a digit.
    BadName,
    /// Two wildcards have the same name.
    DuplicateName,
    /// The pattern names a host. Go accepts hosts; here the base URL determines the host.
    Host,
    /// A URL is in the position of the path. Go takes its scheme for a host.
    Url,
    /// The method is not one of the seven. Go accepts any method.
    UnsupportedMethod,
    /// The path contains a `?`. Go accepts it, but the path of a request ends before its query, so
    /// nothing would match.
    Query,
    /// The path contains a `#`. Go accepts it, but clients never send a fragment (RFC 9110, section
    /// 7.1).
    Fragment,
}

/// Error: a text is not a pattern. [`Display`](fmt::Display) explains the reason, and
/// [`remedy`](Self::remedy) how to correct it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern {
    /// The kind of mistake.
    pub kind: InvalidPatternKind,
    /// The byte offset into the pattern, which is the same as in Go for the kinds that exist there.
    pub at: usize,
    subject: Box<str>,
    /// The pattern that was probably meant.
    correction: Option<Box<str>>,
}

impl InvalidPattern {
    pub(super) fn new(kind: InvalidPatternKind, at: usize, subject: &[u8]) -> Self {
        Self {
            kind,
            at,
            subject: String::from_utf8_lossy(subject).escape_debug().collect(),
            correction: None,
        }
    }

    /// Adds the pattern that was probably meant.
    pub(super) fn with_correction(mut self, correction: Option<String>) -> Self {
        self.correction = correction.map(String::into_boxed_str);
        self
    }

    /// Removes the part of the pattern that the message and the remedy would repeat. A text that is
    /// not a pattern may be a secret in the wrong place.
    #[must_use]
    pub fn without_subject(mut self) -> Self {
        self.subject = "…".into();
        self.correction = None;
        self
    }

    /// Returns how to correct the pattern, as one sentence without a full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        use InvalidPatternKind as Kind;
        let upper = self.subject.to_ascii_uppercase();
        let is_method = super::Method::parse(upper.as_bytes()).is_some();
        if is_method && self.kind == Kind::Host {
            format!("put a space after the method: `{upper} /...`")
        } else if is_method && self.kind == Kind::UnsupportedMethod {
            format!("write `{upper}`; methods are case-sensitive")
        } else if let Some(correction) = &self.correction {
            format!(
                "write `{correction}`: a path begins with `/`, and its host comes from `base_url`"
            )
        } else {
            self.kind.words().1.to_owned()
        }
    }
}

impl InvalidPatternKind {
    /// Returns the message, with `{}` for the part of the pattern, and the correction.
    #[rustfmt::skip] // two lines a kind
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Empty => ("the pattern is empty",
                "write a method and a path, such as `GET /users/{id}`"),
            Self::BadMethod => ("`{}` is not an HTTP method",
                "write one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and one pattern for each \
                 method, or omit the method to allow all seven"),
            Self::NoSlash => ("`{}` has no path: there is no `/`",
                "write a method and a path, such as `GET /users/{id}`"),
            Self::HostBrace => ("`{}` is in the position of a host and contains a brace",
                "begin the path with `/`, such as `GET /{id}`"),
            Self::Unclean => ("the path `{}` has an empty or dot segment and can never match",
                "write the path without empty and dot segments, as agents request it"),
            Self::BraceNotFirst => ("segment `{}` has text before its wildcard",
                "make the wildcard a whole segment, such as `/files/{name}`; a literal brace is written %7B or %7D"),
            Self::BraceNotLast => ("segment `{}` begins with `{` and does not end with `}`",
                "make the wildcard a whole segment, such as `/files/{name}`; a literal brace is written %7B or %7D"),
            Self::EndMarkNotLast => ("`{$}` is not at the end of the pattern",
                "use `{$}` only at the end, such as `/users/{$}`"),
            Self::RestNotLast => ("`{}` matches the rest of the path and is not the last segment",
                "use `{name...}` only as the last segment; `{name}` matches one segment"),
            Self::EmptyName => ("wildcard `{}` has no name",
                "name the wildcard, such as `{id}`, or `{path...}` for the rest of the path"),
            Self::BadName => ("wildcard `{}` has a name that is not an identifier",
                "use letters, digits and `_` for the name, beginning with a letter or `_`"),
            Self::DuplicateName => ("the name of wildcard `{}` is already used in the pattern",
                "give each wildcard of the pattern its own name"),
            Self::Host => ("`{}` is in the position of a host, and a pattern cannot name a host",
                "begin the path with `/`, such as `GET /users/{id}`; its host comes from `base_url`"),
            Self::Url => ("the pattern contains a URL",
                "write only the path, such as `GET /items`: the host comes from `base_url`"),
            Self::UnsupportedMethod => ("method `{}` is not supported",
                "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, or omit the method to allow all seven"),
            Self::Query => ("`?` begins a query, so no path can ever match",
                "remove `?` and the text after it: patterns match the path, and any query is allowed; a \
                 question mark in the path is written %3F"),
            Self::Fragment => ("`#` begins a fragment, so no path can ever match",
                "remove `#` and the text after it: no request contains a fragment; a number sign in the \
                 path is written %23"),
        }
    }
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.words().0.replacen("{}", &self.subject, 1))
    }
}

impl std::error::Error for InvalidPattern {}
