//! The parts of `egressd demo`: an HTTPS API, an authorization server, definitions of connections
//! to both, and `curl` lines that try them out.
//!
//! The API is an ordinary upstream. It does not depend on the proxy and checks the credential of
//! every request, so a response proves that egressd added one. The API and the authorization server
//! listen on loopback, each on a free port, and run on a thread and a runtime of their own. Their
//! certificate authority and all secrets are generated at start-up and stay in memory. A temporary
//! directory has what other commands need: the certificate, a definition without a secret, and the
//! token store.

mod api;
mod authority;
mod authorization_request;
mod authorization_server;
mod clients;
mod connections;
mod consents;
mod credentials;
mod curl;
mod device_requests;
mod directory;
mod echo;
mod event_stream;
mod expiring;
mod form;
mod grants;
mod items;
mod oauth_error;
mod pages;
mod random;
mod responses;
mod scopes;
mod token_requests;
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
use authorization_server::AuthorizationServer;
use clients::Clients;
use consents::Consents;
use credentials::CredentialChecks;
use device_requests::UserCode;
use responses::Body;
use tokens::IssuedTokens;

pub(crate) use connections::{DemoAddresses, connection_definitions};
pub(crate) use credentials::DemoSecrets;
pub(crate) use curl::{ConsentWords, CurlOrigin, write_curl_lines};
pub(crate) use directory::DemoDirectory;

/// The time limit of a TLS handshake, and of reading a request's head.
const IO_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept. The usual reason is that the process is out of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running API and authorization server. Dropping it stops both.
pub(crate) struct DemoServer {
    addresses: DemoAddresses,
    root: CertificateDer<'static>,
    root_pem: String,
    user_code: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The service of a listener.
enum DemoService {
    Api(DemoApi),
    Authorization(AuthorizationServer),
}

impl DemoServer {
    /// Starts the API and the authorization server on free ports of 127.0.0.1. They accept only
    /// these secrets.
    pub(crate) fn start(keys: &DemoSecrets) -> io::Result<Self> {
        let authority = Authority::new().map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(Arc::new(authority.tls));
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
        let (api, api_listener) = listen()?;
        let (authorization_server, authorization_listener) = listen()?;
        let tokens = Arc::new(IssuedTokens::default());
        let user_code = UserCode::generate()?;
        let shown_code = user_code.to_string();
        let consents = Arc::new(Consents::new(user_code));
        let checks = CredentialChecks::new(keys, Arc::clone(&tokens), Arc::clone(&consents))?;
        let server = DemoService::Authorization(AuthorizationServer::new(
            format!("https://{authorization_server}"),
            Clients::new(keys.service_client()),
            Arc::clone(&tokens),
            consents,
        ));
        let demo_api = DemoService::Api(DemoApi::new(checks, tokens));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("demo-api".into())
            .spawn(move || {
                runtime.block_on(async {
                    // The accept loops do not end, so only `stopped` ends the thread.
                    tokio::select! {
                        () = accept_sockets(api_listener, tls.clone(), Arc::new(demo_api)) => {}
                        () = accept_sockets(authorization_listener, tls, Arc::new(server)) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            addresses: DemoAddresses {
                api,
                authorization_server,
            },
            root: authority.root,
            root_pem: authority.root_pem,
            user_code: shown_code,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the addresses of both listeners.
    pub(crate) fn addresses(&self) -> DemoAddresses {
        self.addresses
    }

    /// Creates the directory of the files that other commands need.
    pub(crate) fn create_directory(&self) -> io::Result<DemoDirectory> {
        let (name, text) = connections::consent_definition(self.addresses);
        DemoDirectory::create(&self.root_pem, (name, &text))
    }

    /// Returns the words of the commands that obtain and use a consent.
    pub(crate) fn consent_words(&self, directory: &DemoDirectory) -> ConsentWords {
        let server = self.addresses.authorization_server;
        ConsentWords::new(directory, server, &self.user_code)
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
            Self::Authorization(server) => server.respond(request).await,
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
