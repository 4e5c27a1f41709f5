//! Sockets between two requests: which are fit for another, and which broke while nobody looked.

use std::sync::Arc;

use http::Method;
use tokio::io::AsyncWriteExt as _;

use super::{Shelf, get, pipe, send};
use crate::upstream::failure::Failure;
use crate::upstream::head::Framing;

#[tokio::test]
async fn a_socket_that_was_closed_while_idle_is_stale_and_no_other() {
    // F-135
    let shelf = Arc::new(Shelf::default());
    assert_eq!(get(b"", &shelf).await.map(drop), Err(Failure::Closed));
    assert_eq!(
        get(b"HTTP/1.1 200 OK\r\n", &shelf).await.map(drop),
        Err(Failure::Closed)
    );
    for (second, stale) in [(&b""[..], true), (b"HTTP/1.1 2", false)] {
        let (socket, mut upstream) = pipe(1 << 20);
        upstream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        let _first = send(socket, &Method::GET, Framing::Absent, None, &shelf)
            .await
            .map_err(|broken| broken.failure)
            .unwrap();
        let mut kept = shelf.taken().unwrap();
        assert!(kept.is_fresh().await);
        upstream.write_all(second).await.unwrap();
        upstream.shutdown().await.unwrap();
        let broken = send(kept, &Method::GET, Framing::Absent, None, &shelf)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!((broken.failure, broken.stale), (Failure::Closed, stale));
    }
}

#[tokio::test]
async fn what_comes_unasked_spoils_an_idle_socket() {
    let shelf = Arc::new(Shelf::default());
    let (socket, mut upstream) = pipe(1 << 20);
    upstream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let _first = send(socket, &Method::GET, Framing::Absent, None, &shelf)
        .await
        .map_err(|broken| broken.failure)
        .unwrap();
    let mut kept = shelf.taken().unwrap();
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
        .await
        .unwrap();
    assert!(!kept.is_fresh().await);
}

#[tokio::test]
async fn a_closed_idle_socket_is_told_without_waiting() {
    let shelf = Arc::new(Shelf::default());
    let (socket, mut upstream) = pipe(1 << 20);
    upstream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let first = send(socket, &Method::GET, Framing::Absent, None, &shelf).await;
    assert_eq!(first.map(drop).map_err(|broken| broken.failure), Ok(()));
    let mut kept = shelf.taken().unwrap();
    assert!(kept.seems_fresh());
    drop(upstream);
    assert!(!kept.seems_fresh());
}
