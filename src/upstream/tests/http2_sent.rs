//! The requests over HTTP/2 that count as sent.

use std::future::{Future as _, pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use bytes::Bytes;
use http::Method;
use tokio::io::DuplexStream;
use tokio::task::yield_now;

use super::http2_exchanges::{get, no_body, uncounted};
use crate::upstream::counted_tcp::ByteCounts;
use crate::upstream::http2::Session;

/// Returns a session with a server that answers no request, and allows one at a time.
async fn session_of_one_stream() -> Session {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(1);
        let mut connection = builder.handshake::<_, Bytes>(far).await.unwrap();
        let mut requests = Vec::new();
        while let Some(Ok(request)) = connection.accept().await {
            requests.push(request);
        }
        pending::<()>().await;
    });
    let session = Session::start_on::<DuplexStream>(near, |_| ByteCounts::default(), uncounted());
    session.await.unwrap()
}

#[tokio::test]
async fn a_request_that_waits_for_a_stream_was_not_sent() {
    let session = session_of_one_stream().await;
    let head = get(&Method::POST, &[]);
    let sent: [AtomicBool; 3] = Default::default();
    {
        let exchange = |flag| Box::pin(session.exchange(&head, Some(no_body()), flag));
        let mut exchanges: Vec<_> = sent.iter().map(exchange).collect();
        for _ in 0..50 {
            for exchange in &mut exchanges {
                let polled = poll_fn(|cx| Poll::Ready(exchange.as_mut().poll(cx)));
                assert!(polled.await.is_pending());
            }
            yield_now().await;
        }
    }
    assert!(sent[0].load(Relaxed));
    // The second one is in h2 already, which may write it at any time.
    assert!(!sent[2].load(Relaxed));
}
