//! A strict parser of HTTP/1.1 messages, so that assertions about framing do not depend on the
//! parser under test.

use std::fmt;
use std::io::{ErrorKind, Read};

/// Header fields in the order and spelling in which they were received.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, Vec<u8>)>);

/// The framing of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No framing field.
    Absent,
    /// One `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A body as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// The bytes without chunk framing.
    pub(crate) bytes: Vec<u8>,
    /// The sizes of the chunks.
    pub(crate) chunks: Vec<usize>,
    /// The trailer fields after the last chunk.
    pub(crate) trailers: Fields,
    /// `true` if the body reached the end that its framing announced.
    pub(crate) whole: bool,
}

/// The end of a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The stream ended with FIN or TLS `close_notify`.
    Clean,
    /// The stream was reset, or ended without TLS `close_notify`.
    Broken,
}

/// A buffered reader that keeps everything that it read.
pub(crate) struct RecordingReader {
    unread: Vec<u8>,
    end: Option<End>,
    /// Every byte that was received.
    pub(crate) seen: Vec<u8>,
}

impl RecordingReader {
    pub(crate) fn new() -> Self {
        Self {
            unread: Vec::new(),
            end: None,
            seen: Vec::new(),
        }
    }

    /// Returns the bytes that were received and not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Reads once. Returns `false` if the stream has ended.
    pub(crate) fn read_more(&mut self, from: &mut impl Read) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut bytes = vec![0; 65_536];
        match from.read(&mut bytes) {
            Ok(0) => self.end = Some(End::Clean),
            Ok(n) => {
                self.unread.extend_from_slice(&bytes[..n]);
                self.seen.extend_from_slice(&bytes[..n]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "nothing came and nothing ended; so far: {:?}",
                    text(&self.seen)
                )
            }
            Err(_) => self.end = Some(End::Broken),
        }
        self.end.is_none()
    }

    /// Reads until the stream ends, and returns how it ended.
    pub(crate) fn drain(&mut self, from: &mut impl Read) -> End {
        while self.read_more(from) {}
        self.end.unwrap_or(End::Broken)
    }

    /// Reads up to and including `mark`. Returns `None` if the stream ended before.
    pub(crate) fn take_until(&mut self, mark: &[u8], from: &mut impl Read) -> Option<Vec<u8>> {
        let mut looked = 0;
        loop {
            let start = looked.min(self.unread.len());
            if let Some(at) = find_bytes(&self.unread[start..], mark) {
                return Some(self.unread.drain(..start + at + mark.len()).collect());
            }
            looked = self.unread.len().saturating_sub(mark.len());
            if !self.read_more(from) {
                return None;
            }
        }
    }

    /// Reads `n` bytes, or fewer if the stream ended before.
    pub(crate) fn take(&mut self, n: usize, from: &mut impl Read) -> Vec<u8> {
        while self.unread.len() < n && self.read_more(from) {}
        self.unread.drain(..n.min(self.unread.len())).collect()
    }

    /// Reads the next chunk of a chunked body. Returns `None` if the body was cut off, and an empty
    /// chunk at its end, before the trailers.
    pub(crate) fn chunk(&mut self, from: &mut impl Read) -> Option<Vec<u8>> {
        let line = self.take_until(b"\r\n", from)?;
        let size = usize::from_str_radix(text(&line).trim_end(), 16)
            .unwrap_or_else(|_| panic!("a chunk size was expected, not {:?}", text(&line)));
        if size == 0 {
            return Some(Vec::new());
        }
        let bytes = self.take(size, from);
        let rest = self.take(2, from);
        (bytes.len() == size && rest == b"\r\n").then_some(bytes)
    }

    /// Reads a body with this framing.
    pub(crate) fn body(&mut self, framing: Framing, from: &mut impl Read) -> Body {
        match framing {
            Framing::Absent => Body {
                whole: true,
                ..Body::default()
            },
            Framing::Length(length) => {
                let bytes = self.take(length, from);
                Body {
                    whole: bytes.len() == length,
                    bytes,
                    ..Body::default()
                }
            }
            Framing::Chunked => self.chunked(from),
        }
    }

    fn chunked(&mut self, from: &mut impl Read) -> Body {
        let mut body = Body::default();
        loop {
            match self.chunk(from) {
                None => {
                    // The received part of an incomplete chunk counts as received.
                    body.bytes.append(&mut self.unread);
                    return body;
                }
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => {
                    body.chunks.push(bytes.len());
                    body.bytes.extend_from_slice(&bytes);
                }
            }
        }
        loop {
            match self.take_until(b"\r\n", from) {
                None => return body,
                Some(line) if line == b"\r\n" => break,
                Some(next_line) => body.trailers.0.push(field(&next_line)),
            }
        }
        body.whole = true;
        body
    }
}

/// Parses a head into its first line and its fields. Only CRLF ends a line.
pub(crate) fn head(bytes: &[u8]) -> (String, Fields) {
    let whole = bytes.strip_suffix(b"\r\n\r\n").expect("a whole head");
    let mut lines = split(whole, b"\r\n").into_iter();
    let first = text(lines.next().unwrap_or_default());
    assert!(
        whole.iter().filter(|b| **b == b'\n').count() == split(whole, b"\r\n").len() - 1,
        "a bare LF in {first:?}"
    );
    (first, Fields(lines.map(field).collect()))
}

fn field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = find_bytes(line, b":").unwrap_or_else(|| panic!("no field: {:?}", text(line)));
    (
        text(&line[..colon]),
        line[colon + 1..].trim_ascii().to_vec(),
    )
}

impl Fields {
    /// Returns the values of all fields with this name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let named = |(field, _): &&(String, Vec<u8>)| field.eq_ignore_ascii_case(name);
        let values = self.0.iter().filter(named);
        values.map(|(_, value)| text(value)).collect()
    }

    /// Returns the value of the only field with this name. A second field fails the test.
    pub(crate) fn single_value(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {all:?}", all.len());
        all.pop()
    }

    /// Returns all names, in lower case and in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.0.iter();
        names.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    /// Returns the framing of the body. Two framing fields fail the test.
    pub(crate) fn framing(&self) -> Framing {
        let coding = self.single_value("transfer-encoding");
        let length = self.single_value("content-length");
        match (coding.as_deref(), length) {
            (None, None) => Framing::Absent,
            (None, Some(length)) => Framing::Length(length.parse().expect("a length")),
            (Some("chunked"), None) => Framing::Chunked,
            both => panic!("framing that is not one: {both:?}"),
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.0.iter();
        f.debug_map()
            .entries(fields.map(|(name, value)| (name, text(value))))
            .finish()
    }
}

/// Returns bytes as text, for messages.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the position of `needle` in `bytes`.
pub(crate) fn find_bytes(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|part| part == needle)
}

fn split<'a>(mut bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find_bytes(bytes, mark) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + mark.len()..];
    }
    parts.push(bytes);
    parts
}
