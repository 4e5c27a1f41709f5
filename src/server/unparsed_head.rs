//! Request heads that hyper rejects.
//!
//! hyper answers such a head with an empty body. [`AgentSocket`](super::agent_socket::AgentSocket)
//! withholds that answer, so that the service can give a better one, or replace the head by one
//! that hyper accepts. hyper discards some of the heads that it rejects. The socket therefore
//! records a head if its first line has one of the bytes that a service can act on.

use bytes::Bytes;
use memchr::{memchr, memchr3};

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
    /// `true` if `bytes` is the whole head, so that it can be replaced.
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
    /// The head is parsed again in this form. The request gets `target` as an extension.
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
    /// The bytes that were read since the beginning of the head.
    bytes: Vec<u8>,
    /// hyper's answer, once it is withheld.
    pub(super) answer: Vec<u8>,
}

impl HeadRecord {
    #[cold]
    pub(super) fn new(bytes: &[u8]) -> Box<Self> {
        Box::new(Self {
            bytes: bytes.to_vec(),
            answer: Vec::new(),
        })
    }

    /// Adds bytes that were read later. A head that becomes too large is no longer recorded.
    #[cold]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() <= MAX_RECORDED {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes.clear();
        }
    }

    /// Returns the rejected head. `unparsed` are the bytes that hyper has not consumed.
    pub(super) fn unparsed_head<'a>(
        &'a self,
        fault: HeadFault,
        unparsed: &'a [u8],
    ) -> UnparsedHead<'a> {
        // hyper keeps a head that the parser itself rejects, and discards one whose target or
        // framing is invalid.
        let consumed = self.bytes.len().saturating_sub(unparsed.len());
        let recorded = self.bytes.get(..consumed).unwrap_or_default();
        let is_kept = matches!(fault, HeadFault::Method | HeadFault::Version);
        let bytes = if is_kept { unparsed } else { recorded };
        UnparsedHead {
            fault,
            bytes,
            is_whole: !is_kept && ends_with_empty_line(recorded),
            can_answer: !self.answer.is_empty(),
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

/// Returns whether a head that begins with these bytes has to be recorded: its first line has one
/// of the bytes that hyper rejects in a query, or is incomplete.
pub(super) fn should_record(read: &[u8], ends_with_empty_line: bool) -> bool {
    match memchr3(b'"', b'<', b'>', read) {
        // A body may have such a byte, and many heads have it in a later line.
        Some(at) => memchr(b'\n', read.get(..at).unwrap_or_default()).is_none(),
        None => !ends_with_empty_line && memchr(b'\n', read).is_none(),
    }
}

/// Returns whether the bytes end with an empty line.
pub(super) fn ends_with_empty_line(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'\n', b'\r', b'\n'] | [.., b'\n', b'\n'])
}

/// Returns whether the bytes begin with an answer that hyper itself gives.
#[cold]
pub(super) fn is_hyper_answer(bytes: &[u8]) -> bool {
    HYPER_ANSWERS.iter().any(|answer| bytes.starts_with(answer))
}
