//! The end of an event stream (`text/event-stream`) that egressd cuts.
//!
//! A client that reads events does not see why a stream was cut. So the stream ends with an event
//! that states the reason, unless the bytes before it end within an event: such a client would take
//! the two for one.
//!
//! The grammar is that of the HTML standard (§9.2.5): an event ends with an empty line, and a line
//! ends with LF, CR or CRLF.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use memchr::memchr2;

/// The number of bytes below the cap in which incomplete events are held back. An event that is at
/// most this long and crosses the cap is not sent in part.
const CAP_MARGIN: u64 = 64 * 1024;

/// The progress of an event stream.
pub(super) struct EventStream {
    position: StreamPosition,
    /// The beginning of an event that may cross the cap.
    held: BytesMut,
    /// `true` if the bytes that were passed on end within an event.
    has_partial_event: bool,
    passed: u64,
    cap: u64,
    /// The trailers, while bytes that were held back are sent before them.
    pub(super) trailers: Option<Frame<Bytes>>,
}

impl EventStream {
    /// Creates the progress of a stream that has this cap.
    pub(super) fn new(cap: u64) -> Self {
        Self {
            position: StreamPosition::Start,
            held: BytesMut::new(),
            has_partial_event: false,
            passed: 0,
            cap,
            trailers: None,
        }
    }

    /// Returns the bytes to pass on now that these have arrived. Near the cap, an event is held
    /// back until it is complete. `is_last` is `true` if no bytes follow.
    pub(super) fn pass(&mut self, mut data: Bytes, is_last: bool) -> Bytes {
        let last_end = self.position.advance(&data);
        let arrived = self.passed + (self.held.len() + data.len()) as u64;
        let is_near_cap = arrived.saturating_add(CAP_MARGIN) > self.cap;
        let holds_rest = is_near_cap && !is_last && (last_end.is_some() || !self.has_partial_event);
        let rest = if holds_rest {
            data.split_off(last_end.unwrap_or(0))
        } else {
            Bytes::new()
        };
        let out = if holds_rest && last_end.is_none() {
            Bytes::new()
        } else {
            self.has_partial_event = !holds_rest && !self.position.is_between_events();
            self.join_held(data)
        };
        self.held.extend_from_slice(&rest);
        self.passed += out.len() as u64;
        out
    }

    /// Returns the bytes that are held back, at the end of a complete stream.
    pub(super) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Returns whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.trailers.is_none()
    }

    /// Returns the cap of the stream, in bytes.
    pub(super) fn cap(&self) -> u64 {
        self.cap
    }

    /// Returns the last bytes of a stream that is cut: the events that `unsent` completes, and then
    /// `event`. Returns `None` if an event has been sent in part and stays incomplete.
    pub(super) fn cut(&mut self, mut unsent: Bytes, event: &[u8]) -> Option<Bytes> {
        let last_end = self.position.advance(&unsent);
        if last_end.is_none() && self.has_partial_event {
            return None;
        }
        let mut last = BytesMut::new();
        if let Some(end) = last_end {
            unsent.truncate(end);
            last = BytesMut::from(self.join_held(unsent));
        }
        last.put_slice(event);
        Some(last.freeze())
    }

    fn join_held(&mut self, data: Bytes) -> Bytes {
        if self.held.is_empty() {
            return data;
        }
        self.held.extend_from_slice(&data);
        self.held.split().freeze()
    }
}

/// The place in the grammar of an event stream after the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamPosition {
    /// Before the first byte.
    Start,
    /// After one or two bytes of a byte order mark.
    ByteOrderMark(u8),
    /// Between two events.
    Between,
    /// Between two events, after a CR. A LF that follows belongs to the same line end.
    BetweenAfterCr,
    /// Within a comment between two events.
    Comment,
    /// Within a line of an event.
    Line,
    /// After a line of an event.
    LineEnd,
    /// After a line of an event that ended with CR. A LF that follows belongs to the same line end.
    LineEndAfterCr,
}

impl StreamPosition {
    /// Returns whether no event has begun since the last empty line. Comments and empty lines are
    /// not part of an event.
    fn is_between_events(self) -> bool {
        matches!(self, Self::Start | Self::Between | Self::BetweenAfterCr)
    }

    /// Reads the next bytes. Returns the last place in them that is between two events.
    fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut last_end = None;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            *self = self.after(byte);
            at += 1;
            if self.is_between_events() {
                last_end = Some(at);
            } else if matches!(self, Self::Line | Self::Comment) {
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            }
        }
        last_end
    }

    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start, 0xef) => Self::ByteOrderMark(1),
            (Self::ByteOrderMark(1), 0xbb) => Self::ByteOrderMark(2),
            (Self::ByteOrderMark(2), 0xbf) => Self::Between,
            (Self::Start | Self::Between | Self::BetweenAfterCr, b':') => Self::Comment,
            (Self::LineEndAfterCr, b'\n') => Self::LineEnd,
            (Self::Line | Self::ByteOrderMark(_), b'\n') => Self::LineEnd,
            (Self::Line | Self::ByteOrderMark(_), b'\r') => Self::LineEndAfterCr,
            // An empty line, the end of a comment, or the rest of a CRLF between two events.
            (_, b'\n') => Self::Between,
            (_, b'\r') => Self::BetweenAfterCr,
            (Self::Comment, _) => Self::Comment,
            _ => Self::Line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CAP_MARGIN, EventStream, StreamPosition};
    use bytes::Bytes;

    /// Streams, and the last place between two events in each.
    const STREAMS: &[(&str, usize)] = &[
        ("", 0),
        ("data: x", 0),
        ("data: x\n", 0),
        ("data: x\n\n", 9),
        ("data: x\r\r", 9),
        ("data: x\r\n", 0),
        ("data: x\r\n\r\n", 11),
        ("data: x\r\n\r", 10),
        ("data: x\n\r\n", 10),
        ("data: x\n\r", 9),
        ("data: x\r\n\n", 10),
        ("data: x\r\r\n", 10),
        ("\n\r\n\r", 4),
        ("data: x\n\ndata", 9),
        ("data: x\n\nid: 1\r\ndata: y\r\n", 9),
        // Comments are not part of an event, unless they are within one.
        (": keep alive\n", 13),
        (":\r", 2),
        (": keep", 0),
        ("data: x\n: keep alive\n", 0),
        ("data: x\n\n: keep alive\n", 22),
        ("data: x\n: keep alive\n\n", 22),
        ("data: :\n", 0),
        ("\u{feff}", 3),
        ("\u{feff}data: x\n\n", 12),
        ("\u{feff}: keep alive\n", 16),
        ("\u{ffff}\n", 0),
        ("x\n\n\u{feff}\n", 3),
    ];

    #[test]
    fn the_place_between_two_events_is_found_however_the_bytes_are_split() {
        for (stream, expected) in STREAMS {
            let bytes = stream.as_bytes();
            for split in 0..=bytes.len() {
                let mut position = StreamPosition::Start;
                let (first, rest) = bytes.split_at(split);
                let in_first = position.advance(first);
                let in_rest = position.advance(rest).map(|end| split + end);
                let last_end = in_rest.or(in_first).unwrap_or(0);
                assert_eq!(last_end, *expected, "{stream:?} split at {split}");
                let is_between = *expected == bytes.len();
                assert_eq!(position.is_between_events(), is_between, "{stream:?}");
            }
            let mut position = StreamPosition::Start;
            let ends = bytes.chunks(1).map(|byte| position.advance(byte));
            let last_end = ends
                .enumerate()
                .filter_map(|(at, end)| end.map(|end| at + end));
            assert_eq!(last_end.last().unwrap_or(0), *expected, "{stream:?}");
        }
    }

    fn pass(stream: &mut EventStream, data: &'static str) -> Bytes {
        stream.pass(Bytes::from_static(data.as_bytes()), false)
    }

    #[test]
    fn far_from_the_cap_nothing_is_held_back() {
        let mut stream = EventStream::new(CAP_MARGIN + 100);
        assert_eq!(pass(&mut stream, "data: x\n\ndat"), "data: x\n\ndat");
        assert_eq!(stream.cut(Bytes::from_static(b"a: y\n"), b"end"), None);
        let unsent = Bytes::from_static(b"\ndata: z");
        assert_eq!(stream.cut(unsent, b"end").unwrap(), "\nend");
    }

    #[test]
    fn near_the_cap_an_incomplete_event_is_held_back() {
        let mut stream = EventStream::new(CAP_MARGIN + 12);
        assert_eq!(pass(&mut stream, "data: x\n\nda"), "data: x\n\nda");
        // It has begun, so nothing is gained if the rest is held back.
        assert_eq!(pass(&mut stream, "ta: y\n"), "ta: y\n");
        assert_eq!(pass(&mut stream, "\ndata"), "\n");
        assert_eq!(pass(&mut stream, ": z\n"), "");
        assert!(!stream.is_empty());
        assert_eq!(pass(&mut stream, "\ndata: a"), "data: z\n\n");
        assert_eq!(pass(&mut stream, "\n"), "");
        assert_eq!(stream.cut(Bytes::from_static(b"b"), b"end").unwrap(), "end");
    }

    #[test]
    fn the_end_of_a_complete_stream_is_not_held_back() {
        let mut stream = EventStream::new(100);
        let last = Bytes::from_static(b"data: x\n");
        assert_eq!(stream.pass(last, true), "data: x\n");
        let mut stream = EventStream::new(100);
        assert_eq!(pass(&mut stream, "data: x"), "");
        assert_eq!(stream.finish(), "data: x");
        assert!(stream.is_empty());
    }
}
