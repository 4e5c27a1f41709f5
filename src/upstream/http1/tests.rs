//! Exchanges over an in-memory pipe: the exact bytes of requests, and the handling of responses.

mod early_response;
mod idle;
mod pipe;
mod sent;
mod wiping;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, Method, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use self::pipe::{Pipe, pipe};
use super::exchange::exchange;
use super::{Http1Body, IdleState, Socket, SocketReturn, SocketSink, SocketStream};
use crate::upstream::failure::{ExchangeFailure, Failure, ProtocolFault};
use crate::upstream::head::{Field, Framing, RequestHead};

#[derive(Default)]
struct RecordingPool {
    #[expect(clippy::vec_box, reason = "the trait takes boxed sockets")]
    sockets: Mutex<Vec<Box<Socket<Pipe>>>>,
    surplus: AtomicUsize,
}

impl SocketSink<Pipe> for RecordingPool {
    fn put_back(&self, socket: Box<Socket<Pipe>>) {
        self.sockets.lock().push(socket);
    }

    fn report_surplus(&self) {
        self.surplus.fetch_add(1, Relaxed);
    }
}

impl RecordingPool {
    fn kept_socket(&self) -> Option<Box<Socket<Pipe>>> {
        self.sockets.lock().pop()
    }

    fn socket_return(self: &Arc<Self>) -> SocketReturn<Pipe> {
        SocketReturn {
            pool: Arc::<Self>::clone(self),
            reuse: true,
        }
    }
}

/// An agent's body: some pieces, then its end, a failure, or no further event.
struct ScriptedPieces(VecDeque<Bytes>, AfterPieces);

#[derive(Clone, Copy)]
enum AfterPieces {
    End,
    Fail,
    Never,
}

impl http_body::Body for ScriptedPieces {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match (self.0.pop_front(), self.1) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, AfterPieces::End) => Poll::Ready(None),
            (None, AfterPieces::Fail) => Poll::Ready(Some(Err(Failure::RequestBody))),
            (None, AfterPieces::Never) => Poll::Pending,
        }
    }
}

fn pieces(pieces: &[&[u8]], then: AfterPieces) -> Option<ScriptedPieces> {
    let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
    Some(ScriptedPieces(pieces.collect(), then))
}

/// Returns the head of a POST request without fields.
fn post_head(framing: Framing) -> RequestHead<'static> {
    RequestHead {
        method: &Method::POST,
        target: &[b"/"],
        authority: "h",
        fields: &[],
        framing,
    }
}

async fn send(
    socket: Box<Socket<Pipe>>,
    method: &Method,
    framing: Framing,
    body: Option<ScriptedPieces>,
    pool: &Arc<RecordingPool>,
) -> Result<Response<Http1Body<Pipe>>, ExchangeFailure> {
    let name = HeaderName::from_static("x-a");
    let fields = [Field {
        name: &name,
        value: b"1",
        sensitive: false,
    }];
    let head = RequestHead {
        method,
        target: &[b"/a", b"?b"],
        authority: "h:1",
        fields: &fields,
        framing,
    };
    let not_read = AtomicBool::default();
    exchange(socket, &head, body, pool.socket_return(), &not_read).await
}

async fn get(
    answer: &[u8],
    pool: &Arc<RecordingPool>,
) -> Result<Response<Http1Body<Pipe>>, Failure> {
    let (socket, mut upstream) = pipe(1 << 20);
    upstream.write_all(answer).await.unwrap();
    upstream.shutdown().await.unwrap();
    send(socket, &Method::GET, Framing::Absent, None, pool)
        .await
        .map_err(|broken| broken.failure)
}

async fn read_written(mut upstream: DuplexStream) -> String {
    let mut bytes = Vec::new();
    upstream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn writes_the_request_and_keeps_the_socket() {
    const HEAD: &str = "/a?b HTTP/1.1\r\nhost: h:1\r\nx-a: 1\r\n";
    let large = vec![b'x'; 40_000];
    let large_text = String::from_utf8(large.clone()).unwrap();
    for (method, framing, body, expected) in [
        (
            Method::GET,
            Framing::Absent,
            None,
            format!("GET {HEAD}\r\n"),
        ),
        (
            Method::POST,
            Framing::Length(0),
            pieces(&[], AfterPieces::End),
            format!("POST {HEAD}content-length: 0\r\n\r\n"),
        ),
        (
            Method::POST,
            Framing::Length(4),
            pieces(&[b"ab", b"cd"], AfterPieces::End),
            format!("POST {HEAD}content-length: 4\r\n\r\nabcd"),
        ),
        (
            Method::PUT,
            Framing::Chunked,
            pieces(&[b"ab", b"", b"c"], AfterPieces::End),
            format!("PUT {HEAD}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        ),
        (
            Method::PUT,
            Framing::Chunked,
            pieces(&[&large, b"c"], AfterPieces::End),
            format!(
                "PUT {HEAD}transfer-encoding: chunked\r\n\r\n9c40\r\n{large_text}\r\n1\r\nc\r\n0\r\n\r\n"
            ),
        ),
    ] {
        let pool = Arc::new(RecordingPool::default());
        let (socket, mut upstream) = pipe(1 << 20);
        upstream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        let response = send(socket, &method, framing, body, &pool)
            .await
            .map_err(|broken| broken.failure)
            .unwrap();
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "ok"
        );
        let mut kept = pool.kept_socket().expect("the pool keeps the socket");
        assert_eq!(kept.idle_state().await, IdleState::Usable);
        drop(kept);
        assert_eq!(read_written(upstream).await, expected);
    }
}

#[tokio::test]
async fn a_slow_upstream_gets_all_of_a_large_body() {
    let (socket, mut upstream) = pipe(1000);
    let pool = Arc::new(RecordingPool::default());
    let body = pieces(
        &[&[b'x'; 50_000], &[b'y'; 10], &[b'z'; 30_000]],
        AfterPieces::End,
    );
    let reader = tokio::spawn(async move {
        let mut bytes = vec![0; 100_000];
        let mut length = 0;
        while !bytes.get(..length).unwrap().ends_with(b"zz0\r\n\r\n")
            && !bytes.get(..length).unwrap().ends_with(b"\r\n0\r\n\r\n")
        {
            length += upstream
                .read(bytes.get_mut(length..).unwrap())
                .await
                .unwrap();
        }
        upstream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        (
            bytes.iter().filter(|b| **b == b'x').count(),
            bytes.iter().filter(|b| **b == b'z').count(),
        )
    });
    let response = send(socket, &Method::PUT, Framing::Chunked, body, &pool)
        .await
        .map_err(|broken| broken.failure);
    assert_eq!(response.unwrap().status(), 204);
    let (large, last) = reader.await.unwrap();
    // The head has one more `x`, in `x-a`.
    assert_eq!((large, last), (50_001, 30_000));
}

/// An agent's body that has data at the second poll.
struct DelayedBody(Option<Bytes>, bool);

impl http_body::Body for DelayedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if !std::mem::replace(&mut self.1, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn a_head_and_a_small_body_are_sent_in_one_write() {
    let (socket, mut upstream) = pipe(1 << 20);
    let head = post_head(Framing::Length(3));
    let body = Some(DelayedBody(Some(Bytes::from_static(b"abc")), false));
    let sent = AtomicBool::default();
    let sending = exchange(
        socket,
        &head,
        body,
        Arc::<RecordingPool>::default().socket_return(),
        &sent,
    );
    let reading = async {
        let mut first = vec![0; 4096];
        let length = upstream.read(&mut first).await.unwrap();
        upstream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8(first[..length].to_vec()).unwrap()
    };
    let (answered, first) = tokio::join!(sending, reading);
    assert_eq!(
        answered.map_err(|broken| broken.failure).unwrap().status(),
        204
    );
    assert!(first.ends_with("\r\n\r\nabc"), "{first:?}");
    assert!(sent.load(Relaxed));
}

#[tokio::test]
async fn a_failing_agent_ends_the_exchange() {
    // F-47
    let (socket, upstream) = pipe(1 << 20);
    let pool = Arc::new(RecordingPool::default());
    let body = pieces(&[b"abc"], AfterPieces::Fail);
    let broken = send(socket, &Method::POST, Framing::Chunked, body, &pool)
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(broken.failure, Failure::RequestBody);
    assert!(
        !read_written(upstream).await.contains("\r\n0\r\n"),
        "the request looks complete to the upstream"
    );
}

#[tokio::test]
async fn bodies_end_at_their_announced_length_or_fail() {
    let incomplete = Err(ProtocolFault::Body.into());
    for (answer, body, kept) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Ok("ok"),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nset-cookie: x\r\n\r\n",
            Ok("ok"),
            true,
        ), // F-130
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
            Ok(""),
            false,
        ), // F-219
        ("HTTP/1.1 200 OK\r\n\r\nok", Ok("ok"), false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Ok("ok"),
            false,
        ),
        // F-124
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
            Ok("ok"),
            false,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nextra", Ok(""), false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nextra",
            Ok(""),
            false,
        ),
        // F-123
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
            incomplete,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok",
            incomplete,
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            incomplete,
            false,
        ),
    ] {
        let pool = Arc::new(RecordingPool::default());
        let response = get(answer.as_bytes(), &pool).await.unwrap();
        let collected = response
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes());
        assert_eq!(collected, body.map(Bytes::from), "{answer:?}");
        assert_eq!(pool.kept_socket().is_some(), kept, "{answer:?}");
    }
}

#[tokio::test]
async fn informational_heads_are_consumed_up_to_sixteen() {
    // F-118
    let pool = Arc::new(RecordingPool::default());
    let after = |count: usize| {
        [
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(count),
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        ]
        .concat()
    };
    assert_eq!(get(&after(16), &pool).await.unwrap().status(), 204);
    assert_eq!(
        get(&after(17), &pool).await.map(drop),
        Err(ProtocolFault::Informational.into())
    );
    let long = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n",
        "x".repeat(40_000)
    )
    .repeat(2);
    assert_eq!(
        get(long.as_bytes(), &pool).await.map(drop),
        Err(ProtocolFault::Informational.into())
    );
}
