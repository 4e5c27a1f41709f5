//! The task of one agent's socket, from accept to close: hyper's HTTP/1.1 server with egressd's
//! time limits.
//!
//! hyper's connection keeps its buffers for as long as it lives, so it exists only while the socket
//! is in use. It is created when the first byte arrives. When the socket has been idle for a second
//! (`SocketTimers::take_parking_request`), the connection is taken apart, and the socket waits
//! without it.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite as _;

use super::agent_socket::AgentSocket;
use super::agent_stream::AgentStream;
use super::request_body::{self, RequestBody, UnreadBody};
use super::socket_timers::SocketTimers;
use super::unparsed_head::{HeadFault, HeadReply, MAX_FIELDS, UnparsedHead, WrittenTarget};

/// The maximum size of a request head in bytes. hyper rejects larger heads with status 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A service that answers requests.
pub trait Serve: Send + Sync + 'static {
    /// The body of its responses. An error aborts the exchange.
    type Body: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync>
        + Send
        + 'static;

    /// Called when hyper has rejected bytes as a request head. The socket is closed after the
    /// answer, unless the head is replaced.
    fn answer_unparsed_head(&self, _head: UnparsedHead<'_>) -> HeadReply {
        HeadReply::Default
    }

    /// Returns whether the request's body is still being sent to an upstream while this response is
    /// sent. The socket is then kept if the upload succeeds.
    fn continues_upload(_body: &Self::Body) -> bool {
        false
    }

    /// Answers one request. `timers` belong to the socket that it arrived on. Head and body are two
    /// arguments, because a future that takes a `Request` apart stores it in addition to its parts.
    fn serve(
        self: Arc<Self>,
        head: Parts,
        body: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Serves one socket until either side closes it or a limit cuts it off.
// The task takes most of the memory of a parked socket, and it has the size of its largest state
// all the time. So hyper's connection is boxed, and no function here is an `async fn`.
#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` stores an argument a second time if it moves it"
)]
pub fn serve_socket<S: Serve>(
    mut socket: AgentSocket<impl AgentStream>,
    server: Arc<S>,
) -> impl Future<Output = ()> + Send {
    async move {
        let mut target = None;
        while socket.park().await {
            match serve_until_idle(socket, &server, target.take()).await {
                ServeEnd::Idle(idle) => socket = idle,
                ServeEnd::Closed => return,
                ServeEnd::Unparsed(idle, failure) => {
                    socket = idle;
                    match failure.reply(&mut socket, &*server) {
                        Ok(written) => target = Some(written),
                        // Boxed, because this is rare.
                        Err(answer) => return Box::pin(send_last(socket, answer)).await,
                    }
                }
            }
        }
    }
}

/// The end of [`serve_until_idle`].
enum ServeEnd<I: AgentStream> {
    /// The socket is to be parked.
    Idle(AgentSocket<I>),
    /// The socket is closed.
    Closed,
    /// hyper has rejected a head.
    Unparsed(AgentSocket<I>, ParseFailure),
}

/// A head that hyper has rejected.
struct ParseFailure {
    fault: HeadFault,
    /// The bytes that hyper has read but not consumed.
    unparsed: Bytes,
}

impl ParseFailure {
    /// Passes the head to the service. Returns the target of a replaced head, which is then the
    /// next to be read, or otherwise the last bytes that are to be sent.
    fn reply(
        self,
        socket: &mut AgentSocket<impl AgentStream>,
        server: &impl Serve,
    ) -> Result<Box<WrittenTarget>, Vec<u8>> {
        let Self { fault, unparsed } = self;
        let record = socket.take_head();
        let rejected = record.unparsed_head(fault, &unparsed);
        match server.answer_unparsed_head(rejected) {
            HeadReply::Answer(answer) if rejected.can_answer => Err(answer.into()),
            HeadReply::Replace { mut head, target } if rejected.is_whole => {
                head.extend_from_slice(&unparsed);
                socket.put_back(head.into());
                Ok(Box::new(target))
            }
            HeadReply::Default | HeadReply::Answer(_) | HeadReply::Replace { .. } => {
                Err(record.answer)
            }
        }
    }
}

/// Sends the last bytes of a socket and closes it, within the limits of the socket.
async fn send_last(mut socket: AgentSocket<impl AgentStream>, bytes: Vec<u8>) {
    socket.begin_answer();
    let mut rest = bytes.as_slice();
    let sending = poll_fn(|cx| {
        let timers = Arc::clone(socket.timers());
        timers.register_waker(cx.waker());
        if timers.must_close() && !timers.is_closing() {
            return Poll::Ready(Ok(()));
        }
        let mut socket = Pin::new(&mut socket);
        while !rest.is_empty() {
            match ready!(socket.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Ok(())),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        ready!(socket.as_mut().poll_flush(cx))?;
        socket.poll_shutdown(cx)
    });
    // An agent that has left gets no answer.
    let _: io::Result<()> = sending.await;
}

/// Serves requests until the socket has been idle for a while or has to be closed. The first
/// request gets `target` as an extension.
fn serve_until_idle<S: Serve, I: AgentStream>(
    socket: AgentSocket<I>,
    server: &Arc<S>,
    target: Option<Box<WrittenTarget>>,
) -> impl Future<Output = ServeEnd<I>> + Send + use<S, I> {
    let target = Cell::new(target);
    let timers = Arc::clone(socket.timers());
    let service = {
        let (server, timers) = (Arc::clone(server), Arc::clone(&timers));
        service_fn(move |request: Request<Incoming>| {
            timers.begin_exchange();
            let (mut head, incoming) = request.into_parts();
            if let Some(target) = target.take() {
                head.extensions.insert(*target);
            }
            let (server, timers) = (Arc::clone(&server), Arc::clone(&timers));
            let (body, rest) = request_body::track_unread(&head, incoming, &timers);
            ResponseFuture {
                serving: Box::pin(server.serve(head, body, timers)),
                rest,
                answer: None,
                continues_upload: S::continues_upload,
            }
        })
    };
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_FIELDS)
        // `AgentSocket` watches for agents that leave, at a lower cost than hyper.
        .half_close(true)
        // If this were on, hyper would buffer responses for as long as it finds requests to read.
        // An agent that pipelines requests and reads no response could fill the memory (F-169).
        .pipeline_flush(false)
        .serve_connection(TokioIo::new(socket), service);
    let mut busy = BusySocket {
        connection: Box::new(connection),
        timers,
        waker: None,
    };
    async move {
        match (&mut busy).await {
            BusyEnd::Idle => {
                // hyper asks for this call only after the end of a connection, because it discards
                // bytes that are not written yet and a body that is not read yet.
                // `take_parking_request` has excluded both.
                let parts = busy.connection.into_parts();
                let mut socket = parts.io.into_inner();
                socket.timers().record_idleness(parts.read_buf.is_empty());
                socket.put_back(parts.read_buf);
                ServeEnd::Idle(socket)
            }
            BusyEnd::Closed(closed) => {
                let Err(error) = closed else {
                    return ServeEnd::Closed;
                };
                let parts = busy.connection.into_parts();
                let unparsed = parts.read_buf;
                match HeadFault::from_hyper(&error, &unparsed) {
                    Some(fault) => {
                        let failure = ParseFailure { fault, unparsed };
                        ServeEnd::Unparsed(parts.io.into_inner(), failure)
                    }
                    // Other errors of the agent's side need no report: exchanges in flight record
                    // their own outcome.
                    None => ServeEnd::Closed,
                }
            }
        }
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

/// A connection of hyper that ends when a limit of its socket has passed, or when the socket is to
/// be parked.
struct BusySocket<C> {
    connection: Box<C>,
    timers: Arc<SocketTimers>,
    /// The waker that is stored in the timers.
    waker: Option<Waker>,
}

/// The end of a [`BusySocket`].
enum BusyEnd {
    /// hyper waits for the first byte of a request, and has nothing to write.
    Idle,
    /// The socket has to be closed, if hyper has not done so.
    Closed(Result<(), hyper::Error>),
}

impl<C: Future<Output = Result<(), hyper::Error>> + Unpin> Future for BusySocket<C> {
    type Output = BusyEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BusyEnd> {
        let this = &mut *self;
        // Comparing takes no lock, and the waker of a task stays the same.
        if !matches!(&this.waker, Some(known) if known.will_wake(cx.waker())) {
            this.timers.register_waker(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        let connection = Pin::new(&mut *this.connection);
        if this.timers.must_close() {
            // `AgentSocket::poll_shutdown` returns when the time to close is over, and hyper then
            // reports the error that ended the socket.
            if this.timers.is_closing()
                && let Poll::Ready(closed) = connection.poll(cx)
            {
                return Poll::Ready(BusyEnd::Closed(closed));
            }
            return Poll::Ready(BusyEnd::Closed(Ok(())));
        }
        match connection.poll(cx) {
            Poll::Ready(closed) => Poll::Ready(BusyEnd::Closed(closed)),
            Poll::Pending if this.timers.take_parking_request() => Poll::Ready(BusyEnd::Idle),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
