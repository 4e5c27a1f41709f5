//! The body of a response, read from its socket on demand.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::chunks::{ChunkedDecoder, DecodeStep};
use super::response_head::BodyLength;
use super::upload_task::{EarlyResponse, Http1Upload};
use super::{Socket, SocketStream};
use crate::upstream::failure::{Failure, ProtocolFault};

/// Keeps sockets between requests.
pub(in crate::upstream) trait SocketSink<S>: Send + Sync {
    /// Keeps the socket for another request, or drops it.
    fn put_back(&self, socket: Box<Socket<S>>);

    /// Records that a socket held bytes that belong to no request. The caller closes it.
    fn report_surplus(&self);
}

/// The place where a socket goes after its exchange.
pub(in crate::upstream) struct SocketReturn<S> {
    /// The pool that may keep it.
    pub(in crate::upstream) pool: Arc<dyn SocketSink<S>>,
    /// `false` if the socket must be closed instead.
    pub(in crate::upstream) reuse: bool,
}

/// The body of a response, with its trailers.
pub(in crate::upstream) struct Http1Body<S> {
    socket: Option<Box<Socket<S>>>,
    left: RemainingBody,
    return_to: Option<SocketReturn<S>>,
    /// `Some` if the request is still being sent. In that case a separate task owns the socket.
    early: Option<Box<EarlyResponse>>,
    /// The number of pieces so far, as the upstream cut them.
    pieces: u64,
    /// Trailers, until they are returned.
    trailers: Option<Box<HeaderMap>>,
}

enum RemainingBody {
    Exact(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl RemainingBody {
    fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Absent => Self::Exact(0),
            BodyLength::Exact(bytes) => Self::Exact(bytes),
            BodyLength::Chunked => Self::Chunked(ChunkedDecoder::default()),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }
}

impl<S: SocketStream> Http1Body<S> {
    pub(super) fn new(
        socket: Box<Socket<S>>,
        length: BodyLength,
        return_to: SocketReturn<S>,
    ) -> Self {
        let mut body = Self {
            socket: Some(socket),
            left: RemainingBody::new(length),
            return_to: Some(return_to),
            early: None,
            pieces: 0,
            trailers: None,
        };
        if matches!(body.left, RemainingBody::Exact(0)) {
            body.return_socket();
        }
        body
    }

    /// Creates the body of a response whose request is still being sent.
    pub(super) fn early(length: BodyLength, early: EarlyResponse) -> Self {
        Self {
            socket: None,
            left: match RemainingBody::new(length) {
                // The task decodes the chunks, and sends `None` at the end.
                RemainingBody::Chunked(_) => RemainingBody::UntilClose,
                left @ (RemainingBody::Exact(_) | RemainingBody::UntilClose) => left,
            },
            return_to: None,
            early: Some(Box::new(early)),
            pieces: 0,
            // The task that owns the socket sends data only.
            trailers: None,
        }
    }

    /// Returns the socket until the body has ended.
    pub(super) fn socket_mut(&mut self) -> Option<&mut Socket<S>> {
        self.socket.as_deref_mut()
    }

    /// Returns whether the upload continues while the response is received.
    pub(in crate::upstream) fn has_upload(&self) -> bool {
        let early = self.early.as_ref();
        early.is_some_and(|early| early.upload.is_some())
    }

    /// Takes the upload that continues while the response is received, if there is one. If the
    /// caller does not take it, the upload ends when the body is dropped.
    pub(in crate::upstream) fn take_upload(&mut self) -> Option<Http1Upload> {
        self.early.as_mut()?.upload.take()
    }

    /// Returns the number of pieces so far: chunks, or reads of the socket.
    pub(in crate::upstream) fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Returns the socket at the end of the response, unless the upstream sent more bytes than it
    /// announced.
    fn return_socket(&mut self) {
        let return_to = self.return_to.take();
        let Some((socket, return_to)) = self.socket.take().zip(return_to) else {
            return;
        };
        if !socket.input.is_empty() {
            return_to.pool.report_surplus();
        } else if return_to.reuse {
            socket.counted.end_exchange();
            return_to.pool.put_back(socket);
        }
    }

    /// Returns the next data like [`Http1Body::poll_data`], from the task that owns the socket.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let Some(early) = self
            .early
            .as_mut()
            .filter(|_| !matches!(self.left, RemainingBody::Exact(0)))
        else {
            return Poll::Ready(None);
        };
        // A task that ends without sending the end or a failure is an internal error.
        let piece = ready!(early.pieces.poll_recv(cx)).unwrap_or(Err(Failure::Panicked));
        if let Ok(Some((data, pieces))) = &piece {
            self.pieces = *pieces;
            if let RemainingBody::Exact(left) = &mut self.left {
                *left = left.saturating_sub(data.len() as u64);
            }
        } else {
            self.left = RemainingBody::Exact(0);
        }
        if piece.is_err() {
            self.early = None;
        }
        Poll::Ready(piece.map(|piece| piece.map(|(data, _)| data)).transpose())
    }

    /// Returns the next data, or `None` at the proper end of the body.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        loop {
            let Some(socket) = &mut self.socket else {
                return self.poll_early(cx);
            };
            match &mut self.left {
                RemainingBody::Exact(left) if !socket.input.is_empty() => {
                    let take = socket
                        .input
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let data = socket.input.split_to(take).freeze();
                    *left -= take as u64;
                    let over = *left == 0;
                    self.pieces += 1;
                    if over {
                        self.return_socket();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                RemainingBody::Chunked(chunks) => match chunks.step(&mut socket.input)? {
                    DecodeStep::Data(data, count) => {
                        self.pieces += count;
                        return Poll::Ready(Some(Ok(data)));
                    }
                    DecodeStep::End => {
                        self.trailers = chunks.take_trailers();
                        self.return_socket();
                        return Poll::Ready(None);
                    }
                    DecodeStep::Starved => {}
                },
                RemainingBody::UntilClose if !socket.input.is_empty() => {
                    self.pieces += 1;
                    return Poll::Ready(Some(Ok(socket.input.split().freeze())));
                }
                RemainingBody::Exact(_) | RemainingBody::UntilClose => {}
            }
            if ready!(socket.poll_read(cx))? == 0 {
                self.socket = None;
                // `poll_read` fails if the socket ends without `close_notify`, so an attacker on
                // the network cannot shorten a body that ends with the socket (F-92).
                let whole = matches!(self.left, RemainingBody::UntilClose);
                return Poll::Ready(if whole {
                    None
                } else {
                    Some(Err(ProtocolFault::Body.into()))
                });
            }
        }
    }
}

impl<S: SocketStream> http_body::Body for Http1Body<S> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let data = ready!(self.poll_data(cx));
        if matches!(data, Some(Err(_))) {
            self.socket = None;
        }
        let frame = data.map(|result| result.map(Frame::data)).or_else(|| {
            let trailers = self.trailers.take()?;
            Some(Ok(Frame::trailers(*trailers)))
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.socket.is_none() && matches!(self.left, RemainingBody::Exact(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            RemainingBody::Exact(left) => SizeHint::with_exact(left),
            RemainingBody::Chunked(_) | RemainingBody::UntilClose => SizeHint::default(),
        }
    }
}
