//! Why a text is not a pattern, and what to write instead.

use std::fmt;

/// The kinds of invalid patterns. All but the last four are Go's own. A pattern with several
/// mistakes has the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidPatternKind {
    /// Nothing at all.
    Empty,
    /// What stands before the first blank is no HTTP token.
    BadMethod,
    /// No `/`, so no path.
    NoSlash,
    /// A `{` before the first `/`.
    HostBrace,
    /// With a method: an empty or dot segment, which can never match.
    Unclean,
    /// A `{` behind other text of its segment.
    BraceNotFirst,
    /// A segment that begins with `{` and does not end in `}`.
    BraceNotLast,
    /// `{$}` before the last segment.
    EndMarkNotLast,
    /// `{name...}` before the last segment.
    RestNotLast,
    /// A wildcard without a name.
    EmptyName,
    /// A wildcard's name is not letters, digits and `_`, or begins with a digit.
    BadName,
    /// Two wildcards with one name.
    DuplicateName,
    /// A host, which Go takes: here the base URL fixes it.
    Host,
    /// A method other than the seven, which Go takes.
    UnsupportedMethod,
    /// A `?` in the path. Go accepts it, but a request's path ends before its query, so nothing
    /// would match.
    Query,
    /// A `#` in the path. Go accepts it, but clients never send a fragment (RFC 9110, section 7.1).
    Fragment,
}

/// A text is not a pattern; [`Display`](fmt::Display) says why, [`remedy`](Self::remedy) what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern {
    /// What is wrong.
    pub kind: InvalidPatternKind,
    /// Byte offset into the pattern: where Go points, for the kinds that are Go's.
    pub at: usize,
    subject: Box<str>,
}

impl InvalidPattern {
    pub(super) fn new(kind: InvalidPatternKind, at: usize, subject: &[u8]) -> Self {
        Self {
            kind,
            at,
            subject: String::from_utf8_lossy(subject).escape_debug().collect(),
        }
    }

    /// Removes the piece of the pattern that the message would repeat: a text that is not a pattern
    /// may be a secret in the wrong place.
    #[must_use]
    pub fn without_subject(mut self) -> Self {
        self.subject = "…".into();
        self
    }

    /// What to write instead, as one sentence without a full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        use InvalidPatternKind as Kind;
        let subject = &*self.subject;
        match self.kind {
            Kind::Empty | Kind::NoSlash => "write a method and a path, such as `GET /users/{id}`".into(),
            Kind::BadMethod => "write one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS and one pattern for each \
                 method, or leave the method out to allow all seven"
                .into(),
            Kind::HostBrace => "begin the path with `/`, such as `GET /{id}`".into(),
            Kind::Unclean => "write the path without empty and dot segments, as it is to be requested".into(),
            Kind::BraceNotFirst | Kind::BraceNotLast => {
                "make the wildcard a whole segment, such as `/files/{name}`; a literal brace is written %7B or %7D".into()
            }
            Kind::EndMarkNotLast => "keep `{$}` for the very end, such as `/users/{$}`".into(),
            Kind::RestNotLast => "keep `{name...}` for the last segment; before it, `{name}` takes one segment".into(),
            Kind::EmptyName => "name the wildcard, such as `{id}`, or `{path...}` for the rest of the path".into(),
            Kind::BadName => "use letters, digits and `_` for the name, beginning with a letter or `_`".into(),
            Kind::DuplicateName => "give each wildcard of the pattern its own name".into(),
            Kind::Query => "leave `?` and what follows out: patterns match the path, and any query is admitted; a \
                 question mark of the path itself is written %3F"
                .into(),
            Kind::Fragment => "leave `#` and what follows out: no request carries it; a number sign of the path itself \
                 is written %23"
                .into(),
            Kind::Host if super::Method::parse(subject.to_ascii_uppercase().as_bytes()).is_some() => {
                format!("put a space behind the method: `{} /...`", subject.to_ascii_uppercase())
            }
            Kind::Host => "leave the host out, the base URL fixes it: the pattern begins with the method or `/`".into(),
            Kind::UnsupportedMethod => match super::Method::parse(subject.to_ascii_uppercase().as_bytes()) {
                Some(method) => format!("write `{method}`; methods are case-sensitive"),
                None => "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, or leave the method out to allow all seven".into(),
            },
        }
    }
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use InvalidPatternKind as Kind;
        let subject = &*self.subject;
        match self.kind {
            Kind::Empty => write!(f, "the pattern is empty"),
            Kind::BadMethod => write!(f, "`{subject}` is not an HTTP method"),
            Kind::NoSlash => write!(f, "`{subject}` has no path: there is no `/`"),
            Kind::HostBrace => write!(f, "`{subject}` stands where a host would and holds a brace"),
            Kind::Unclean => write!(
                f,
                "the path `{subject}` has an empty or dot segment and can never match"
            ),
            Kind::BraceNotFirst => write!(f, "segment `{subject}` has text before its wildcard"),
            Kind::BraceNotLast => write!(
                f,
                "segment `{subject}` begins with `{{` and does not end in `}}`"
            ),
            Kind::EndMarkNotLast => write!(f, "`{{$}}` is not at the end"),
            Kind::RestNotLast => write!(
                f,
                "`{subject}` takes the rest of the path and is not at the end"
            ),
            Kind::EmptyName => write!(f, "wildcard `{subject}` has no name"),
            Kind::BadName => write!(
                f,
                "wildcard `{subject}` has a name that is not an identifier"
            ),
            Kind::DuplicateName => {
                write!(f, "wildcard `{subject}` has a name that was used before")
            }
            Kind::Host => write!(f, "the pattern names a host, `{subject}`"),
            Kind::UnsupportedMethod => write!(f, "method `{subject}` is not supported"),
            Kind::Query => write!(f, "`?` begins a query, so no path can ever match"),
            Kind::Fragment => write!(f, "`#` begins a fragment, so no path can ever match"),
        }
    }
}

impl std::error::Error for InvalidPattern {}
