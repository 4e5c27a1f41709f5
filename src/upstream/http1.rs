//! A strict HTTP/1.1 client for one socket: it writes a request's head and body, reads the
//! response's head, and returns the response's body.
//!
//! There is no task and no channel, except for early responses (`early_response`). The caller
//! drives the exchange and the body by polling them, and dropping either closes the socket. A
//! socket returns to its pool only if the response ended exactly where it announced its end.

mod body;
mod chunks;
mod early_response;
mod encode;
mod exchange;
mod framing;
pub mod response_head;
mod upload;
mod upload_task;

pub(super) use body::{Http1Body, SocketReturn, SocketSink};
pub(super) use exchange::exchange;
pub use upload_task::Http1Upload;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::unconstrained;

use super::failure::Failure;
use super::tls;
use super::tls_stream::TlsStream;
use crate::telemetry::metrics::SocketCountGuard;

/// The initial capacity of the input buffer, in bytes. The head of a usual response fits.
const INPUT_CAPACITY: usize = 4096;
/// The initial capacity of the output buffer, in bytes. The head of a usual request fits.
const OUTPUT_CAPACITY: usize = 1024;

/// The stream below a socket: a TLS stream, or an in-memory pipe in tests.
pub(super) trait SocketStream: AsyncWrite + Unpin + Send + 'static {
    /// Appends received bytes to `buffer` and returns their number. 0 means that the peer has ended
    /// the stream properly.
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>>;

    /// Returns whether bytes may have arrived that the last read did not return, although it was
    /// pending.
    fn has_unread(&self) -> bool;

    /// Reduces the memory of an idle stream.
    fn release_buffers(&mut self);
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> SocketStream for Box<TlsStream<IO>> {
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        TlsStream::poll_read_into(self, cx, buffer)
    }

    fn has_unread(&self) -> bool {
        TlsStream::has_unread(self)
    }

    fn release_buffers(&mut self) {
        TlsStream::release_buffers(self);
    }
}

/// An open socket with its buffers: bytes that were read and not yet used, and bytes to be written.
/// The buffers live as long as the socket. A socket is boxed, because it is moved several times for
/// each request.
pub(super) struct Socket<S> {
    stream: S,
    input: BytesMut,
    output: Vec<u8>,
    /// `true` if the socket has served a request before.
    reused: bool,
    /// `true` if the task that uses the socket is woken when bytes arrive, because its last read
    /// found none.
    is_read_awaited: bool,
    /// The time from which the idle socket is not used, because the upstream announced that it will
    /// close the socket soon after.
    usable_until: Option<Instant>,
    /// `true` if the last response was of a kind that few servers send: a large head, bare line
    /// feeds, empty lines, or informational responses.
    is_unusual: bool,
    /// A function that is called once, when the first request is sent.
    first_request_hook: Option<fn(&S)>,
    /// Counts the socket in the metrics, as idle or in use.
    counted: SocketCountGuard,
}

impl<S: SocketStream> Socket<S> {
    /// Wraps a new stream. `counted` lives as long as the socket.
    pub(super) fn new(stream: S, counted: SocketCountGuard) -> Box<Self> {
        Box::new(Self {
            stream,
            input: BytesMut::with_capacity(INPUT_CAPACITY),
            output: Vec::with_capacity(OUTPUT_CAPACITY),
            reused: false,
            is_read_awaited: false,
            usable_until: None,
            is_unusual: false,
            first_request_hook: None,
            counted,
        })
    }

    /// Sets a function that is called when the first request is sent.
    pub(super) fn on_first_request(mut self: Box<Self>, hook: fn(&S)) -> Box<Self> {
        self.first_request_hook = Some(hook);
        self
    }

    /// Returns the state of an idle socket. The caller must start the exchange in the same poll of
    /// its task, because the exchange relies on the waker that this check has stored.
    pub(super) async fn idle_state(&mut self) -> IdleState {
        // Without a budget of tokio, because each read of a task without budget is pending.
        let check = poll_fn(|cx| Poll::Ready(self.idle_state_in(cx)));
        let state = unconstrained(check).await;
        self.is_read_awaited = state == IdleState::Usable;
        state
    }

    /// Returns the state of an idle socket without a task. A task that waits on the socket is no
    /// longer woken.
    pub(super) fn idle_state_now(&mut self) -> IdleState {
        self.stream.release_buffers();
        self.idle_state_in(&mut Context::from_waker(Waker::noop()))
    }

    fn idle_state_in(&mut self, cx: &mut Context<'_>) -> IdleState {
        if self.usable_until.is_some_and(|end| Instant::now() >= end) {
            return IdleState::Closed;
        }
        // A close, a reset and unrequested bytes all show up as a read that does not wait. So no
        // request is sent to a socket that is known to have ended.
        match self.stream.poll_read_into(cx, &mut self.input) {
            // A response could follow, and would be taken for that to the next request (F-124).
            Poll::Pending if self.stream.has_unread() => IdleState::Closed,
            Poll::Pending => IdleState::Usable,
            Poll::Ready(Ok(1..)) if !is_idle_timeout(&self.input) => IdleState::Surplus,
            Poll::Ready(_) => IdleState::Closed,
        }
    }

    /// Returns whether the last response on this socket was of a kind that few servers send.
    pub(super) fn is_unusual(&self) -> bool {
        self.is_unusual
    }

    /// Reads the available bytes into `input` and returns their number. 0 means that the upstream
    /// closed the socket properly, with `close_notify`.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        self.stream
            .poll_read_into(cx, &mut self.input)
            .map_err(|error| socket_failure(&error))
    }
}

/// The state of an idle socket, which decides if it may be used for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdleState {
    /// The socket is open, and no bytes arrived.
    Usable,
    /// The upstream has closed the socket, or is about to.
    Closed,
    /// Bytes arrived that belong to no request (F-124).
    Surplus,
}

/// Returns whether the bytes begin a 408, which some servers send before they close an idle socket
/// (RFC 9110 §15.5.9).
fn is_idle_timeout(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") && bytes.get(8..12) == Some(b" 408")
}

/// Maps an error of the socket: a reset, a close without `close_notify`, an alert, or bytes that
/// are not TLS. Each of these ends the exchange.
fn socket_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::InvalidData {
        tls::session_fault(error).into()
    } else {
        Failure::Closed
    }
}

#[cfg(test)]
mod tests;
