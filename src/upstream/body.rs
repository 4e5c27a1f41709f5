//! Response bodies with a cap on their size and a limit on the number of their pieces.
//!
//! A body over its cap ends with an error, so an agent cannot mistake it for a complete one.
//!
//! A hostile upstream can make every byte cost a frame, and handling a frame costs more than
//! handling a byte. So small pieces are gathered, up to 8 KiB or 10 ms. Whole events of an event
//! stream pass at once, unless there are too many. A body whose pieces are far too small on average
//! fails.
//!
//! The limit on pieces and `frame_budget` bound different work. This limit holds for both
//! protocols, and for the pieces of one body: `frame_budget` charges nothing for data, because data
//! belongs to a response. The frames that `frame_budget` charges for belong to no response, so they
//! are never seen here.

mod pace;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};

use super::dial::Tls;
use super::failure::{Failure, ProtocolFault};
use super::http2::Http2Body;
use super::{http1, http2};
use pace::PiecePacing;

/// The size, in bytes, from which a piece passes at once.
const LARGE_PIECE: usize = 8 * 1024;
/// The number of pieces that any body may have, however small they are.
const FREE_PIECES: u64 = 16 * 1024;
/// The number of bytes that further pieces must have on average.
const BYTES_PER_PIECE: u64 = 8;
/// The body of an upstream response. It ends with an error, never as if it were complete, when it
/// exceeds the cap.
pub struct UpstreamBody {
    inner: ProtocolBody,
    cap: u64,
    received: u64,
    held: BytesMut,
    pace: PiecePacing,
    ended: bool,
    /// Trailers, to be sent at the end of the body.
    trailers: Option<Box<HeaderMap>>,
}

/// A request's body that is still being sent when the response has ended. Dropping it ends the
/// upload.
pub enum PendingUpload {
    /// Over HTTP/1.1.
    Http1(http1::Http1Upload),
    /// Over HTTP/2.
    Http2(http2::Http2Upload),
}

impl PendingUpload {
    /// Returns whether the upload has ended: the body is sent, or has failed.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Http1(upload) => upload.has_ended(),
            Self::Http2(upload) => upload.has_ended(),
        }
    }

    /// Returns whether the upload fails by itself if the agent leaves before its body is complete.
    /// An HTTP/1.1 upload does. Over HTTP/2, hyper does not poll the body while the upstream grants
    /// no window, so the upload does not notice that the agent has left.
    pub fn has_disconnect_detection(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    /// Waits until the upload has ended.
    pub async fn wait_until_ended(self) {
        match self {
            Self::Http1(upload) => upload.wait_until_ended().await,
            Self::Http2(upload) => upload.wait_until_ended().await,
        }
    }
}

/// The body of a response, by protocol.
pub(super) enum ProtocolBody {
    Http1(http1::Http1Body<Tls>),
    Http2(Http2Body),
}

impl From<http1::Http1Body<Tls>> for ProtocolBody {
    fn from(body: http1::Http1Body<Tls>) -> Self {
        Self::Http1(body)
    }
}

impl From<Http2Body> for ProtocolBody {
    fn from(body: Http2Body) -> Self {
        Self::Http2(body)
    }
}

impl UpstreamBody {
    /// Limits a body to `cap` bytes. `event_stream` states whether its type is `text/event-stream`.
    fn new(inner: ProtocolBody, cap: u64, event_stream: bool) -> Self {
        Self {
            inner,
            cap,
            received: 0,
            held: BytesMut::new(),
            pace: PiecePacing::new(event_stream),
            ended: false,
            trailers: None,
        }
    }

    /// Rejects a response that announces more than the cap, and limits the body of any other
    /// response.
    pub(super) fn under_cap(
        response: Response<impl Into<ProtocolBody>>,
        cap: u64,
    ) -> Result<Response<Self>, Failure> {
        let response = response.map(Into::into);
        let announced = response.body().size_hint().exact();
        if announced.is_some_and(|length| length > cap) {
            return Err(Failure::TooLarge { announced });
        }
        // A comparison of each name costs less than the lookup of one, which hashes it.
        let mut fields = response.headers().iter();
        let kind = fields.find_map(|(name, value)| (name == CONTENT_TYPE).then_some(value));
        let event_stream = kind.is_some_and(|value| {
            let kind = value.as_bytes().get(..17);
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
        });
        Ok(response.map(|inner| Self::new(inner, cap, event_stream)))
    }

    /// Counts a piece against the cap, and against the number of pieces that a body of its size may
    /// have.
    fn charge_piece(&mut self, data: &Bytes) -> Result<(), Failure> {
        self.received += data.len() as u64;
        if self.received > self.cap {
            return Err(Failure::TooLarge { announced: None });
        }
        if self.inner.pieces() > FREE_PIECES + self.received / BYTES_PER_PIECE {
            return Err(ProtocolFault::FrameFlood.into());
        }
        Ok(())
    }

    /// Takes the upload that continues while the response is received, if there is one. If the
    /// caller does not take it, the upload ends when the body is dropped.
    pub fn take_upload(&mut self) -> Option<PendingUpload> {
        match &mut self.inner {
            ProtocolBody::Http1(body) => body.take_upload().map(PendingUpload::Http1),
            ProtocolBody::Http2(body) => body.take_upload().map(PendingUpload::Http2),
        }
    }

    /// Returns whether the upload continues while the response is received, and after it.
    pub fn has_upload(&self) -> bool {
        match &self.inner {
            ProtocolBody::Http1(body) => body.has_upload(),
            ProtocolBody::Http2(body) => body.has_upload(),
        }
    }

    /// Returns whether the type of the body is `text/event-stream`.
    pub fn is_event_stream(&self) -> bool {
        self.pace.is_event_stream()
    }

    /// Ends the body with a failure, which a piece may have caused. The bytes of an event stream
    /// that arrived before pass first, up to the cap, so that it can end after a whole event.
    #[cold]
    fn fail(
        &mut self,
        failure: Failure,
        data: &[u8],
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.pace.set_failure(failure) {
            self.ended = true;
            if let Failure::TooLarge { .. } = failure {
                let excess =
                    usize::try_from(self.received.saturating_sub(self.cap)).unwrap_or(usize::MAX);
                let room = data.len().saturating_sub(excess);
                self.held
                    .extend_from_slice(data.get(..room).unwrap_or_default());
            }
            if !self.held.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.release_held()))));
            }
        }
        Poll::Ready(Some(Err(failure)))
    }

    fn release_held(&mut self) -> Bytes {
        self.pace.record_passed();
        self.held.split().freeze()
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        while !this.ended {
            match this.inner.poll_data(cx, &mut this.trailers) {
                Poll::Ready(Some(Ok(data))) => {
                    if let Err(failure) = this.charge_piece(&data) {
                        return this.fail(failure, &data);
                    }
                    if this.held.is_empty()
                        && (data.len() >= LARGE_PIECE
                            || this.pace.should_pass(&data, this.inner.is_over()))
                    {
                        if !this.inner.is_over() {
                            this.pace.record_passed();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    this.held.extend_from_slice(&data);
                    if this.held.len() >= LARGE_PIECE
                        || this.pace.should_pass(&this.held, this.inner.is_over())
                    {
                        return Poll::Ready(Some(Ok(Frame::data(this.release_held()))));
                    }
                }
                Poll::Ready(Some(Err(failure))) => {
                    this.ended = true;
                    return this.fail(failure, b"");
                }
                Poll::Ready(None) => this.ended = true,
                Poll::Pending if this.held.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    ready!(this.pace.poll_due(cx));
                    return Poll::Ready(Some(Ok(Frame::data(this.release_held()))));
                }
            }
        }
        if this.held.is_empty() {
            if let Some(failure) = this.pace.failure() {
                return Poll::Ready(Some(Err(failure)));
            }
            let trailers = this.trailers.take();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
        }
        Poll::Ready(Some(Ok(Frame::data(this.release_held()))))
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.ended || self.inner.is_over();
        self.held.is_empty() && is_over && self.trailers.is_none() && self.pace.failure().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // hyper derives the framing of the agent's response from this hint: an exact one becomes a
        // `content-length`.
        match self.inner.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + self.held.len() as u64),
            None => SizeHint::default(),
        }
    }
}

impl ProtocolBody {
    /// Returns the next data. Trailers are stored, because they come last.
    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Option<Box<HeaderMap>>,
    ) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            let frame = match self {
                Self::Http1(body) => ready!(Pin::new(body).poll_frame(cx)),
                Self::Http2(body) => ready!(Pin::new(body).poll_frame(cx)),
            };
            match frame {
                None => return Poll::Ready(None),
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(frame) => *trailers = frame.into_trailers().ok().map(Box::new),
                },
            }
        }
    }

    fn pieces(&self) -> u64 {
        match self {
            Self::Http1(body) => body.pieces(),
            Self::Http2(body) => body.pieces(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
