//! The upstream's side of a socket that egressd opened: requests are recorded, and responses are
//! raw bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::message::{self, Body, End, Fields, Framing, RecordingReader};
use super::records::TlsRecords;
use super::upstream::Record;

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// The number of the upstream's socket, from 0.
    pub(crate) socket: usize,
    pub(crate) method: String,
    /// The target, byte for byte.
    pub(crate) target: String,
    /// The header fields in order.
    pub(crate) fields: Fields,
    /// The framing of the body.
    pub(crate) framing: Framing,
    /// The body.
    pub(crate) body: Body,
    /// The head, byte for byte.
    pub(crate) head: Vec<u8>,
}

enum Stream {
    Tls(Box<StreamOwned<ServerConnection, Tcp>>),
    Plain(Tcp),
    Gone,
}

/// A socket that other threads can shut down, and that closes with its wire.
#[derive(Clone)]
struct Tcp(Arc<TcpStream>);

/// The upstream's end of a socket.
pub(crate) struct Wire {
    stream: Stream,
    inbox: RecordingReader,
    record: Arc<Record>,
    socket: usize,
}

impl Wire {
    pub(crate) fn new(
        tcp: Arc<TcpStream>,
        tls: Option<&Arc<ServerConfig>>,
        record: &Arc<Record>,
        socket: usize,
    ) -> Self {
        let tcp = Tcp(tcp);
        let stream = match tls {
            Some(config) => {
                let session = ServerConnection::new(Arc::clone(config)).unwrap();
                Stream::Tls(Box::new(StreamOwned::new(session, tcp)))
            }
            None => Stream::Plain(tcp),
        };
        Self {
            stream,
            inbox: RecordingReader::new(),
            record: Arc::clone(record),
            socket,
        }
    }

    /// Returns the number of this socket, from 0.
    pub(crate) fn socket(&self) -> usize {
        self.socket
    }

    /// Returns whether the TLS handshake, which must be complete, resumed a session.
    pub(crate) fn is_resumed(&self) -> bool {
        let Stream::Tls(tls) = &self.stream else {
            panic!("a TLS session");
        };
        match tls.conn.handshake_kind().unwrap() {
            HandshakeKind::Resumed => true,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => false,
        }
    }

    /// Reads the next request with its body. Returns `None` if egressd ended the stream between
    /// requests.
    pub(crate) fn request(&mut self) -> Option<ReceivedRequest> {
        let mut arrived = self.parse_head()?;
        arrived.body = self.inbox.body(arrived.framing, &mut self.stream);
        self.record.add(arrived.clone());
        Some(arrived)
    }

    /// Reads the head of the next request, and leaves its body unread.
    pub(crate) fn head(&mut self) -> Option<ReceivedRequest> {
        let arrived = self.parse_head()?;
        self.record.add(arrived.clone());
        Some(arrived)
    }

    fn parse_head(&mut self) -> Option<ReceivedRequest> {
        let bytes = self.inbox.take_until(b"\r\n\r\n", &mut self.stream)?;
        let (line, fields) = message::head(&bytes);
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            panic!("no request line: {line:?}")
        };
        Some(ReceivedRequest {
            socket: self.socket,
            method: method.to_owned(),
            target: target.to_owned(),
            framing: fields.framing(),
            fields,
            body: Body::default(),
            head: bytes,
        })
    }

    /// Reads `n` bytes, or fewer if the stream ended.
    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        self.inbox.take(n, &mut self.stream)
    }

    /// Sends bytes unchanged. Returns `false` if egressd has closed the socket.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = match &mut self.stream {
            Stream::Tls(tls) => tls.write_all(bytes.as_ref()).and_then(|()| tls.flush()),
            Stream::Plain(tcp) => tcp.write_all(bytes.as_ref()),
            Stream::Gone => return false,
        };
        sent.is_ok()
    }

    /// Replaces the TLS session with a writer of single records. Afterwards this wire can only
    /// send.
    pub(crate) fn records(&mut self) -> TlsRecords {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Tls(tls) => TlsRecords::new(tls.conn, Arc::clone(&tls.sock.0)),
            Stream::Plain(_) | Stream::Gone => panic!("a TLS session"),
        }
    }

    /// Blocks until egressd ends the stream.
    pub(crate) fn wait_for_end(&mut self) -> End {
        self.inbox.drain(&mut self.stream)
    }

    /// Ends the stream with `close_notify`.
    pub(crate) fn close_with_notify(&mut self) {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            let _gone = tls.flush();
        }
        self.close_without_notify();
    }

    /// Sends FIN without `close_notify`, which an attacker on the path can forge. Waits for the FIN
    /// of egressd, because dropping a socket with unread bytes resets it and discards the bytes
    /// that were sent last.
    pub(crate) fn close_without_notify(&mut self) {
        if let Some(mut tcp) = self.close() {
            let _gone = tcp.0.shutdown(Shutdown::Write);
            let mut rest = [0; 65_536];
            while matches!(tcp.read(&mut rest), Ok(n) if n > 0) {}
        }
    }

    /// Resets the socket.
    pub(crate) fn reset(&mut self) {
        if let Some(tcp) = self.close() {
            let socket = socket2::SockRef::from(&*tcp.0);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    fn close(&mut self) -> Option<Tcp> {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Tls(tls) => Some(tls.sock.clone()),
            Stream::Plain(tcp) => Some(tcp),
            Stream::Gone => None,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close_with_notify();
        self.record.closed(std::mem::take(&mut self.inbox.seen));
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(tls) => tls.read(into),
            Self::Plain(tcp) => tcp.read(into),
            Self::Gone => Ok(0),
        }
    }
}

impl Read for Tcp {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(into)
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
