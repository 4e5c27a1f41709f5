//! Request heads that hyper rejects.
//!
//! hyper answers such a head with an empty body. [`AgentSocket`](super::agent_socket::AgentSocket)
//! withholds that answer, so that the service can give a better one, or replace the head by one
//! that hyper accepts. hyper discards some of the heads that it rejects. The socket therefore
//! records a head if its first line has one of the bytes that a service can act on.

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memchr3, memmem};

/// The beginnings of hyper's own answers (`Server::on_error` in hyper's `proto/h1/role.rs`). No
/// service has `Connection` as the first field of a response.
const HYPER_ANSWERS: [&[u8]; 3] = [
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n",
    b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n",
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n",
];

/// The maximum number of fields in a request head. hyper rejects heads with more fields with status
/// 431.
pub const MAX_FIELDS: usize = 100;

/// The most bytes of a head that are recorded. hyper accepts no larger one.
const MAX_RECORDED: usize = 128 * 1024;

/// The reasons for which hyper rejects a request head, with the status of its own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// The head does not begin with a method: 400.
    Method,
    /// The target has a byte that no URI may hold, or is not of a valid form: 400.
    Target,
    /// The HTTP version is invalid or unsupported, or the target has a space: 400.
    Version,
    /// A field is malformed: 400.
    Field,
    /// The length of the body is invalid or contradictory: 400.
    Framing,
    /// The target alone exceeds the limit of the head: 414.
    TargetTooLong,
    /// The head has too many bytes: 431.
    TooLarge,
    /// The head has more than [`MAX_FIELDS`] fields: 431.
    TooManyFields,
}

impl HeadFault {
    /// Returns the fault of an error with which hyper ended a socket. `None` if the error is of
    /// another kind, or a preface of HTTP/2: hyper answers neither. `unparsed` are the bytes that
    /// hyper has not consumed.
    pub(super) fn from_hyper(error: &hyper::Error, unparsed: &[u8]) -> Option<Self> {
        if !error.is_parse() || error.is_parse_version_h2() {
            return None;
        }
        // hyper distinguishes these errors only by the names in their `Debug` output.
        let text = format!("{error:?}");
        let named = |name| text.contains(name);
        Some(if error.is_parse_too_large() && named("UriTooLong") {
            Self::TargetTooLong
        } else if error.is_parse_too_large() && has_too_many_fields(unparsed) {
            Self::TooManyFields
        } else if error.is_parse_too_large() {
            Self::TooLarge
        } else if named("Version") {
            Self::Version
        } else if named("Method") {
            Self::Method
        } else if named("Uri") {
            Self::Target
        } else if named("ContentLength") || named("TransferEncoding") {
            Self::Framing
        } else {
            Self::Field
        })
    }
}

/// A head that hyper has rejected, for the service.
#[derive(Clone, Copy, Debug)]
pub struct UnparsedHead<'a> {
    /// The reason.
    pub fault: HeadFault,
    /// The head from its first byte on, as far as it has arrived. Empty if it is not known.
    pub bytes: &'a [u8],
    /// `true` if `bytes` is the whole head and it can be answered, so that it can be replaced.
    pub is_whole: bool,
    /// `false` if hyper's own answer has been sent, because it was behind an earlier response.
    pub can_answer: bool,
}

/// The reply of a service to a head that hyper has rejected.
#[derive(Debug)]
pub enum HeadReply {
    /// hyper's own answer is sent, and the socket is closed.
    Default,
    /// This response is sent, and the socket is closed.
    Answer(Bytes),
    /// The head is parsed again in this form. The request gets `target` as an extension. Only a
    /// whole head that can be answered is replaced; otherwise this is as [`HeadReply::Default`].
    Replace {
        /// The whole head.
        head: Vec<u8>,
        /// The target as the agent has written it.
        target: WrittenTarget,
    },
}

/// The target of a request as the agent has written it, an extension of requests whose head was
/// replaced.
#[derive(Clone, Debug)]
pub struct WrittenTarget(pub Box<str>);

/// The bytes of a head that hyper may refuse, and hyper's answer.
#[derive(Debug, Default)]
pub(super) struct HeadRecord {
    /// The bytes that were read since the beginning of the head. `None` if they are not known, or
    /// are too many.
    bytes: Option<Vec<u8>>,
    /// hyper's answer, once it is withheld.
    pub(super) answer: Vec<u8>,
}

impl HeadRecord {
    #[cold]
    pub(super) fn new(bytes: &[u8]) -> Box<Self> {
        Box::new(Self {
            bytes: Some(bytes.to_vec()),
            answer: Vec::new(),
        })
    }

    /// Adds bytes that were read later. A head that becomes too large is no longer recorded.
    #[cold]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.take().filter(|recorded| {
            // An agent may send its body in the same read as the end of its head.
            recorded.len() + bytes.len() <= MAX_RECORDED
        });
        if let Some(recorded) = &mut self.bytes {
            recorded.extend_from_slice(bytes);
        }
    }

    /// Returns whether the head can still be answered: hyper's own answer was withheld.
    pub(super) fn can_answer(&self) -> bool {
        !self.answer.is_empty()
    }

    /// Returns the rejected head. `unparsed` are the bytes that hyper has not consumed.
    pub(super) fn unparsed_head<'a>(
        &'a self,
        fault: HeadFault,
        unparsed: &'a [u8],
    ) -> UnparsedHead<'a> {
        // hyper keeps a head that the parser itself rejects, and discards one whose target or
        // framing is invalid.
        let recorded = self.bytes.as_deref().unwrap_or_default();
        let consumed = recorded.len().saturating_sub(unparsed.len());
        let recorded = recorded.get(..consumed).unwrap_or_default();
        let is_kept = matches!(fault, HeadFault::Method | HeadFault::Version);
        let bytes = if is_kept { unparsed } else { recorded };
        UnparsedHead {
            fault,
            bytes,
            is_whole: !is_kept && self.can_answer() && ends_with_empty_line(recorded),
            can_answer: self.can_answer(),
        }
    }
}

/// Returns whether a head, of which only the beginning may be present, has more than [`MAX_FIELDS`]
/// fields. hyper uses one error for too many bytes and too many fields.
fn has_too_many_fields(head: &[u8]) -> bool {
    let lines = head.split(|b| *b == b'\n').skip(1);
    let fields = lines.take_while(|line| !matches!(line, [] | [b'\r']));
    fields.count() > MAX_FIELDS
}

/// The place of the first byte that hyper rejects in a query, in bytes that begin with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RawByte {
    /// There is none.
    Absent,
    /// It is in the first line, or may still arrive in it.
    FirstLine,
    /// It is in a later line: in a field, in a body, or in the next head.
    Later,
}

impl RawByte {
    pub(super) fn find(read: &[u8], ends_with_empty_line: bool) -> Self {
        match find_raw_byte(read) {
            Some(at) if memchr(b'\n', read.get(..at).unwrap_or_default()).is_some() => Self::Later,
            Some(_) => Self::FirstLine,
            None if !ends_with_empty_line && memchr(b'\n', read).is_none() => Self::FirstLine,
            None => Self::Absent,
        }
    }
}

/// Returns the position of the first byte that hyper refuses in a query.
pub(super) fn find_raw_byte(read: &[u8]) -> Option<usize> {
    memchr3(b'"', b'<', b'>', read)
}

/// Returns the bytes without the line ends before a head, which hyper skips.
#[cold]
pub(super) fn skip_empty_lines(read: &[u8]) -> &[u8] {
    let start = read.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    start.map_or(&[], |start| read.get(start..).unwrap_or_default())
}

/// Returns the number of bytes after the first empty line. `None` if there is no empty line.
#[cold]
pub(super) fn count_after_empty_line(read: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', read).find_map(|at| match read.get(at + 1..)? {
        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => Some(rest.len()),
        _ => None,
    })
}

/// Returns whether the bytes end with an empty line.
pub(super) fn ends_with_empty_line(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'\n', b'\r', b'\n'] | [.., b'\n', b'\n'])
}

/// Returns whether the bytes begin with the head of a response after which hyper keeps the socket.
/// hyper writes no `Connection` field otherwise, and egressd forwards none.
#[cold]
pub(super) fn keeps_socket(response: &[u8]) -> bool {
    let end = memmem::find(response, b"\r\n\r\n");
    let head = end.and_then(|end| response.get(..end + 2));
    head.is_some_and(|head| {
        head.starts_with(b"HTTP/1.1 ")
            && head.get(9) != Some(&b'1')
            && memmem::find(head, b"\r\nconnection:").is_none()
    })
}

/// Returns whether the bytes begin with an answer that hyper itself gives.
#[cold]
pub(super) fn is_hyper_answer(bytes: &[u8]) -> bool {
    HYPER_ANSWERS.iter().any(|answer| bytes.starts_with(answer))
}

#[cfg(test)]
mod tests;
