//! One agent's socket from accept to close: hyper's server under our watch.

use std::convert::Infallible;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::agent_socket::AgentSocket;
use super::watch::Watch;

/// The largest request head, in bytes; hyper answers 431 beyond.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most fields of a request head; hyper answers 431 beyond.
const MAX_FIELDS: usize = 100;

/// What answers requests.
pub trait Serve: Send + Sync + 'static {
    /// The body of its answers. An error aborts the exchange.
    type Body: http_body::Body<Data = bytes::Bytes, Error: std::error::Error + Send + Sync>
        + Send
        + 'static;

    /// Answers one request. `watch` is that of the socket it came on.
    fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        watch: Arc<Watch>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Serves one socket until either side closes it or a limit cuts it off.
pub async fn run<S, I>(stream: I, watch: Arc<Watch>, server: Arc<S>)
where
    S: Serve,
    I: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let io = TokioIo::new(AgentSocket::new(stream, Arc::clone(&watch)));
    let service = {
        let watch = Arc::clone(&watch);
        service_fn(move |request| {
            watch.exchange_begins();
            let (server, watch) = (Arc::clone(&server), Arc::clone(&watch));
            // Boxed: hyper keeps room for this future as long as the socket lives, idle or not, and moves it about.
            Box::pin(async move { Ok::<_, Infallible>(server.serve(request, watch).await) })
        })
    };
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_FIELDS)
        .half_close(false)
        .serve_connection(io, service);
    // What breaks on the agent's side of the wire is the agent's business; exchanges under way have accounted for themselves.
    let _closed = Watched {
        connection: std::pin::pin!(connection),
        watch: &watch,
    }
    .await;
}

struct Watched<'a, C> {
    connection: Pin<&'a mut C>,
    watch: &'a Watch,
}

impl<C: Future<Output = Result<(), hyper::Error>>> Future for Watched<'_, C> {
    type Output = Result<(), hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.watch.register(cx.waker());
        if self.watch.is_cut() {
            return Poll::Ready(Ok(()));
        }
        self.connection.as_mut().poll(cx)
    }
}

impl<C> Drop for Watched<'_, C> {
    fn drop(&mut self) {
        self.watch.gone();
    }
}
