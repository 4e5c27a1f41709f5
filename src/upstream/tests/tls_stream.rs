//! TLS streams against a server of rustls, over an in-memory pipe.

mod endings;
mod peer;

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{Error, HandshakeKind, SupportedProtocolVersion, version};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex,
};
use tokio::task::yield_now;

use self::peer::{Fixture, Peer, Trickle};
use super::world::NAME;
use crate::upstream::tls_stream::{MAX_RECORDS, MAX_UNSENT, TlsStream};

type Stream = Box<TlsStream<DuplexStream>>;

/// More room than any of these tests needs.
const LARGE_PIPE: usize = 1 << 22;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// Reads once.
async fn read<IO>(stream: &mut TlsStream<IO>) -> io::Result<BytesMut>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    let length = poll_fn(|cx| stream.poll_read_into(cx, &mut buffer)).await?;
    assert_eq!(buffer.len(), length);
    Ok(buffer)
}

/// Reads until there are this many bytes.
async fn read_exactly(stream: &mut Stream, length: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < length {
        let more = read(stream).await.unwrap();
        assert!(!more.is_empty(), "the stream ended early");
        data.extend_from_slice(&more);
    }
    data
}

fn tls_error<T>(result: io::Result<T>) -> Error {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    *error.into_inner().unwrap().downcast().unwrap()
}

/// Counts wake-ups.
#[derive(Default)]
struct WakeCount(Mutex<usize>);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}

#[tokio::test]
async fn both_versions_exchange_data_in_both_directions() {
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        stream.write_all(b"request").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(peer.receive(7).await, b"request");
        peer.send(b"response").await;
        assert_eq!(read(&mut stream).await.unwrap(), "response");
        let session = stream.session();
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_pipe_with_room_for_one_byte_changes_nothing() {
    for version in VERSIONS {
        let fixture = Fixture::new(version);
        let (sent, received) = ([b'q'; 20_000], [b'r'; 20_000]);
        let (connecting, peer) = fixture.start(1);
        let ours = async {
            let mut stream = connecting.await.unwrap();
            let data = read_exactly(&mut stream, received.len()).await;
            stream.write_all(&sent).await.unwrap();
            stream.flush().await.unwrap();
            data
        };
        let theirs = async {
            let mut peer = peer.handshake().await;
            peer.send(&received).await;
            peer.receive(sent.len()).await
        };
        let (ours, theirs) = tokio::join!(ours, theirs);
        assert!(ours == received && theirs == sent);
    }
}

#[tokio::test]
async fn a_second_handshake_resumes_the_session() {
    for version in VERSIONS {
        let fixture = Fixture::new(version);
        let (mut stream, mut peer) = fixture.connect(LARGE_PIPE).await;
        // Under TLS 1.3 the tickets arrive with the first data.
        peer.send(b"x").await;
        assert_eq!(read(&mut stream).await.unwrap(), "x");
        let (mut stream, mut peer) = fixture.connect(LARGE_PIPE).await;
        let kind = stream.session().handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
        peer.send(b"y").await;
        assert_eq!(read(&mut stream).await.unwrap(), "y");
    }
}

#[tokio::test]
async fn data_that_arrives_with_the_last_flight_is_kept() {
    // A server may send data before it has received the client's last flight (RFC 8446 §4.4.4).
    let fixture = Fixture::with(&version::TLS13, |config| config.send_half_rtt_data = true);
    let (connecting, mut peer) = fixture.start(LARGE_PIPE);
    let serving = async move {
        peer.process().await.unwrap();
        peer.send(b"early").await;
        peer.handshake().await
    };
    let (stream, _peer) = tokio::join!(connecting, serving);
    assert_eq!(read(&mut stream.unwrap()).await.unwrap(), "early");
}

#[tokio::test]
async fn records_that_arrived_together_are_returned_together_up_to_a_limit() {
    let (mut stream, mut peer) = Fixture::new(&version::TLS13).connect(LARGE_PIPE).await;
    let mut records = Vec::new();
    for _ in 0..=MAX_RECORDS {
        records.extend(peer.encrypt(b"z"));
    }
    peer.pipe.write_all(&records).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap().len(), MAX_RECORDS);
    // The last one is in the buffer, and is returned although the pipe has no more.
    assert_eq!(read(&mut stream).await.unwrap(), "z");
}

#[tokio::test]
async fn a_write_keeps_records_that_are_not_read_yet() {
    let (mut stream, mut peer) = Fixture::new(&version::TLS13).connect(LARGE_PIPE).await;
    for _ in 0..MAX_RECORDS + 2 {
        peer.send(b"z").await;
    }
    assert_eq!(read(&mut stream).await.unwrap().len(), MAX_RECORDS);
    stream.write_all(b"request").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(peer.receive(7).await, b"request");
    assert_eq!(read(&mut stream).await.unwrap(), "zz");
}

#[tokio::test]
async fn reads_without_data_let_other_tasks_run() {
    let fixture = Fixture::new(&version::TLS13);
    let (ours, theirs) = duplex(LARGE_PIPE);
    let name = ServerName::try_from(NAME).unwrap();
    let connecting = TlsStream::connect(Arc::clone(&fixture.client), name, Trickle(ours));
    let serving = Peer::new(&fixture.server, theirs).handshake();
    let (stream, mut peer) = tokio::join!(connecting, serving);
    let mut stream = stream.unwrap();
    peer.send(b"data").await;
    let wakes = Arc::new(WakeCount::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut buffer = BytesMut::new();
    let first = stream.poll_read_into(&mut Context::from_waker(&waker), &mut buffer);
    assert!(first.is_pending(), "{first:?}");
    assert!(stream.has_unread());
    assert_eq!(*wakes.0.lock(), 0, "other sockets come first");
    yield_now().await;
    assert_eq!(*wakes.0.lock(), 1, "there is more to read");
    assert_eq!(read(&mut stream).await.unwrap(), "data");
}

#[tokio::test]
async fn a_part_of_a_record_is_unread() {
    let (mut stream, mut peer) = Fixture::new(&version::TLS13).connect(LARGE_PIPE).await;
    let record = peer.encrypt(b"data");
    let (first, rest) = record.split_at(7);
    peer.pipe.write_all(first).await.unwrap();
    let mut buffer = BytesMut::new();
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        stream
            .poll_read_into(&mut context, &mut buffer)
            .is_pending()
    );
    assert!(stream.has_unread());
    peer.pipe.write_all(rest).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), "data");
    assert!(
        stream
            .poll_read_into(&mut context, &mut buffer)
            .is_pending()
    );
    assert!(!stream.has_unread());
}

#[tokio::test]
async fn messages_that_never_end_with_a_record_are_limited() {
    // The server sends so many tickets that they span more records than the buffer holds. rustls
    // can discard them only after the last one.
    let fixture = Fixture::with(&version::TLS13, |config| config.send_tls13_tickets = 5_000);
    let (mut stream, _peer) = fixture.connect(LARGE_PIPE).await;
    for _ in 0..2 {
        let error = tls_error(read(&mut stream).await);
        assert_eq!(error, Error::PeerSentOversizedRecord);
    }
    let error = tls_error(stream.write(b"x").await);
    assert_eq!(error, Error::PeerSentOversizedRecord);
    // 64 KiB for the messages, and 20 KiB.
    assert_eq!(stream.buffer_sizes().0, 84 * 1024);
}

#[tokio::test]
async fn buffers_grow_for_bodies_and_shrink_when_released() {
    const KIB: usize = 1024;
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(LARGE_PIPE).await;
        let body = [b'z'; 64 * KIB];
        peer.send(&body).await;
        assert!(read_exactly(&mut stream, body.len()).await == body);
        stream.write_all(&body).await.unwrap();
        stream.flush().await.unwrap();
        let (received, unsent) = stream.buffer_sizes();
        assert_eq!(received, 20 * KIB);
        assert!((16 * KIB..34 * KIB).contains(&unsent), "{unsent}");
        stream.release_buffers();
        let (received, unsent) = stream.buffer_sizes();
        assert!(received <= 4 * KIB && unsent <= 4 * KIB);
        peer.send(b"small").await;
        assert_eq!(read(&mut stream).await.unwrap(), "small");
        stream.write_all(b"small").await.unwrap();
        assert_eq!(stream.buffer_sizes(), (4 * KIB, KIB));
    }
}

#[tokio::test]
async fn keys_are_updated_in_both_directions() {
    let (mut stream, mut peer) = Fixture::new(&version::TLS13).connect(LARGE_PIPE).await;
    for _ in 0..3 {
        peer.session.refresh_traffic_keys().unwrap();
        peer.send(b"new keys").await;
        assert_eq!(read(&mut stream).await.unwrap(), "new keys");
        // The update that the server requested is sent before the data.
        stream.write_all(b"new too").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(peer.receive(7).await, b"new too");
    }
}

#[tokio::test]
async fn a_large_write_arrives_in_order() {
    let data: Vec<u8> = (0..1_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 4])
        .collect();
    for version in VERSIONS {
        let (mut stream, mut peer) = Fixture::new(version).connect(10_000).await;
        let writing = async {
            stream.write_all(&data).await.unwrap();
            stream.flush().await.unwrap();
        };
        let ((), received) = tokio::join!(writing, peer.receive(data.len()));
        assert!(received == data);
    }
}

#[tokio::test]
async fn a_peer_that_reads_nothing_stops_the_writer() {
    let (mut stream, _peer) = Fixture::new(&version::TLS13).connect(10_000).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut accepted = 0;
    while let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(&mut cx, &[0; 100_000]) {
        accepted += written.unwrap();
        assert!(accepted <= MAX_UNSENT + 10_000);
    }
    assert!(accepted >= MAX_UNSENT);
}

#[tokio::test]
async fn the_slices_of_a_vectored_write_share_a_record() {
    let (mut stream, mut peer) = Fixture::new(&version::TLS13).connect(LARGE_PIPE).await;
    let slices = [
        IoSlice::new(b"head"),
        IoSlice::new(b""),
        IoSlice::new(b"body"),
    ];
    assert_eq!(stream.write_vectored(&slices).await.unwrap(), 8);
    stream.flush().await.unwrap();
    let mut record = [0; 100];
    let length = peer.pipe.read(&mut record).await.unwrap();
    // The header of a record, the data, its content type and its tag.
    assert_eq!(length, 5 + 8 + 1 + 16);
    peer.session.read_tls(&mut &record[..length]).unwrap();
    peer.session.process_new_packets().unwrap();
    assert_eq!(peer.receive(8).await, b"headbody");
    let large = [0; 30_000];
    let slices = [IoSlice::new(b"head"), IoSlice::new(&large)];
    assert_eq!(stream.write_vectored(&slices).await.unwrap(), 16 * 1024);
}

#[tokio::test]
async fn small_reads_return_all_the_data() {
    let (mut stream, mut peer) = Fixture::new(&version::TLS13).connect(LARGE_PIPE).await;
    peer.send(b"abcdef").await;
    let mut two = [0; 2];
    for expected in [b"ab", b"cd"] {
        stream.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, expected);
    }
    assert_eq!(read(&mut stream).await.unwrap(), "ef");
}
