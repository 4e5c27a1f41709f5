//! Bodies that are made while they are sent: a long one, and a feed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How far events are apart.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);

static BLOCK: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// So many bytes, in blocks.
pub(super) struct FillerBody {
    left: u64,
    /// Whether the length is told before; else the body is chunked.
    declared: bool,
}

impl FillerBody {
    pub(super) fn new(length: u64, declared: bool) -> Self {
        Self {
            left: length,
            declared,
        }
    }
}

impl http_body::Body for FillerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.left.min(BLOCK.len() as u64);
        if length == 0 {
            return Poll::Ready(None);
        }
        self.left -= length;
        let mut block = Bytes::from_static(&BLOCK);
        block.truncate(usize::try_from(length).unwrap_or(BLOCK.len()));
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.declared {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}

/// Server-sent events (WHATWG HTML §9.2), numbered from 1.
pub(super) struct EventStream {
    ticks: Interval,
    next: u64,
    /// `None`: without end.
    last: Option<u64>,
}

impl EventStream {
    pub(super) fn new(last: Option<u64>) -> Self {
        let mut ticks = interval(EVENT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            next: 1,
            last,
        }
    }
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let number = self.next;
        if self.last.is_some_and(|last| number > last) {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(cx));
        self.next += 1;
        let event = format!("id: {number}\nevent: tick\ndata: {{\"number\": {number}}}\n\n");
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
