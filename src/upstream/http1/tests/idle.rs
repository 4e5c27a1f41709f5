//! Sockets between two requests: whether they can serve another, and whether they broke while they
//! were idle.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{IdleState, Pipe, RecordingPool, Socket, get, pipe, send};
use crate::telemetry::metrics::{SocketCountGuard, SocketCounters};
use crate::upstream::failure::Failure;
use crate::upstream::head::Framing;

/// Returns a counter that is not read.
pub(super) fn uncounted() -> SocketCountGuard {
    Arc::<SocketCounters>::default().count_socket()
}

/// Returns a socket that has served one request and is idle, and the upstream's end of it.
async fn idle_socket(pool: &Arc<RecordingPool>) -> (Box<Socket<Pipe>>, DuplexStream) {
    let (socket, mut upstream) = pipe(1 << 20);
    upstream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let first = send(socket, &Method::GET, Framing::Absent, None, pool).await;
    assert_eq!(first.map(drop).map_err(|broken| broken.failure), Ok(()));
    (
        pool.kept_socket().expect("the pool keeps the socket"),
        upstream,
    )
}

#[tokio::test]
async fn only_a_socket_that_was_closed_while_idle_is_stale() {
    // F-135
    let pool = Arc::new(RecordingPool::default());
    assert_eq!(get(b"", &pool).await.map(drop), Err(Failure::Closed));
    let half = get(b"HTTP/1.1 200 OK\r\n", &pool).await;
    assert_eq!(half.map(drop), Err(Failure::Closed));
    for (second, stale) in [(&b""[..], true), (b"HTTP/1.1 2", false)] {
        let (mut kept, mut upstream) = idle_socket(&pool).await;
        assert_eq!(kept.idle_state().await, IdleState::Usable);
        upstream.write_all(second).await.unwrap();
        upstream.shutdown().await.unwrap();
        let again = send(kept, &Method::GET, Framing::Absent, None, &pool).await;
        let broken = again.map(drop).unwrap_err();
        assert_eq!((broken.failure, broken.stale), (Failure::Closed, stale));
    }
}

#[tokio::test]
async fn a_response_wakes_the_task_that_has_checked_the_idle_socket() {
    let pool = Arc::default();
    let (mut kept, mut upstream) = idle_socket(&pool).await;
    let exchange = async {
        assert_eq!(kept.idle_state().await, IdleState::Usable);
        send(kept, &Method::GET, Framing::Absent, None, &pool).await
    };
    let answer = async {
        // Both requests; the first one was not read yet.
        let mut requests = Vec::new();
        while requests.windows(4).filter(|end| end == b"\r\n\r\n").count() < 2 {
            upstream.read_buf(&mut requests).await.unwrap();
        }
        let response = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        upstream.write_all(response).await.unwrap();
    };
    let (answered, ()) = tokio::join!(exchange, answer);
    let status = answered.map(|response| response.status().as_u16());
    assert_eq!(status.map_err(|broken| broken.failure), Ok(404));
}

#[tokio::test]
async fn unrequested_bytes_make_an_idle_socket_unusable() {
    // F-124
    let (mut kept, mut upstream) = idle_socket(&Arc::default()).await;
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(kept.idle_state().await, IdleState::Surplus);
}

#[tokio::test]
async fn a_408_before_closing_is_not_surplus() {
    // F-227
    let (mut kept, mut upstream) = idle_socket(&Arc::default()).await;
    let timeout = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n";
    upstream.write_all(timeout).await.unwrap();
    assert_eq!(kept.idle_state().await, IdleState::Closed);
}

#[tokio::test]
async fn a_socket_is_not_used_in_the_last_second_of_its_announced_time() {
    // F-223
    let pool = Arc::new(RecordingPool::default());
    let (socket, mut upstream) = pipe(1 << 20);
    let answer = b"HTTP/1.1 204 No Content\r\nkeep-alive: timeout=60\r\n\r\n";
    upstream.write_all(answer).await.unwrap();
    let before = Instant::now();
    let first = send(socket, &Method::GET, Framing::Absent, None, &pool).await;
    assert_eq!(first.map(drop).map_err(|broken| broken.failure), Ok(()));
    let mut kept = pool.kept_socket().expect("the pool keeps the socket");
    let usable = kept.usable_until.expect("a time was announced");
    let limit = Duration::from_secs(59);
    assert!((before + limit..=Instant::now() + limit).contains(&usable));
    assert_eq!(kept.idle_state().await, IdleState::Usable);
    kept.usable_until = Some(Instant::now());
    assert_eq!(kept.idle_state().await, IdleState::Closed);
}

#[tokio::test]
async fn a_closed_idle_socket_is_detected_without_waiting() {
    let (mut kept, upstream) = idle_socket(&Arc::default()).await;
    assert_eq!(kept.idle_state_now(), IdleState::Usable);
    drop(upstream);
    assert_eq!(kept.idle_state_now(), IdleState::Closed);
}

#[tokio::test]
async fn the_hook_runs_for_the_first_request_only() {
    thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
    }
    let pool = Arc::new(RecordingPool::default());
    let (socket, mut upstream) = pipe(1 << 20);
    let mut socket = socket.on_first_request(|_| CALLS.set(CALLS.get() + 1));
    for _ in 0..2 {
        upstream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        let sent = send(socket, &Method::GET, Framing::Absent, None, &pool).await;
        assert_eq!(sent.map(drop).map_err(|broken| broken.failure), Ok(()));
        socket = pool.kept_socket().unwrap();
        assert_eq!(CALLS.get(), 1);
    }
}
