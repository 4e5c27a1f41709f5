//! The agent's side: raw bytes on one TCP socket, and replies read by a strict reader.

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

/// One socket to the sidecar.
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

    /// Connects to a Unix socket. What is done with it is done by its descriptor, whatever its kind.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        Self::from_tcp(OwnedFd::from(UnixStream::connect(path).unwrap()).into())
    }

    /// Connects with a receive buffer of a few KiB: whoever does not read with this one is felt at once.
    pub(crate) fn connect_narrow(sidecar: &Sidecar) -> Self {
        Self::connect_narrow_to(sidecar.address())
    }

    /// As [`Agent::connect_narrow`], to any address.
    pub(crate) fn connect_narrow_to(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::from_tcp(socket.into())
    }

    fn from_tcp(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        // A Unix socket has no such thing.
        let _unknown = tcp.set_nodelay(true);
        Self {
            tcp,
            inbox: RecordingReader::new(),
        }
    }

    /// Sends bytes as they are. `false`: the sidecar closed before it took them all, which the reply is to explain.
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

    /// `GET target` and its reply.
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    /// One request with these fields, and its reply. A body that is not empty gets a `Content-Length`.
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

    /// The next reply, to its end.
    pub(crate) fn reply(&mut self) -> Reply {
        self.read(false)
    }

    /// The next reply, to a HEAD: it has no body whatever its fields say.
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

    /// The next reply's head; its body is still to be read, by [`Agent::chunk`].
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
            let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
            assert!(line.starts_with("HTTP/1."), "{line:?}");
            if (100..200).contains(&status) {
                informational.push(status);
            } else {
                return Reply::from_head(status, fields, informational);
            }
        }
    }

    /// The next chunk of an open reply: `None` if it broke off, empty at the end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        self.inbox.chunk(&mut self.tcp)
    }

    /// Claims that the sidecar closes this socket and sends nothing more.
    pub(crate) fn expect_close(&mut self) {
        self.wait_close();
        let rest = self.inbox.unread();
        assert!(rest.is_empty(), "more came: {:?}", message::text(rest));
    }

    /// Blocks until the sidecar closes this socket, and says how.
    pub(crate) fn wait_close(&mut self) -> End {
        self.inbox.drain(&mut self.tcp)
    }

    /// Waits until the sidecar resets this socket, and reads nothing meanwhile.
    pub(crate) fn wait_reset(&self) {
        let begun = Instant::now();
        while self.tcp.take_error().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it is still there");
            std::thread::yield_now();
        }
    }

    /// Blocks until these bytes have come, and leaves them to be read.
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

    /// Every byte that came on this socket.
    pub(crate) fn received(&self) -> &[u8] {
        &self.inbox.seen
    }

    /// FIN: nothing more will be sent.
    pub(crate) fn half_close(&mut self) {
        let _gone = self.tcp.shutdown(Shutdown::Write);
    }

    /// RST.
    pub(crate) fn reset(self) {
        let socket = SockRef::from(&self.tcp);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
