//! What goes up: a request's head, already scrubbed and injected, borrowed from whoever prepared it.

use http::{HeaderName, Method};

/// The head of a request towards an upstream. `Host`, framing and hop-by-hop fields are not among `fields`: each protocol makes its own.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// Origin-form target: path, and query where there is one, byte for byte.
    pub target: &'a str,
    /// What `Host` or `:authority` says.
    pub authority: &'a str,
    /// All end-to-end fields in order.
    pub fields: &'a [Field<'a>],
    /// How the body is announced.
    pub framing: Framing,
}

/// One end-to-end header field.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// In lower case.
    pub name: &'a HeaderName,
    /// Legal bytes of a field value (RFC 9110 §5.5).
    pub value: &'a [u8],
    /// Holds a secret: never indexed by HPACK, never logged.
    pub sensitive: bool,
}

/// How a request's body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, and no word of one.
    Absent,
    /// `Content-Length`, zero included.
    Length(u64),
    /// `Transfer-Encoding: chunked` (HTTP/1.1); no length (HTTP/2).
    Chunked,
}
