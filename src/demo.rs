//! The parts of `egressd demo`: an HTTPS API, a token endpoint, definitions of connections to both,
//! and `curl` lines that try them out.
//!
//! The API is an ordinary upstream. It does not depend on the proxy and checks the credential of
//! every request, so a response proves that egressd added one. The API and the token endpoint
//! listen on loopback, each on a free port, and run on a thread and a runtime of their own. Their
//! certificate authority and all secrets are generated at start-up and stay in memory.

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

/// The time limit of a TLS handshake, and of reading a request's head.
const IO_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept. The usual reason is that the process is out of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running API and token endpoint. Dropping it stops both.
pub(crate) struct DemoServer {
    addresses: DemoAddresses,
    root: CertificateDer<'static>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The service of a listener.
enum DemoService {
    Api(DemoApi),
    Tokens(DemoTokenEndpoint),
}

impl DemoServer {
    /// Starts the API and the token endpoint on free ports of 127.0.0.1. They accept only these
    /// secrets.
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
            // `from_std` registers the listener with the runtime, and requires a non-blocking
            // socket.
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
                    // The accept loops do not end, so only `stopped` ends the thread.
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

    /// Returns the addresses of both listeners.
    pub(crate) fn addresses(&self) -> DemoAddresses {
        self.addresses
    }

    /// Returns the certificate of the authority that signed the servers' certificate.
    pub(crate) fn root_certificate(&self) -> CertificateDer<'static> {
        self.root.clone()
    }
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        // Dropping the sender completes the receiver, which stops the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic hook has already reported a panic of the thread.
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

/// Serves one socket, from its handshake to its end. Errors are not reported, because the caller
/// sees them.
async fn serve_socket(socket: TcpStream, tls: TlsAcceptor, service: Arc<DemoService>) {
    // Without this option, Nagle's algorithm delays small frames of an event stream. If it fails,
    // they arrive later.
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
