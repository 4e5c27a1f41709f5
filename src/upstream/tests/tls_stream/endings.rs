//! The end of a session: `close_notify`, the end of the pipe, and alerts in both directions.

use std::io::{ErrorKind, Write as _};

use rustls::{AlertDescription, Error, version};
use tokio::io::AsyncWriteExt as _;

use super::peer::Fixture;
use super::{LARGE_PIPE, VERSIONS, read, tls_error};

#[tokio::test]
async fn bytes_after_close_notify_are_ignored() {
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        peer.session.writer().write_all(b"last").unwrap();
        peer.session.send_close_notify();
        let mut records = peer.take_records();
        records.extend(b"not a record");
        peer.pipe.write_all(&records).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "last");
        for _ in 0..2 {
            assert_eq!(read(&mut stream).await.unwrap(), "");
        }
        // The other direction is still open.
        stream.write_all(b"reply").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(peer.receive(5).await, b"reply");
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_an_error() {
    // F-92
    for version in VERSIONS {
        for left_out in [0, 1] {
            let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
            peer.send(b"whole").await;
            let records = peer.encrypt(b"last");
            let sent = &records[..records.len() - left_out];
            peer.pipe.write_all(sent).await.unwrap();
            drop(peer);
            let data = read(&mut stream).await.unwrap();
            assert_eq!(data, if left_out == 0 { "wholelast" } else { "whole" });
            let ended = read(&mut stream).await.unwrap_err();
            assert_eq!(ended.kind(), ErrorKind::UnexpectedEof);
        }
    }
}

#[tokio::test]
async fn an_end_during_the_handshake_is_an_error() {
    let fixture = Fixture::new(&version::TLS13);
    let (connecting, mut peer) = fixture.start(LARGE_PIPE);
    let serving = async move {
        peer.process().await.unwrap();
        let flight = peer.take_records();
        let part = &flight[..flight.len() - 1];
        peer.pipe.write_all(part).await.unwrap();
        peer.pipe.shutdown().await.unwrap();
        peer
    };
    let (stream, _peer) = tokio::join!(connecting, serving);
    assert_eq!(stream.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_corrupt_record_ends_the_session_with_an_alert() {
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        let intact = peer.encrypt(b"intact");
        let mut corrupt = peer.encrypt(b"corrupt");
        *corrupt.last_mut().unwrap() ^= 1;
        let records = [intact, corrupt].concat();
        peer.pipe.write_all(&records).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap(), "intact");
        for _ in 0..2 {
            assert_eq!(tls_error(read(&mut stream).await), Error::DecryptError);
        }
        assert_eq!(tls_error(stream.write_all(b"x").await), Error::DecryptError);
        let alert = Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(peer.process().await, Err(alert));
    }
}

#[tokio::test]
async fn an_alert_is_reported_after_the_data_before_it() {
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        peer.send(b"data").await;
        // rustls answers a broken record with an alert.
        let mut broken = &[23, 3, 3, 0, 32, 0][..];
        peer.session.read_tls(&mut broken).unwrap();
        let mut rest = &[0; 31][..];
        peer.session.read_tls(&mut rest).unwrap();
        assert!(peer.session.process_new_packets().is_err());
        peer.send_records().await;
        assert_eq!(read(&mut stream).await.unwrap(), "data");
        let alert = Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(tls_error(read(&mut stream).await), alert);
    }
}

#[tokio::test]
async fn an_alert_ends_the_handshake() {
    let fixture = Fixture::with(&version::TLS13, |config| {
        config.alpn_protocols = vec![b"other".to_vec()];
    });
    let (connecting, mut peer) = fixture.start(LARGE_PIPE);
    let serving = async move {
        assert!(peer.process().await.is_err());
        peer.send_records().await;
        peer
    };
    let (stream, _peer) = tokio::join!(connecting, serving);
    let alert = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(tls_error(stream), alert);
}

#[tokio::test]
async fn an_untrusted_certificate_is_answered_with_an_alert() {
    let fixture = Fixture {
        client: Fixture::new(&version::TLS13).client,
        ..Fixture::new(&version::TLS13)
    };
    let (connecting, mut peer) = fixture.start(LARGE_PIPE);
    let serving = async {
        peer.process().await.unwrap();
        peer.send_records().await;
        peer.process().await.unwrap_err()
    };
    let (stream, alert) = tokio::join!(connecting, serving);
    assert!(matches!(tls_error(stream), Error::InvalidCertificate(_)));
    assert!(matches!(alert, Error::AlertReceived(_)), "{alert:?}");
}

#[tokio::test]
async fn a_write_after_both_sides_have_closed_is_an_error() {
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        peer.session.send_close_notify();
        peer.send_records().await;
        assert_eq!(read(&mut stream).await.unwrap(), "");
        stream.shutdown().await.unwrap();
        for _ in 0..2 {
            let error = stream.write(b"lost").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        stream.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_shutdown_sends_close_notify_once() {
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        stream.write_all(b"last").await.unwrap();
        stream.shutdown().await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(peer.receive(4).await, b"last");
        while peer.process().await.unwrap() {}
        let state = peer.session.process_new_packets().unwrap();
        assert!(state.peer_has_closed());
    }
}
