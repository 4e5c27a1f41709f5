//! What `egressd demo` brings along: an HTTPS API with something to show, the definitions of connections to it, and the `curl` lines that show it.
//!
//! The API is an upstream like any other: it knows nothing of the proxy in front of it, sees only what arrives, and checks the credential of
//! every request, so that an answer proves that one was added. It listens on loopback, behind a certificate authority that is made at start
//! and lives in memory only; so do its keys. It runs on a thread and a runtime of its own.

mod answer;
mod authority;
mod body;
mod definitions;
mod echo;
mod items;
mod keys;
mod lines;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use answer::Site;
use authority::Authority;
use keys::Gates;

pub(crate) use definitions::definitions;
pub(crate) use keys::Keys;
pub(crate) use lines::{Door, write_lines};

/// How long a handshake or a request's head may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept: most often there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running API. It ends when this is dropped.
pub(crate) struct Api {
    address: SocketAddr,
    root: CertificateDer<'static>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Starts the API on a free port of 127.0.0.1. It takes these keys and no others.
    pub(crate) fn start(keys: &Keys) -> io::Result<Self> {
        let authority = Authority::new().map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(Arc::new(authority.tls));
        let site = Arc::new(Site::new(Gates::new(keys)?));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-api".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, tls, site) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            root: authority.root,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority that signed its certificate.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.root.clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // The sender's end is what stops it.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so itself.
            let _ended = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, site: Arc<Site>) {
    loop {
        match listener.accept().await {
            Ok((socket, _peer)) => {
                tokio::spawn(converse(socket, tls.clone(), Arc::clone(&site)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One socket, from its handshake to its end. Whatever goes wrong on it is the caller's to notice.
async fn converse(socket: TcpStream, tls: TlsAcceptor, site: Arc<Site>) {
    // Small frames of a feed have to leave at once; without the option they only leave later.
    let _at_once = socket.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(socket)).await else {
        return;
    };
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    let _ended = conversation.await;
}
