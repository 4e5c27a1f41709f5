//! An HTTPS server with scripted responses that records what it received.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use rustls::ServerConfig;
use serde_json::json;

use super::certs::{self, Alpn};
use super::message::{Framing, text};
use super::wire::{ReceivedRequest, Wire};
use super::{Gate, PATIENCE};

/// A server on a free port of 127.0.0.1. It stops when it is dropped, and fails the test if one of
/// its scripts panicked.
pub(crate) struct Upstream {
    address: SocketAddr,
    record: Arc<Record>,
    accepting: Option<JoinHandle<()>>,
}

/// The data that an upstream received.
#[derive(Default)]
pub(crate) struct Record {
    got: Mutex<Received>,
    changed: Condvar,
}

#[derive(Default)]
struct Received {
    stopping: bool,
    sockets: Vec<Weak<TcpStream>>,
    requests: Vec<ReceivedRequest>,
    closed: usize,
    raw: Vec<u8>,
    panics: Vec<String>,
}

type Script = Arc<dyn Fn(&mut Wire) + Send + Sync>;

impl Upstream {
    /// Answers every request with a description of it in JSON: `method`, `target`, `headers` (pairs
    /// in order), `framing`, `body`.
    pub(crate) fn echo() -> Self {
        Self::answer(|request| {
            let headers = request.fields.0.iter();
            let headers: Vec<_> = headers.map(|(k, v)| json!([k, text(v)])).collect();
            let framing = match request.framing {
                Framing::Absent => "absent",
                Framing::Length(_) => "length",
                Framing::Chunked => "chunked",
            };
            let account = json!({
                "method": request.method,
                "target": request.target,
                "headers": headers,
                "framing": framing,
                "body": text(&request.body.bytes),
            });
            let body = account.to_string();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            let body = if request.method == "HEAD" {
                String::new()
            } else {
                body
            };
            [head, body].concat()
        })
    }

    /// Answers every request with these bytes and keeps the socket open.
    pub(crate) fn reply(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Self::answer(move |_| bytes.clone())
    }

    /// Answers every request with 200 and this body.
    pub(crate) fn body(body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        Self::reply([head.as_bytes(), body].concat())
    }

    /// Sends these bytes after the first request of each socket, then ends the stream with
    /// `close_notify`.
    pub(crate) fn reply_then_close(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Self::script(move |wire| {
            if wire.request().is_some() {
                wire.send(&bytes);
            }
        })
    }

    /// Sends an event stream: the first event at once, the second when the gate opens, then the
    /// end.
    pub(crate) fn sse(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::script(move |wire| {
            wire.request();
            wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            wire.send("d\r\ndata: first\n\n\r\n");
            gate.wait();
            wire.send("e\r\ndata: second\n\n\r\n0\r\n\r\n");
        })
    }

    /// Answers every complete request with the result of `reply`, and keeps the socket open.
    pub(crate) fn answer<B: AsRef<[u8]>>(
        reply: impl Fn(&ReceivedRequest) -> B + Send + Sync + 'static,
    ) -> Self {
        Self::script(move |wire| {
            while let Some(request) = wire.request()
                && request.body.whole
            {
                wire.send(reply(&request));
            }
        })
    }

    /// Runs `script` on every socket, once the TLS handshake has begun. When the script ends, the
    /// stream ends with `close_notify`.
    pub(crate) fn script(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Self {
        Self::start(Some(certs::trusted(Alpn::Http1)), Arc::new(script))
    }

    /// Runs a script like [`Upstream::script`], with other protocols.
    pub(crate) fn script_with_alpn(
        alpn: Alpn,
        script: impl Fn(&mut Wire) + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(certs::trusted(alpn)), Arc::new(script))
    }

    /// Runs a script like [`Upstream::script`], without TLS.
    pub(crate) fn script_without_tls(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script))
    }

    /// Starts an echo server with a certificate that egressd does not trust.
    pub(crate) fn untrusted() -> Self {
        let script = |wire: &mut Wire| while wire.request().is_some() {};
        Self::start(Some(certs::untrusted()), Arc::new(script))
    }

    /// Starts a server with this TLS configuration that accepts no requests.
    pub(crate) fn with_tls(config: Arc<ServerConfig>) -> Self {
        let script = |wire: &mut Wire| while wire.request().is_some() {};
        Self::start(Some(config), Arc::new(script))
    }

    /// Runs a script like [`Upstream::script`], on a listening socket.
    pub(super) fn script_on(
        listener: TcpListener,
        script: impl Fn(&mut Wire) + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(
            listener,
            Some(certs::trusted(Alpn::Http1)),
            Arc::new(script),
        )
    }

    fn start(tls: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_with(listener, tls, script)
    }

    fn start_with(listener: TcpListener, tls: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let shared = Arc::clone(&record);
        let accepting = std::thread::Builder::new()
            .name("world upstream".to_owned())
            .spawn(move || accept(&listener, tls.as_ref(), &script, &shared))
            .unwrap();
        Self {
            address,
            record,
            accepting: Some(accepting),
        }
    }

    /// Returns the address of the listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of sockets that were opened to the server.
    pub(crate) fn sockets(&self) -> usize {
        self.record.got().sockets.len()
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.record.got().requests.clone()
    }

    /// Returns the only request. Fails the test if there is not exactly one.
    pub(crate) fn only_request(&self) -> ReceivedRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Blocks until `n` requests were received.
    pub(crate) fn wait_requests(&self, n: usize) {
        self.record
            .wait_until("requests", |got| got.requests.len() >= n);
    }

    /// Blocks until `n` sockets were opened.
    pub(crate) fn wait_sockets(&self, n: usize) {
        self.record
            .wait_until("sockets", |got| got.sockets.len() >= n);
    }

    /// Blocks until the scripts of `n` sockets have ended.
    pub(crate) fn wait_closed(&self, n: usize) {
        self.record
            .wait_until("closed sockets", |got| got.closed >= n);
    }

    /// Returns every byte of all ended sockets, decrypted.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.record.got().raw.clone()
    }
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    script: &Script,
    record: &Arc<Record>,
) {
    let mut threads = Vec::new();
    for tcp in listener.incoming() {
        let tcp = tcp.unwrap();
        if record.got().stopping {
            break;
        }
        // No read timeout: a kept socket may wait for its next request as long as the test runs,
        // and is closed at its end.
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let tcp = Arc::new(tcp);
        let socket = record.socket_opened(&tcp);
        let mut wire = Wire::new(tcp, tls, record, socket);
        let (script, record) = (Arc::clone(script), Arc::clone(record));
        let run = move || {
            let ran = catch_unwind(AssertUnwindSafe(|| script(&mut wire)));
            if let Err(panic) = ran {
                record.panicked(&*panic);
            }
        };
        let thread = std::thread::Builder::new().name("world upstream socket".to_owned());
        threads.push(thread.spawn(run).unwrap());
    }
    for thread in threads {
        let _caught = thread.join();
    }
}

impl Record {
    fn got(&self) -> MutexGuard<'_, Received> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Received)) {
        change(&mut self.got());
        self.changed.notify_all();
    }

    fn socket_opened(&self, tcp: &Arc<TcpStream>) -> usize {
        self.change(|got| {
            got.sockets.push(Arc::downgrade(tcp));
            if got.stopping {
                // This socket was accepted while the server was stopping, after the other sockets
                // were closed.
                let _gone = tcp.shutdown(Shutdown::Both);
            }
        });
        self.got().sockets.len() - 1
    }

    pub(super) fn add(&self, request: ReceivedRequest) {
        self.change(|got| got.requests.push(request));
    }

    pub(super) fn closed(&self, raw: Vec<u8>) {
        self.change(|got| {
            got.closed += 1;
            got.raw.extend(raw);
        });
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        self.change(|got| got.panics.push(message.unwrap_or_default()));
    }

    fn wait_until(&self, what: &str, until: impl Fn(&Received) -> bool) {
        let (got, wait) = self
            .changed
            .wait_timeout_while(self.got(), PATIENCE, |got| !until(got))
            .unwrap_or_else(PoisonError::into_inner);
        let (requests, closed) = (got.requests.len(), got.closed);
        drop(got);
        assert!(
            !wait.timed_out(),
            "waited in vain for {what}: {requests} requests, {closed} closed sockets"
        );
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.record.change(|got| got.stopping = true);
        let open: Vec<_> = self.record.got().sockets.drain(..).collect();
        for socket in open.iter().filter_map(Weak::upgrade) {
            let _gone = socket.shutdown(Shutdown::Both);
        }
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.accepting.take() {
            let _caught = thread.join();
        }
        let panics = std::mem::take(&mut self.record.got().panics);
        if !std::thread::panicking() {
            assert!(
                panics.is_empty(),
                "the upstream's script failed: {panics:?}"
            );
        }
    }
}
