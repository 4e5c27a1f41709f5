//! The task of one agent's socket, from accept to close: hyper's HTTP/1.1 server with egressd's
//! time limits.

use std::convert::Infallible;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::agent_socket::AgentSocket;
use super::request_body::{self, RequestBody, UnreadBody};
use super::socket_timers::SocketTimers;

/// The maximum size of a request head in bytes. hyper rejects larger heads with status 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The maximum number of fields in a request head. hyper rejects heads with more fields with status
/// 431.
const MAX_FIELDS: usize = 100;

/// A service that answers requests.
pub trait Serve: Send + Sync + 'static {
    /// The body of its responses. An error aborts the exchange.
    type Body: http_body::Body<Data = bytes::Bytes, Error: std::error::Error + Send + Sync>
        + Send
        + 'static;

    /// Called after hyper has answered bytes that are not a valid request head. The socket is
    /// closed.
    fn head_refused(&self, _fault: HeadFault) {}

    /// Returns whether the request's body is still being sent to an upstream while this response is
    /// sent. The socket is then kept if the upload succeeds.
    fn continues_upload(_body: &Self::Body) -> bool {
        false
    }

    /// Answers one request. `timers` belong to the socket that it arrived on.
    fn serve(
        self: Arc<Self>,
        request: Request<RequestBody>,
        timers: Arc<SocketTimers>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The reasons for which hyper rejects a request head, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// The head is malformed: 400.
    Malformed,
    /// The HTTP version is invalid or unsupported: 400.
    Version,
    /// The target alone exceeds the limit of the head: 414.
    TargetTooLong,
    /// The head has too many bytes or fields: 431.
    TooLarge,
}

impl HeadFault {
    /// Returns the fault of an error with which hyper ended a socket. `None` if the error is of
    /// another kind, or a preface of HTTP/2: hyper answers neither.
    fn from_hyper(error: &hyper::Error) -> Option<Self> {
        if !error.is_parse() || error.is_parse_version_h2() {
            return None;
        }
        // hyper distinguishes these errors only by the names in their `Debug` output.
        let named = |name| format!("{error:?}").contains(name);
        Some(if error.is_parse_too_large() && named("UriTooLong") {
            Self::TargetTooLong
        } else if error.is_parse_too_large() {
            Self::TooLarge
        } else if named("Version") {
            Self::Version
        } else {
            Self::Malformed
        })
    }
}

/// Serves one socket until either side closes it or a limit cuts it off.
pub async fn serve_socket<S, I>(stream: I, timers: Arc<SocketTimers>, server: Arc<S>)
where
    S: Serve,
    I: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let io = TokioIo::new(AgentSocket::new(stream, Arc::clone(&timers)));
    let answering = Arc::clone(&server);
    let service = {
        let timers = Arc::clone(&timers);
        service_fn(move |request: Request<Incoming>| {
            timers.begin_exchange();
            let (server, timers) = (Arc::clone(&answering), Arc::clone(&timers));
            let (request, rest) = request_body::track_unread(request);
            ResponseFuture {
                serving: Box::pin(server.serve(request, timers)),
                rest,
                answer: None,
                continues_upload: S::continues_upload,
            }
        })
    };
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_FIELDS)
        // An agent that closes its sending side is gone: its exchange is cancelled.
        .half_close(false)
        // If this were on, hyper would buffer responses for as long as it finds requests to read.
        // An agent that pipelines requests and reads no response could fill the memory (F-169).
        .pipeline_flush(false)
        .serve_connection(io, service);
    // Errors of the agent's side need no report: exchanges in flight record their own outcome.
    let closed = TimedConnection {
        connection: std::pin::pin!(connection),
        timers: &timers,
    }
    .await;
    if let Some(fault) = closed.err().as_ref().and_then(HeadFault::from_hyper) {
        server.head_refused(fault);
    }
}

/// The response to one request.
///
/// The future of the service is boxed, because hyper reserves space for this future as long as the
/// socket lives, even while it is idle, and moves it. An `async` block around the future of the
/// service would store the request a second time.
struct ResponseFuture<F, B> {
    serving: Pin<Box<F>>,
    /// The request's body, if it has one.
    rest: Option<UnreadBody>,
    /// The response, while the rest of the request's body is read.
    answer: Option<Box<Response<B>>>,
    continues_upload: fn(&B) -> bool,
}

impl<F: Future<Output = Response<B>>, B> Future for ResponseFuture<F, B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut answer = match this.answer.take() {
            Some(answer) => *answer,
            None => ready!(this.serving.as_mut().poll(cx)),
        };
        // If the socket closes anyway, reading the rest would gain nothing.
        if let Some(rest) = &mut this.rest
            && !answer.headers().contains_key(CONNECTION)
        {
            let goes_on = (this.continues_upload)(answer.body());
            let Poll::Ready(is_kept) = rest.poll_drain(cx, goes_on) else {
                this.answer = Some(Box::new(answer));
                return Poll::Pending;
            };
            if !is_kept {
                let headers = answer.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Poll::Ready(Ok(answer))
    }
}

/// A connection of hyper that ends when a limit of its socket has passed.
struct TimedConnection<'a, C> {
    connection: Pin<&'a mut C>,
    timers: &'a SocketTimers,
}

impl<C: Future<Output = Result<(), hyper::Error>>> Future for TimedConnection<'_, C> {
    type Output = Result<(), hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.timers.register_waker(cx.waker());
        if self.timers.must_close() {
            // `AgentSocket::poll_shutdown` returns when the time to close is over, and hyper then
            // reports the error that ended the socket.
            if self.timers.is_closing()
                && let Poll::Ready(closed) = self.connection.as_mut().poll(cx)
            {
                return Poll::Ready(closed);
            }
            return Poll::Ready(Ok(()));
        }
        self.connection.as_mut().poll(cx)
    }
}

impl<C> Drop for TimedConnection<'_, C> {
    fn drop(&mut self) {
        self.timers.mark_closed();
    }
}

#[cfg(test)]
mod tests;
