//! The upstream's body on its way to hyper: what is counted, and how a response is cut off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, TRAILER};
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as _, Frame};

use super::event_stream::EventStream;
use crate::proxy::error::ExchangeError;
use crate::proxy::exchange::Exchange;
use crate::proxy::refusal::Refusal;
use crate::proxy::searched_body::SearchedBody;
use crate::proxy::trailers::passing_trailers;
use crate::proxy::{deadlines, panics};
use crate::server::SocketTimers;
use crate::upstream::{Failure, RequestSlot};

type PolledFrame = Poll<Option<Result<Frame<Bytes>, ExchangeError>>>;

pub(super) struct Forwarded {
    pub(super) body: Box<SearchedBody>,
    pub(super) exchange: Exchange,
    /// `true` if the last poll of the body found no data, so egressd waits for the upstream.
    pub(super) awaits_upstream: bool,
    state: BodyState,
    /// The names of trailers that the head announced to the agent.
    trailers: Option<HeaderValue>,
    _slot: RequestSlot,
}

enum BodyState {
    /// Everything is passed on as it arrives.
    Passing,
    /// The body is an event stream, which is cut off with a last event.
    EventStream(Box<EventStream>),
    /// hyper was given the last event of a stream that is cut off for this reason.
    LastEvent(ExchangeError),
    /// hyper writes the last event.
    Flushing(ExchangeError),
    /// The next poll returns the error.
    Broken(ExchangeError),
}

impl Forwarded {
    /// Takes the upstream's response. From here on a limit cuts the response off instead of causing
    /// a refusal.
    pub(super) fn begin(
        response: Response<Box<SearchedBody>>,
        exchange: Exchange,
        slot: RequestSlot,
        timers: &SocketTimers,
    ) -> Response<Self> {
        let is_chunked = response.body().size_hint().exact().is_none();
        // A body with a length has no room for another event.
        let state = if is_chunked && response.body().is_event_stream() {
            BodyState::for_event_stream(response.headers(), &exchange)
        } else {
            BodyState::Passing
        };
        if let BodyState::Passing = state {
            timers.begin_response();
        } else {
            timers.begin_event_stream();
        }
        let trailers = is_chunked.then(|| response.headers().get(TRAILER).cloned());
        response.map(|body| Self {
            body,
            exchange,
            awaits_upstream: false,
            state,
            trailers: trailers.flatten(),
            _slot: slot,
        })
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, timers: &SocketTimers) -> PolledFrame {
        let polled = panics::catch_in_body(|| self.poll_body(cx, timers));
        polled.unwrap_or_else(|panicked| {
            self.exchange.record_panic();
            Poll::Ready(Some(Err(panicked)))
        })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match &self.state {
            BodyState::Passing => self.body.is_end_stream(),
            BodyState::EventStream(events) => events.is_empty() && self.body.is_end_stream(),
            BodyState::LastEvent(_) | BodyState::Flushing(_) | BodyState::Broken(_) => false,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, timers: &SocketTimers) -> PolledFrame {
        if !matches!(self.state, BodyState::Passing) {
            return self.poll_state(cx, timers);
        }
        let frame = ready!(self.poll_next(cx, timers));
        match &frame {
            Some(Ok(frame)) => self.count(frame.data_ref()),
            Some(Err(error)) => {
                let (error, _refusal) = self.fail(*error);
                return self.abort(error, cx);
            }
            None => self.exchange.response.complete(),
        }
        Poll::Ready(frame)
    }

    /// Polls for the next frame that may be passed on.
    fn poll_next(&mut self, cx: &mut Context<'_>, timers: &SocketTimers) -> PolledFrame {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.awaits_upstream = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                // hyper polls no further frame after trailers.
                self.exchange.response.complete();
                let trailers = frame.into_trailers().ok();
                let passing = trailers
                    .and_then(|trailers| passing_trailers(&trailers, self.trailers.as_ref()));
                Poll::Ready(passing.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => {
                match deadlines::response_body_error(timers, self.exchange.timeout()) {
                    Some(error) => Poll::Ready(Some(Err(error))),
                    None => Poll::Pending,
                }
            }
            Poll::Ready(frame) => Poll::Ready(frame),
        }
    }

    fn count(&mut self, data: Option<&Bytes>) {
        self.exchange.response.body_bytes += data.map_or(0, Bytes::len) as u64;
    }

    /// Records the error that cuts the response off.
    #[cold]
    fn fail(&mut self, error: ExchangeError) -> (ExchangeError, Refusal) {
        let error = self.exchange.request.find_cause(error);
        let refusal = Refusal::from(error);
        self.exchange.response.record_refusal(&refusal);
        (error, refusal)
    }

    /// Returns the error at the next poll. hyper discards unwritten bytes when a body fails, but
    /// flushes them when a body is pending. Without the pause, an agent could receive no byte at
    /// all. Clients treat that as a stale socket, and repeat the request.
    fn abort<T>(&mut self, error: ExchangeError, cx: &mut Context<'_>) -> Poll<T> {
        self.state = BodyState::Broken(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Event streams, and bodies that are cut off.
impl Forwarded {
    fn poll_state(&mut self, cx: &mut Context<'_>, timers: &SocketTimers) -> PolledFrame {
        match std::mem::replace(&mut self.state, BodyState::Passing) {
            BodyState::Passing => Poll::Ready(None),
            BodyState::EventStream(events) => self.poll_events(events, cx, timers),
            // hyper writes the event while the body is pending.
            BodyState::LastEvent(error) => {
                self.state = BodyState::Flushing(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            // hyper polls the body again once everything is written.
            BodyState::Flushing(error) if timers.is_write_blocked() => {
                self.state = BodyState::Flushing(error);
                Poll::Pending
            }
            BodyState::Flushing(error) | BodyState::Broken(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn poll_events(
        &mut self,
        mut events: Box<EventStream>,
        cx: &mut Context<'_>,
        timers: &SocketTimers,
    ) -> PolledFrame {
        if let Some(error) = deadlines::event_stream_error(timers, self.exchange.timeout()) {
            if deadlines::dropped_response_code(timers, self.awaits_upstream).is_none() {
                // The agent does not read, so it would not receive the event either.
                return Poll::Ready(Some(Err(error)));
            }
            return self.cut_events(*events, error, cx, timers);
        }
        if let Some(trailers) = events.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let (passed, is_over) = match self.poll_next(cx, timers) {
                Poll::Pending => {
                    self.state = BodyState::EventStream(events);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(error))) => {
                    return self.cut_events(*events, error, cx, timers);
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => (events.pass(data, self.body.is_end_stream()), false),
                    Err(trailers) => {
                        events.trailers = Some(trailers);
                        (events.finish(), true)
                    }
                },
                Poll::Ready(None) => (events.finish(), true),
            };
            if !passed.is_empty() {
                self.count(Some(&passed));
                self.state = BodyState::EventStream(events);
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
            if is_over {
                self.exchange.response.complete();
                return Poll::Ready(events.trailers.take().map(Ok));
            }
        }
    }

    /// Ends an event stream with an event that states the error, if it is between two events.
    #[cold]
    fn cut_events(
        &mut self,
        mut events: EventStream,
        error: ExchangeError,
        cx: &mut Context<'_>,
        timers: &SocketTimers,
    ) -> PolledFrame {
        let (unsent, error) = match self.body.take_unsent() {
            Ok(unsent) => (unsent, error),
            Err(found) => (Bytes::new(), found),
        };
        let error = if let ExchangeError::Upstream(Failure::TooLarge { announced }) = error {
            let cap = events.cap();
            ExchangeError::ResponseTooLarge { cap, announced }
        } else {
            error
        };
        let (error, refusal) = self.fail(error);
        let Some(last) = events.cut(unsent, &refusal.to_event()) else {
            return self.abort(error, cx);
        };
        self.count(Some(&last));
        timers.begin_last_event();
        self.state = BodyState::LastEvent(error);
        Poll::Ready(Some(Ok(Frame::data(last))))
    }
}

impl BodyState {
    /// Returns the first state of a body of the type `text/event-stream`.
    fn for_event_stream(headers: &HeaderMap, exchange: &Exchange) -> Self {
        let encoding = headers.get(CONTENT_ENCODING);
        let is_plain =
            encoding.is_none_or(|name| name.as_bytes().eq_ignore_ascii_case(b"identity"));
        match &exchange.entry {
            // A compressed stream cannot be continued with plain text.
            Some(entry) if is_plain => {
                let cap = entry.connection.caps.response.bytes();
                Self::EventStream(Box::new(EventStream::new(cap)))
            }
            Some(_) | None => Self::Passing,
        }
    }
}
