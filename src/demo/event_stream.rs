//! The body of an event stream, generated while it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The time between two events.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);

/// Server-sent events (WHATWG HTML §9.2), numbered from 1.
pub(super) struct EventStream {
    ticks: Interval,
    next: u64,
    /// The number of the last event; `None` for an endless stream.
    last: Option<u64>,
}

impl EventStream {
    pub(super) fn new(last: Option<u64>) -> Self {
        let mut ticks = interval(EVENT_INTERVAL);
        // A slow reader gets the events later, and not several at once.
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
        // The first tick is due at once.
        ready!(self.ticks.poll_tick(cx));
        self.next += 1;
        let event = format!("id: {number}\nevent: tick\ndata: {{\"number\": {number}}}\n\n");
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
