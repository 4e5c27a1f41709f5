//! What `egressd demo` brings along: an HTTPS API with something to show, the token endpoint that it trusts, the definitions of connections to them,
//! and the `curl` lines that show it.
//!
//! The API is an upstream like any other: it knows nothing of the proxy in front of it, sees only what arrives, and checks the credential of
//! every request, so that an answer proves that one was added. It and the token endpoint listen on loopback, each on a port of its own, behind a
//! certificate authority that is made at start and lives in memory only; so do the keys. They run on a thread and a runtime of their own.

mod api;
mod authority;
mod connections;
mod credentials;
mod curl;
mod echo;
mod event_stream;
mod form;
mod items;
mod random;
mod responses;
mod token_endpoint;
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

use api::DemoApi;
use authority::Authority;
use credentials::CredentialChecks;
use responses::Body;
use token_endpoint::DemoTokenEndpoint;
use tokens::IssuedTokens;

pub(crate) use connections::{DemoAddresses, connection_definitions};
pub(crate) use credentials::DemoSecrets;
pub(crate) use curl::{CurlOrigin, write_curl_lines};

/// How long a handshake or a request's head may take.
const IO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept: most often there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running API and its token endpoint. They end when this is dropped.
pub(crate) struct DemoServer {
    addresses: DemoAddresses,
    root: CertificateDer<'static>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What stands behind a listener.
enum DemoService {
    Api(DemoApi),
    Tokens(DemoTokenEndpoint),
}

impl DemoServer {
    /// Starts both on free ports of 127.0.0.1. They take these keys and no others.
    pub(crate) fn start(keys: &DemoSecrets) -> io::Result<Self> {
        let authority = Authority::new().map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(Arc::new(authority.tls));
        let tokens = Arc::new(IssuedTokens::default());
        let checks = CredentialChecks::new(keys, Arc::clone(&tokens))?;
        let endpoint =
            DemoService::Tokens(DemoTokenEndpoint::new(keys.client(), Arc::clone(&tokens)));
        let demo_api = DemoService::Api(DemoApi::new(checks, tokens));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listen = || {
            let _guard = runtime.enter();
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            io::Result::Ok((listener.local_addr()?, TcpListener::from_std(listener)?))
        };
        let ((api, api_listener), (token_endpoint, token_listener)) = (listen()?, listen()?);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-api".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept_sockets(api_listener, tls.clone(), Arc::new(demo_api)) => {}
                        () = accept_sockets(token_listener, tls, Arc::new(endpoint)) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            addresses: DemoAddresses {
                api,
                token_endpoint,
            },
            root: authority.root,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> DemoAddresses {
        self.addresses
    }

    /// The authority that signed their certificate.
    pub(crate) fn root_certificate(&self) -> CertificateDer<'static> {
        self.root.clone()
    }
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        // The sender's end is what stops it.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so itself.
            let _ended = thread.join();
        }
    }
}

impl DemoService {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        match self {
            Self::Api(demo_api) => demo_api.respond(request).await,
            Self::Tokens(endpoint) => endpoint.respond(request).await,
        }
    }
}

async fn accept_sockets(listener: TcpListener, tls: TlsAcceptor, service: Arc<DemoService>) {
    loop {
        match listener.accept().await {
            Ok((socket, _peer)) => {
                tokio::spawn(serve_socket(socket, tls.clone(), Arc::clone(&service)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One socket, from its handshake to its end. Whatever goes wrong on it is the caller's to notice.
async fn serve_socket(socket: TcpStream, tls: TlsAcceptor, service: Arc<DemoService>) {
    // Small frames of a feed have to leave at once; without the option they only leave later.
    let _at_once = socket.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(IO_TIMEOUT, tls.accept(socket)).await else {
        return;
    };
    let handler = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IO_TIMEOUT)
        .serve_connection(TokioIo::new(stream), handler);
    let _ended = connection.await;
}
