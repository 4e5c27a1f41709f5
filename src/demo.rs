//! What `egressd demo` brings along: an HTTPS API with something to show, the token endpoint that it trusts, the definitions of connections to them,
//! and the `curl` lines that show it.
//!
//! The API is an upstream like any other: it knows nothing of the proxy in front of it, sees only what arrives, and checks the credential of
//! every request, so that an answer proves that one was added. It and the token endpoint listen on loopback, each on a port of its own, behind a
//! certificate authority that is made at start and lives in memory only; so do the keys. They run on a thread and a runtime of their own.

mod answer;
mod authority;
mod body;
mod definitions;
mod echo;
mod form;
mod grant;
mod items;
mod keys;
mod lines;
mod random;
mod responses;
mod tokens;

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use answer::Site;
use authority::Authority;
use grant::Endpoint;
use keys::Gates;
use responses::Body;
use tokens::Tokens;

pub(crate) use definitions::{Places, definitions};
pub(crate) use keys::Keys;
pub(crate) use lines::{Door, write_lines};

/// How long a handshake or a request's head may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept: most often there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running API and its token endpoint. They end when this is dropped.
pub(crate) struct Api {
    places: Places,
    root: CertificateDer<'static>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What stands behind a listener.
enum Desk {
    Api(Site),
    Tokens(Endpoint),
}

impl Api {
    /// Starts both on free ports of 127.0.0.1. They take these keys and no others.
    pub(crate) fn start(keys: &Keys) -> io::Result<Self> {
        let authority = Authority::new().map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(Arc::new(authority.tls));
        let tokens = Arc::new(Tokens::default());
        let gates = Gates::new(keys, Arc::clone(&tokens))?;
        let endpoint = Desk::Tokens(Endpoint::new(keys.client(), Arc::clone(&tokens)));
        let site = Desk::Api(Site::new(gates, tokens));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listen = || {
            let _guard = runtime.enter();
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            io::Result::Ok((listener.local_addr()?, TcpListener::from_std(listener)?))
        };
        let ((api, at_api), (token_endpoint, at_tokens)) = (listen()?, listen()?);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-api".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(at_api, tls.clone(), Arc::new(site)) => {}
                        () = accept(at_tokens, tls, Arc::new(endpoint)) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            places: Places {
                api,
                token_endpoint,
            },
            root: authority.root,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where they listen.
    pub(crate) fn places(&self) -> Places {
        self.places
    }

    /// The authority that signed their certificate.
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

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match self {
            Self::Api(site) => site.answer(request).await,
            Self::Tokens(endpoint) => endpoint.answer(request).await,
        }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, desk: Arc<Desk>) {
    loop {
        match listener.accept().await {
            Ok((socket, _peer)) => {
                tokio::spawn(converse(socket, tls.clone(), Arc::clone(&desk)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One socket, from its handshake to its end. Whatever goes wrong on it is the caller's to notice.
async fn converse(socket: TcpStream, tls: TlsAcceptor, desk: Arc<Desk>) {
    // Small frames of a feed have to leave at once; without the option they only leave later.
    let _at_once = socket.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(socket)).await else {
        return;
    };
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    let _ended = conversation.await;
}
