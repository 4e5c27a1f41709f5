//! A server that is driven record by record, and pipes to it.

use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, ServerConfig, ServerConnection, SupportedProtocolVersion};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};

use super::Stream;
use crate::upstream::tests::world::{Authority, NAME};
use crate::upstream::tls::provider;
use crate::upstream::tls_stream::TlsStream;

/// The server's end of a pipe.
pub(super) struct Peer {
    pub(super) session: ServerConnection,
    pub(super) pipe: DuplexStream,
}

impl Peer {
    pub(super) fn new(config: &Arc<ServerConfig>, pipe: DuplexStream) -> Self {
        let mut session = ServerConnection::new(Arc::clone(config)).unwrap();
        session.set_buffer_limit(None);
        Self { session, pipe }
    }

    /// Performs the handshake, and sends tickets.
    pub(super) async fn handshake(mut self) -> Self {
        while self.session.is_handshaking() {
            self.process().await.unwrap();
            self.send_records().await;
        }
        self
    }

    /// Reads from the pipe once. Returns `false` at its end.
    pub(super) async fn process(&mut self) -> Result<bool, Error> {
        let mut bytes = vec![0; 64 * 1024];
        let length = self.pipe.read(&mut bytes).await.unwrap();
        let mut rest = bytes.get(..length).unwrap();
        while !rest.is_empty() {
            self.session.read_tls(&mut rest).unwrap();
            self.session.process_new_packets()?;
        }
        Ok(length > 0)
    }

    /// Takes the records that rustls has prepared.
    pub(super) fn take_records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut records).unwrap();
        }
        records
    }

    pub(super) async fn send_records(&mut self) {
        let records = self.take_records();
        self.pipe.write_all(&records).await.unwrap();
    }

    /// Returns a record with this data.
    pub(super) fn encrypt(&mut self, data: &[u8]) -> Vec<u8> {
        self.session.writer().write_all(data).unwrap();
        self.take_records()
    }

    pub(super) async fn send(&mut self, data: &[u8]) {
        let records = self.encrypt(data);
        self.pipe.write_all(&records).await.unwrap();
    }

    /// Receives data until it has this length.
    pub(super) async fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let mut chunk = [0; 16 * 1024];
            while let Ok(read @ 1..) = self.session.reader().read(&mut chunk) {
                data.extend_from_slice(&chunk[..read]);
            }
            if data.len() >= length {
                return data;
            }
            assert!(self.process().await.unwrap(), "the stream ended early");
        }
    }
}

/// A client's and a server's settings that fit together.
pub(super) struct Fixture {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Fixture {
    pub(super) fn new(version: &'static SupportedProtocolVersion) -> Self {
        Self::with(version, |_| {})
    }

    pub(super) fn with(
        version: &'static SupportedProtocolVersion,
        adjust: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let authority = Authority::new();
        let identity = authority.issue(|_| {});
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        adjust(&mut server);
        let configs = authority.trust().client_configs().unwrap();
        Self {
            client: configs.http1,
            server: Arc::new(server),
        }
    }

    /// Returns a handshake that has not begun, and the server's end of its pipe, which has room for
    /// this many bytes in each direction.
    pub(super) fn start(&self, room: usize) -> (impl Future<Output = io::Result<Stream>>, Peer) {
        let (ours, theirs) = duplex(room);
        let name = ServerName::try_from(NAME).unwrap();
        let connecting = TlsStream::connect(Arc::clone(&self.client), name, ours);
        (connecting, Peer::new(&self.server, theirs))
    }

    pub(super) async fn connect(&self, room: usize) -> (Stream, Peer) {
        let (connecting, peer) = self.start(room);
        let (stream, peer) = tokio::join!(connecting, peer.handshake());
        (stream.unwrap(), peer)
    }
}

/// A pipe that returns one byte for each read.
pub(super) struct Trickle(pub(super) DuplexStream);

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut byte))?;
        buffer.put_slice(byte.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
