//! A token endpoint on loopback, over TLS with a certificate authority of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::terms;
use crate::credential::oauth::{Grant, Grants};
use crate::domain::TokenUrl;
use crate::domain::auth::{OauthClientCredentials, OauthParameters};
use crate::upstream::tls::provider;
use crate::upstream::{
    Client, DialTimeouts, Dialer, PoolLimits, ResolverSettings, Trust, Upstreams,
};

const NAME: &str = "token.test";
const AMPLE: Duration = Duration::from_secs(20);

pub(super) fn json(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A server that answers each request with its next response, and repeats the last one. It keeps a
/// socket open after a complete response, and closes it after any other.
pub(super) struct TokenServer {
    address: SocketAddr,
    root: CertificateDer<'static>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    accepted: watch::Sender<usize>,
    requests: watch::Sender<Vec<String>>,
    closed: watch::Sender<usize>,
}

impl TokenServer {
    pub(super) async fn start(answers: impl IntoIterator<Item = String>) -> Self {
        let answers: Arc<[String]> = answers.into_iter().collect();
        Self::serve("http/1.1", move |mut session, seen| {
            let answers = Arc::clone(&answers);
            async move {
                while let Some(request) = read(&mut session).await {
                    seen.requests.send_modify(|requests| requests.push(request));
                    let at = seen.requests.borrow().len().min(answers.len()) - 1;
                    session.write_all(answers[at].as_bytes()).await.unwrap();
                    if !is_whole(&answers[at]) {
                        session.shutdown().await.ok();
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Starts a server that supports HTTP/2 only.
    pub(super) async fn http2(body: &'static str) -> Self {
        Self::serve("h2", move |session, seen| async move {
            let mut connection = h2::server::handshake(session).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let target = request.uri().to_string();
                seen.requests.send_modify(|requests| requests.push(target));
                let mut up = respond
                    .send_response(http::Response::new(()), false)
                    .unwrap();
                up.send_data(body.into(), true).unwrap();
            }
        })
        .await
    }

    async fn serve<F, S>(protocol: &str, serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TlsStream<TcpStream>, Arc<Seen>) -> F + Send + Sync + 'static,
    {
        let (config, root) = identity(protocol);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (serve, mine) = (Arc::new(serve), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                mine.accepted.send_modify(|accepted| *accepted += 1);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&mine));
                let serve = Arc::clone(&serve);
                tokio::spawn(async move {
                    if let Ok(session) = acceptor.accept(socket).await {
                        serve(session, Arc::clone(&seen)).await;
                        seen.closed.send_modify(|closed| *closed += 1);
                    }
                });
            }
        });
        Self {
            address,
            root,
            seen,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the requests so far, each with head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.borrow().clone()
    }

    /// Returns the number of sockets accepted so far.
    pub(super) fn accepted(&self) -> usize {
        *self.seen.accepted.borrow()
    }

    /// Waits until this many sockets are closed.
    pub(super) async fn closed(&self, sockets: usize) {
        let mut closed = self.seen.closed.subscribe();
        let waiting = closed.wait_for(|closed| *closed >= sockets);
        tokio::time::timeout(AMPLE, waiting).await.unwrap().unwrap();
    }

    /// Returns credentials for this endpoint, with loopback allowed and `change` applied.
    pub(super) fn credentials(
        &self,
        change: impl FnOnce(&mut OauthParameters),
    ) -> Arc<OauthClientCredentials> {
        let mut terms = terms();
        let url = format!("https://{NAME}:{}/oauth/token", self.port());
        terms.token_url = TokenUrl::parse(&url).unwrap();
        terms.allowed_private_cidrs = vec!["127.0.0.0/8".parse().unwrap()];
        change(&mut terms);
        Arc::new(OauthClientCredentials::new(terms))
    }

    /// Returns grants that trust the authority of this endpoint, and fetch on this runtime.
    pub(super) fn grants(&self, runtime: Handle) -> Grants {
        let names = ResolverSettings::with_servers(&[], &format!("127.0.0.1 {NAME}"));
        let trust = Trust::with_only_roots(std::slice::from_ref(&self.root)).unwrap();
        let times = DialTimeouts {
            connect: AMPLE,
            head_start: AMPLE,
            handshake: AMPLE,
        };
        let dialer = Dialer::new(names.resolver(AMPLE), times, Arc::default());
        let pool = PoolLimits {
            max_idle: 64,
            idle_timeout: AMPLE,
        };
        let client = Client::new(Arc::new(Upstreams::new(trust)), dialer, pool);
        Grants::new(Arc::new(client), runtime)
    }

    pub(super) fn grant(&self, runtime: Handle) -> Arc<Grant> {
        self.grant_with(runtime, |_| ())
    }

    pub(super) fn grant_with(
        &self,
        runtime: Handle,
        change: impl FnOnce(&mut OauthParameters),
    ) -> Arc<Grant> {
        self.grants(runtime)
            .get_or_create_grant(&self.credentials(change))
    }
}

fn identity(protocol: &str) -> (ServerConfig, CertificateDer<'static>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    (config, authority.der().clone())
}

/// Reads one request with a `Content-Length`. Returns `None` at the end of the stream.
async fn read(session: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    while !is_whole(&String::from_utf8_lossy(&bytes)) {
        let read = session.read_buf(&mut bytes).await;
        if !matches!(read, Ok(1..)) {
            return None;
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// Returns whether a message has the complete body that its `Content-Length` announces.
fn is_whole(message: &str) -> bool {
    let Some((head, body)) = message.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| length.parse() == Ok(body.len()))
}
