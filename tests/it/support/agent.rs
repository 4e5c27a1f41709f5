//! The agent: sends raw bytes on one socket, and parses replies with a strict reader.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::message::{self, End, Framing, RecordingReader};
use super::reply::{Ending, Reply};
use super::{PATIENCE, Sidecar};

/// A socket to the sidecar.
pub(crate) struct Agent {
    tcp: TcpStream,
    inbox: RecordingReader,
}

impl Agent {
    /// Connects to the sidecar's first listener.
    pub(crate) fn connect(sidecar: &Sidecar) -> Self {
        Self::connect_to(sidecar.address())
    }

    /// Connects to any address.
    pub(crate) fn connect_to(address: SocketAddr) -> Self {
        Self::from_tcp(TcpStream::connect(address).unwrap())
    }

    /// Connects to a Unix socket. The other methods use its descriptor, so they work for both kinds
    /// of sockets.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        Self::from_tcp(OwnedFd::from(UnixStream::connect(path).unwrap()).into())
    }

    /// Connects with a receive buffer of a few KiB, so that the sidecar soon blocks if the agent
    /// does not read.
    pub(crate) fn connect_narrow(sidecar: &Sidecar) -> Self {
        Self::connect_narrow_to(sidecar.address())
    }

    /// Connects like [`Agent::connect_narrow`], to any address.
    pub(crate) fn connect_narrow_to(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::from_tcp(socket.into())
    }

    fn from_tcp(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        // A Unix socket does not have this option.
        let _unknown = tcp.set_nodelay(true);
        Self {
            tcp,
            inbox: RecordingReader::new(),
        }
    }

    /// Sends bytes unchanged. Returns `false` if the sidecar closed the socket before it read all
    /// of them; the reply should explain that.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.tcp.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends as many bytes as the system accepts without waiting, up to this many.
    pub(crate) fn send_without_blocking(&mut self, most: usize) {
        self.tcp.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent < most
            && let Ok(taken) = self.tcp.write(&[b'a'; 65_536])
        {
            sent += taken;
        }
        self.tcp.set_nonblocking(false).unwrap();
    }

    /// Sends `GET target` and returns the reply.
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    /// Sends a request with these fields and returns the reply. A body that is not empty gets a
    /// `Content-Length`.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let fields: String = fields
            .iter()
            .map(|(k, v)| format!("{k}: {v}\r\n"))
            .collect();
        let length = match body.len() {
            0 => String::new(),
            n => format!("Content-Length: {n}\r\n"),
        };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n");
        self.send([head.as_bytes(), body].concat());
        if method == "HEAD" {
            self.head_reply()
        } else {
            self.reply()
        }
    }

    /// Sends these bytes and reads one reply.
    pub(crate) fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes);
        self.reply()
    }

    /// Reads the next reply to its end.
    pub(crate) fn reply(&mut self) -> Reply {
        self.read(false)
    }

    /// Reads the next reply, to a HEAD request. It has no body, whatever its fields announce.
    pub(crate) fn head_reply(&mut self) -> Reply {
        self.read(true)
    }

    fn read(&mut self, to_head: bool) -> Reply {
        let mut reply = self.open_reply();
        let bodiless = to_head || matches!(reply.status, 204 | 304);
        let framing = if bodiless {
            Framing::Absent
        } else {
            reply.framing
        };
        let body = self.inbox.body(framing, &mut self.tcp);
        reply.ending = if body.whole {
            Ending::Whole
        } else {
            Ending::Aborted
        };
        reply.body = body.bytes;
        reply.chunks = body.chunks;
        reply.trailers = body.trailers;
        reply
    }

    /// Reads the head of the next reply. [`Agent::chunk`] reads its body.
    pub(crate) fn open_reply(&mut self) -> Reply {
        let mut informational = Vec::new();
        loop {
            let bytes = self
                .inbox
                .take_until(b"\r\n\r\n", &mut self.tcp)
                .unwrap_or_else(|| {
                    let seen = message::text(&self.inbox.seen);
                    panic!("no reply, the sidecar closed; so far: {seen:?}")
                });
            let (line, fields) = message::head(&bytes);
            let mut parts = line.splitn(3, ' ').skip(1);
            let status = parts.next().and_then(|s| s.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
            assert!(line.starts_with("HTTP/1."), "{line:?}");
            if (100..200).contains(&status) {
                informational.push(status);
            } else {
                let reason = parts.next().unwrap_or_default();
                return Reply::from_head((status, reason), fields, informational);
            }
        }
    }

    /// Reads the next chunk of a reply. Returns `None` if the reply was cut off, and an empty chunk
    /// at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        self.inbox.chunk(&mut self.tcp)
    }

    /// Asserts that the sidecar closes this socket and sends nothing more.
    pub(crate) fn expect_close(&mut self) {
        self.wait_close();
        let rest = self.inbox.unread();
        assert!(rest.is_empty(), "more came: {:?}", message::text(rest));
    }

    /// Blocks until the sidecar closes this socket, and returns how it did.
    pub(crate) fn wait_close(&mut self) -> End {
        self.inbox.drain(&mut self.tcp)
    }

    /// Blocks until the sidecar resets this socket, without reading from it.
    pub(crate) fn wait_reset(&self) {
        let begun = Instant::now();
        while self.tcp.take_error().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it is still there");
            std::thread::yield_now();
        }
    }

    /// Blocks until these bytes were received. They can still be read.
    pub(crate) fn wait_for(&mut self, bytes: &str) {
        while message::find_bytes(&self.inbox.seen, bytes.as_bytes()).is_none() {
            let open = self.inbox.read_more(&mut self.tcp);
            assert!(
                open,
                "closed without {bytes:?}: {:?}",
                message::text(&self.inbox.seen)
            );
        }
    }

    /// Returns every byte that was received on this socket.
    pub(crate) fn received(&self) -> &[u8] {
        &self.inbox.seen
    }

    /// Sends FIN: the agent sends nothing more.
    pub(crate) fn half_close(&mut self) {
        let _gone = self.tcp.shutdown(Shutdown::Write);
    }

    /// Resets the socket.
    pub(crate) fn reset(self) {
        let socket = SockRef::from(&self.tcp);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
