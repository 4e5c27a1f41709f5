//! One socket that egressd opened towards an upstream, seen from the upstream: what came is recorded, what goes back is raw.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::message::{self, Body, End, Fields, Framing, RecordingReader};
use super::records::TlsRecords;
use super::upstream::Record;

/// One request as the upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// Which of the upstream's sockets it came on, from 0.
    pub(crate) socket: usize,
    /// The method.
    pub(crate) method: String,
    /// The target, byte for byte.
    pub(crate) target: String,
    /// The header fields in order.
    pub(crate) fields: Fields,
    /// How its body was announced.
    pub(crate) framing: Framing,
    /// Its body.
    pub(crate) body: Body,
    /// The head as it came.
    pub(crate) head: Vec<u8>,
}

enum Stream {
    Tls(Box<StreamOwned<ServerConnection, Tcp>>),
    Plain(Tcp),
    Gone,
}

/// A socket that others may know of, and only the wire keeps open.
#[derive(Clone)]
struct Tcp(Arc<TcpStream>);

/// The upstream's end of one socket.
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

    /// Which of the upstream's sockets this is, from 0.
    pub(crate) fn socket(&self) -> usize {
        self.socket
    }

    /// The next request, body and all. `None`: the other side ended the stream between requests.
    pub(crate) fn request(&mut self) -> Option<ReceivedRequest> {
        let mut arrived = self.parse_head()?;
        arrived.body = self.inbox.body(arrived.framing, &mut self.stream);
        self.record.add(arrived.clone());
        Some(arrived)
    }

    /// The next request's head; its body is left unread.
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

    /// Exactly `n` bytes of what came; fewer if the stream ended.
    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        self.inbox.take(n, &mut self.stream)
    }

    /// Sends bytes as they are. `false`: the other side is gone.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = match &mut self.stream {
            Stream::Tls(tls) => tls.write_all(bytes.as_ref()).and_then(|()| tls.flush()),
            Stream::Plain(tcp) => tcp.write_all(bytes.as_ref()),
            Stream::Gone => return false,
        };
        sent.is_ok()
    }

    /// Takes the TLS session apart. Afterwards this wire only sends, one record at a time.
    pub(crate) fn records(&mut self) -> TlsRecords {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Tls(tls) => TlsRecords::new(tls.conn, Arc::clone(&tls.sock.0)),
            Stream::Plain(_) | Stream::Gone => panic!("a TLS session"),
        }
    }

    /// Blocks until the other side ends the stream.
    pub(crate) fn wait_for_end(&mut self) -> End {
        self.inbox.drain(&mut self.stream)
    }

    /// Ends the stream in good order.
    pub(crate) fn close_with_notify(&mut self) {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            let _gone = tls.flush();
        }
        self.close_without_notify();
    }

    /// FIN without `close_notify`: what an attacker on the path can forge. Waits for the other side's FIN: a socket that is
    /// dropped with unread bytes is reset, and takes its last words along.
    pub(crate) fn close_without_notify(&mut self) {
        if let Some(mut tcp) = self.close() {
            let _gone = tcp.0.shutdown(Shutdown::Write);
            let mut rest = [0; 65_536];
            while matches!(tcp.read(&mut rest), Ok(n) if n > 0) {}
        }
    }

    /// RST.
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
