//! The requests that count as sent, and the faults of a TLS session after its handshake.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustls::{AlertDescription, Error};
use tokio::io::AsyncReadExt as _;

use super::{AfterPieces, RecordingPool, exchange, pieces, pipe, post_head};
use crate::upstream::failure::{Failure, TlsFault};
use crate::upstream::head::Framing;
use crate::upstream::http1::socket_failure;

#[tokio::test]
async fn a_request_whose_body_fails_at_once_was_not_sent() {
    let (socket, mut upstream) = pipe(1 << 20);
    let head = post_head(Framing::Length(3));
    let sent = AtomicBool::default();
    let return_to = Arc::<RecordingPool>::default().socket_return();
    let body = pieces(&[], AfterPieces::Fail);
    let broken = exchange(socket, &head, body, return_to, &sent).await;
    assert_eq!(broken.err().unwrap().failure, Failure::RequestBody);
    assert!(!sent.load(Relaxed));
    assert_eq!(upstream.read(&mut [0; 8]).await.unwrap(), 0);
}

#[test]
fn a_tls_fault_of_a_session_is_not_one_of_its_handshake() {
    for (error, fault) in [
        (Error::DecryptError, TlsFault::Session),
        (Error::PeerSentOversizedRecord, TlsFault::Session),
        (
            Error::AlertReceived(AlertDescription::BadRecordMac),
            TlsFault::Alert,
        ),
        (
            Error::AlertReceived(AlertDescription::CertificateRequired),
            TlsFault::CertificateRequired,
        ),
    ] {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        assert_eq!(socket_failure(&error), Failure::Tls(fault));
    }
}
