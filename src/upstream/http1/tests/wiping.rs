//! Checks that the buffers of an idle socket contain no secrets.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderName;
use http::header::AUTHORIZATION;
use tokio::io::AsyncWriteExt as _;

use super::{AfterPieces, RecordingPool, exchange, pieces, pipe, post_head};
use crate::upstream::head::{Field, Framing, RequestHead};

/// Reads the memory of this process from an address.
fn memory(place: *const u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let own = File::open("/proc/self/mem").unwrap();
    own.read_exact_at(&mut bytes, place.addr() as u64).unwrap();
    bytes
}

#[tokio::test]
async fn the_head_with_its_credential_does_not_stay_in_an_idle_sockets_buffer() {
    // F-254
    for (framing, body) in [
        (Framing::Absent, None),
        (Framing::Length(4), pieces(&[b"body"], AfterPieces::End)),
        (
            Framing::Chunked,
            pieces(&[&[b'x'; 40_000]], AfterPieces::End),
        ),
    ] {
        let pool = Arc::new(RecordingPool::default());
        let (socket, mut upstream) = pipe(1 << 20);
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        upstream.write_all(answer).await.unwrap();
        let name: HeaderName = AUTHORIZATION;
        let secret = b"Bearer planted-token-0123456789";
        let fields = [Field {
            name: &name,
            value: secret,
            sensitive: true,
        }];
        let head = RequestHead {
            fields: &fields,
            ..post_head(framing)
        };
        let sent = exchange(
            socket,
            &head,
            body,
            pool.socket_return(),
            &AtomicBool::default(),
        )
        .await;
        drop(sent.map_err(|broken| broken.failure).unwrap());
        let idle = pool.kept_socket().expect("the pool keeps the socket");
        let (buffer, length) = (idle.output.as_ptr(), idle.output.capacity());
        let left = memory(buffer, length);
        let is_left = left.windows(secret.len()).any(|part| part == secret);
        assert!(!is_left, "{framing:?}");
    }
}
