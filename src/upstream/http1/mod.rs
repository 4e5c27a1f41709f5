//! A strict HTTP/1.1 client for one socket: writes a head and a body, reads a head, hands out the body.
//!
//! No task, no channel: the exchange and the body it yields are driven by whoever awaits them, and dropping either closes the socket.
//! A socket goes home to its pool only after a response that ended exactly where it said it would.

mod body;
mod chunks;
mod encode;
mod exchange;
mod framing;
pub mod response_head;

pub(super) use body::{Body, Pool};
pub(super) use exchange::exchange;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncBufRead, AsyncWrite};

use super::failure::{Failure, TlsFault};
use crate::telemetry::metrics::OpenSocket;

/// Room for a usual response's head, at the start.
const INPUT: usize = 4096;
/// Room for a usual request's head, at the start.
const OUTPUT: usize = 1024;

/// What a socket is made of: a TLS stream, or an in-memory pipe in tests.
pub(super) trait Stream: AsyncBufRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncBufRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// An open socket with what was read and not yet used, and room for what is to be written. Buffers live as long as the socket.
pub(super) struct Socket<S> {
    stream: S,
    input: BytesMut,
    output: Vec<u8>,
    /// Whether it has served a request before.
    reused: bool,
    /// To be called once, when the first request is sent.
    first_sent: Option<fn(&S)>,
    /// Told when an exchange begins and ends.
    counted: OpenSocket,
}

impl<S: Stream> Socket<S> {
    /// Wraps a fresh stream. `counted` lives as long as the socket does.
    pub(super) fn new(stream: S, counted: OpenSocket) -> Self {
        Self {
            stream,
            input: BytesMut::with_capacity(INPUT),
            output: Vec::with_capacity(OUTPUT),
            reused: false,
            first_sent: None,
            counted,
        }
    }

    /// Calls this when the first request is sent.
    pub(super) fn when_first_sent(mut self, hook: fn(&S)) -> Self {
        self.first_sent = Some(hook);
        self
    }

    /// Whether an idle socket is still fit for a request: open, and nothing came unasked (F-124).
    pub(super) async fn is_fresh(&mut self) -> bool {
        let stream = &mut self.stream;
        self.input.is_empty()
            && poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_fill_buf(cx).is_pending()))
                .await
    }

    /// The same, as far as it can be told without waiting and outside of a task. Whoever waited on the socket is forgotten.
    pub(super) fn seems_fresh(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.input.is_empty()
            && Pin::new(&mut self.stream)
                .poll_fill_buf(&mut nobody)
                .is_pending()
    }

    /// Reads what is there into `input`. `Ok(0)`: the upstream has closed in good order.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        let mut stream = Pin::new(&mut self.stream);
        let bytes = ready!(stream.as_mut().poll_fill_buf(cx)).map_err(|error| broken(&error))?;
        let length = bytes.len();
        self.input.extend_from_slice(bytes);
        stream.consume(length);
        Poll::Ready(Ok(length))
    }
}

/// A reset, a close without `close_notify`, or bytes that are no TLS: the exchange is over either way.
fn broken(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::InvalidData {
        Failure::Tls(TlsFault::Protocol)
    } else {
        Failure::Closed
    }
}

#[cfg(test)]
mod tests;
