//! Responses that begin before the whole request is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{AfterPieces, Http1Body, Pipe, RecordingPool, pieces, pipe, read_written, send};
use crate::upstream::failure::Failure;
use crate::upstream::head::Framing;

#[tokio::test]
async fn an_early_error_response_stops_the_upload_and_the_socket_is_not_kept() {
    // F-134
    let (socket, mut upstream) = pipe(1 << 20);
    let pool = Arc::new(RecordingPool::default());
    upstream
        .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        .await
        .unwrap();
    let response = send(
        socket,
        &Method::POST,
        Framing::Length(10),
        pieces(&[b"abc"], AfterPieces::Never),
        &pool,
    )
    .await;
    let response = response.map_err(|broken| broken.failure).unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "no"
    );
    assert!(pool.kept_socket().is_none());
    assert!(read_written(upstream).await.ends_with("abc"));
}

/// Reads the upload until these bytes have arrived.
async fn read_to(upstream: &mut DuplexStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        assert!(
            upstream.read_buf(&mut bytes).await.unwrap() > 0,
            "the upload ended too early"
        );
    }
    bytes
}

#[tokio::test]
async fn an_upload_continues_while_the_early_response_is_unread() {
    // F-220: an agent that sends its whole body first does not block the exchange, nor does an
    // upstream that reads slowly.
    let (socket, mut upstream) = pipe(1000);
    let pool = Arc::new(RecordingPool::default());
    let large = [b'x'; 50_000];
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n";
    upstream.write_all(head).await.unwrap();
    let body = pieces(&[&large, b"end"], AfterPieces::End);
    let framing = Framing::Length(50_003);
    let response = send(socket, &Method::POST, framing, body, &pool).await;
    let response = response.map_err(|broken| broken.failure).unwrap();
    let sent = read_to(&mut upstream, b"xend").await;
    assert_eq!(sent.iter().filter(|byte| **byte == b'x').count(), 50_001);
    let answering = tokio::spawn(async move {
        upstream.write_all(&[b'y'; 5000]).await.unwrap();
        upstream
    });
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, Bytes::from(vec![b'y'; 5000]));
    assert!(
        pool.kept_socket().is_none(),
        "the response began before the body was sent"
    );
    // The socket is closed.
    assert_eq!(read_written(answering.await.unwrap()).await, "");
}

#[tokio::test]
async fn a_failing_agent_body_aborts_an_early_response() {
    // F-220
    for first in [&b""[..], b"some"] {
        let (socket, mut upstream) = pipe(1000);
        let pool = Arc::new(RecordingPool::default());
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        upstream.write_all(&[head, first].concat()).await.unwrap();
        let body = pieces(&[&[b'x'; 20_000]], AfterPieces::Fail);
        let response = send(socket, &Method::PUT, Framing::Chunked, body, &pool).await;
        let body = response
            .map_err(|broken| broken.failure)
            .unwrap()
            .into_body();
        // The failure is visible once the upstream has read the bytes before it.
        let reading = tokio::spawn(async move { read_written(upstream).await });
        let failed = body.collect().await.map(|body| body.to_bytes());
        assert_eq!(failed, Err(Failure::RequestBody));
        assert!(!reading.await.unwrap().contains("\r\n0\r\n"));
    }
}

/// Sends an upload that never ends to an upstream that has already written `response`. Returns the
/// response's body, the pool and the upstream's end of the pipe.
async fn start_endless_upload(
    response: &[u8],
) -> (Http1Body<Pipe>, Arc<RecordingPool>, DuplexStream) {
    let (socket, mut upstream) = pipe(1000);
    let pool = Arc::new(RecordingPool::default());
    upstream.write_all(response).await.unwrap();
    let body = pieces(&[b"abc"], AfterPieces::Never);
    let response = send(socket, &Method::PUT, Framing::Chunked, body, &pool).await;
    let response = response.map_err(|broken| broken.failure).unwrap();
    (response.into_body(), pool, upstream)
}

#[tokio::test]
async fn a_broken_early_response_is_not_whole_and_ends_the_upload() {
    // F-220
    let broken = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n";
    let (body, _, upstream) = start_endless_upload(broken).await;
    assert!(body.collect().await.is_err());
    read_written(upstream).await;
}

#[tokio::test]
async fn dropping_an_early_response_ends_the_upload() {
    // F-220
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    let (body, _, upstream) = start_endless_upload(head).await;
    drop(body);
    read_written(upstream).await;
}

#[tokio::test]
async fn bytes_after_an_early_response_are_surplus() {
    // F-220, F-227
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore";
    let (body, pool, upstream) = start_endless_upload(response).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(pool.surplus.load(Relaxed), 1);
    read_written(upstream).await;
}
