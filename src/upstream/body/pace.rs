//! Decides which pieces of a body pass at once, and which are gathered first.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::upstream::failure::Failure;

/// The longest time that a smaller piece waits for more, counted from the last piece that passed.
const GATHER_TIME: Duration = Duration::from_millis(10);
/// The number of events that may pass at once in a burst. The allowance refills at this number per
/// second.
const EVENTS_PER_SECOND: u32 = 1_000;

pub(super) struct PiecePacing {
    last: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// `None` if the body is not an event stream. Boxed, because few bodies are.
    events: Option<Box<EventPacing>>,
}

struct EventPacing {
    /// The number of events that may still pass at once.
    allowance: u32,
    /// The failure that ends the stream after the bytes that arrived before it.
    failure: Option<Failure>,
}

impl PiecePacing {
    /// Creates the pacing of one body.
    pub(super) fn new(is_event_stream: bool) -> Self {
        let events = EventPacing {
            allowance: EVENTS_PER_SECOND,
            failure: None,
        };
        Self {
            last: None,
            timer: None,
            events: is_event_stream.then(|| Box::new(events)),
        }
    }

    pub(super) fn is_event_stream(&self) -> bool {
        self.events.is_some()
    }

    /// Stores the failure that ends an event stream. Returns `false` if the body is not one.
    pub(super) fn set_failure(&mut self, failure: Failure) -> bool {
        let Some(events) = &mut self.events else {
            return false;
        };
        events.failure = Some(failure);
        true
    }

    /// Returns the failure that ends the event stream once all bytes before it have passed.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.events.as_ref().and_then(|events| events.failure)
    }

    /// Returns whether a small piece may pass on its own: it is the last one, a whole event, or
    /// comes after a pause.
    pub(super) fn should_pass(&mut self, data: &[u8], last: bool) -> bool {
        last || self.is_whole_event(data)
            || self.last.is_none_or(|last| last.elapsed() >= GATHER_TIME)
    }

    fn is_whole_event(&mut self, data: &[u8]) -> bool {
        let Some(events) = &mut self.events else {
            return false;
        };
        let whole =
            data.ends_with(b"\n\n") || data.ends_with(b"\r\n\r\n") || data.ends_with(b"\r\r");
        let earned = self.last.map_or(0, |last| {
            u32::try_from(last.elapsed().as_millis()).unwrap_or(EVENTS_PER_SECOND)
        });
        let allowance = &mut events.allowance;
        *allowance = allowance
            .saturating_add(earned.saturating_mul(EVENTS_PER_SECOND) / 1_000)
            .min(EVENTS_PER_SECOND);
        let passes = whole && *allowance > 0;
        if passes {
            *allowance -= 1;
        }
        passes
    }

    pub(super) fn record_passed(&mut self) {
        self.last = Some(Instant::now());
        self.timer = None;
    }

    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let last = self.last;
        let timer = self.timer.get_or_insert_with(|| {
            let due = last.map_or_else(Instant::now, |last| last + GATHER_TIME);
            Box::pin(tokio::time::sleep_until(due))
        });
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{EVENTS_PER_SECOND, GATHER_TIME, PiecePacing};
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn small_pieces_pass_after_a_pause_and_at_the_end() {
        let mut pace = PiecePacing::new(false);
        assert!(pace.should_pass(b"x", false), "the first piece passes");
        pace.record_passed();
        assert!(
            !pace.should_pass(b"x\n\n", false),
            "a piece that directly follows another waits"
        );
        assert!(pace.should_pass(b"x", true), "the last piece passes");
        advance(GATHER_TIME).await;
        assert!(pace.should_pass(b"x", false));
    }

    #[tokio::test(start_paused = true)]
    async fn whole_events_pass_at_once_until_there_are_too_many() {
        // F-133
        let mut pace = PiecePacing::new(true);
        pace.record_passed();
        assert!(
            !pace.should_pass(b"data: x\n", false),
            "half an event waits"
        );
        for _ in 0..EVENTS_PER_SECOND {
            assert!(pace.should_pass(b"data: x\n\n", false));
        }
        assert!(
            !pace.should_pass(b"data: x\n\n", false),
            "a flood is gathered"
        );
        advance(GATHER_TIME / 2).await;
        assert!(
            pace.should_pass(b"data: x\r\n\r\n", false),
            "some are earned back with time"
        );
    }
}
