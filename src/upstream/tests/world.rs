//! Peers for these tests: a name server whose answers come from a function, certificate
//! authorities, and TLS servers that count sockets and bytes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

use crate::domain::{Host, Http2Mode};
use crate::upstream::tls::provider;
use crate::upstream::{DialTarget, DialTimeouts, Dialer, ResolverSettings, Trust};

/// A time limit that a loaded machine does not reach, and that ends a test that hangs.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(20);

/// The name that certificates are issued for.
pub(super) const NAME: &str = "upstream.test";

/// A reply of the name server.
pub(super) enum DnsReply {
    /// The addresses that are of the queried family, with this TTL. If there are none, the reply is
    /// NODATA.
    Addresses(Vec<IpAddr>, u32),
    /// An error, or `NXDomain`.
    Code(ResponseCode),
    /// No reply.
    Silence,
}

impl DnsReply {
    pub(super) fn addresses(list: &[&str]) -> Self {
        Self::Addresses(list.iter().map(|text| text.parse().unwrap()).collect(), 60)
    }
}

type Script = dyn Fn(&str, RecordType) -> DnsReply + Send + Sync;

/// A name server on loopback, over UDP and TCP.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    pub(super) async fn start(
        script: impl Fn(&str, RecordType) -> DnsReply + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(serve_udp(udp, Arc::clone(&script), Arc::clone(&asked)));
        tokio::spawn(serve_tcp(tcp, script, Arc::clone(&asked)));
        Self { address, asked }
    }

    /// Returns the queried names, with one entry per query.
    pub(super) fn queried_names(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn serve_udp(socket: UdpSocket, script: Arc<Script>, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Some(mut reply) = encode_reply(&buffer[..length], &*script, &asked) else {
            continue;
        };
        if reply.to_vec().unwrap().len() > 1200 {
            reply.metadata.truncation = true;
            reply.answers.clear();
        }
        socket.send_to(&reply.to_vec().unwrap(), from).await.ok();
    }
}

async fn serve_tcp(listener: TcpListener, script: Arc<Script>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        while let Ok(length) = socket.read_u16().await {
            let mut buffer = vec![0; usize::from(length)];
            socket.read_exact(&mut buffer).await.unwrap();
            let Some(reply) = encode_reply(&buffer, &*script, &asked) else {
                continue;
            };
            let reply = reply.to_vec().unwrap();
            let length = u16::try_from(reply.len()).unwrap();
            socket.write_u16(length).await.unwrap();
            socket.write_all(&reply).await.unwrap();
        }
    }
}

fn encode_reply(question: &[u8], script: &Script, asked: &Mutex<Vec<String>>) -> Option<Message> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.add_query(query.clone());
    let name = query.name().to_string().trim_end_matches('.').to_owned();
    asked.lock().push(name.clone());
    match script(&name, query.query_type()) {
        DnsReply::Silence => return None,
        DnsReply::Code(code) => reply.metadata.response_code = code,
        DnsReply::Addresses(addresses, ttl) => {
            let family = query.query_type();
            let record = |ip| Record::from_rdata(query.name().clone(), ttl, RData::from(ip));
            let records = addresses.into_iter().map(record);
            reply.add_answers(records.filter(|r| r.record_type() == family));
        }
    }
    Some(reply)
}

/// A certificate authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's chain and key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::with_common_name("test authority")
    }

    pub(super) fn with_common_name(name: &str) -> Self {
        Self::with_key(name, KeyPair::generate().unwrap())
    }

    pub(super) fn with_key(name: &str, key: KeyPair) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = common_name(name);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(super) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::with_only_roots(&[self.root()]).unwrap()
    }

    /// Issues a certificate for [`NAME`], after `adjust` has changed its parameters.
    pub(super) fn issue(&self, adjust: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        adjust(&mut params);
        self.issue_for_key(&params, KeyPair::generate().unwrap())
    }

    /// Issues a certificate with these parameters for this key.
    pub(super) fn issue_for_key(&self, params: &CertificateParams, key: KeyPair) -> Identity {
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: key.into(),
        }
    }
}

pub(super) fn common_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Returns the TLS settings of a server.
pub(super) fn server_config(identity: Identity, protocols: &[&str]) -> ServerConfig {
    let versions = rustls::DEFAULT_VERSIONS;
    let mut config = server_config_with(provider(), versions, identity);
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

/// Returns the TLS settings of a server with other cryptography or protocol versions.
pub(super) fn server_config_with(
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    identity: Identity,
) -> ServerConfig {
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .unwrap()
}

/// A server that counts its sockets and the bytes that it receives.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    clear_bytes: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server that performs the handshake, then reads until the client closes.
    pub(super) async fn start_tls(config: ServerConfig) -> Self {
        Self::start_tls_on("127.0.0.1:0", config).await
    }

    pub(super) async fn start_tls_on(address: &str, config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let clear_bytes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&clear_bytes);
        let server = Self::start(address, move |socket| {
            let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
            async move {
                let Ok(mut session) = acceptor.accept(socket).await else {
                    return;
                };
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = session.read(&mut buffer).await {
                    count.fetch_add(read, Ordering::SeqCst);
                }
            }
        });
        Self {
            clear_bytes,
            ..server.await
        }
    }

    /// Starts a server that runs `serve` for each socket.
    pub(super) async fn start<F, S>(address: &str, serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket));
            }
        });
        Self {
            address,
            accepted,
            clear_bytes: Arc::default(),
        }
    }

    /// Returns the number of accepted sockets so far.
    pub(super) fn accepted_count(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes received inside TLS so far.
    pub(super) fn clear_bytes(&self) -> usize {
        self.clear_bytes.load(Ordering::SeqCst)
    }
}

/// Returns a dialer whose hosts file gives [`NAME`] these addresses.
pub(super) fn dialer(addresses: &[&str]) -> Dialer {
    let lines: Vec<String> = addresses.iter().map(|ip| format!("{ip} {NAME}")).collect();
    dialer_with_timeouts(&ResolverSettings::with_servers(&[], &lines.join("\n")))
}

pub(super) fn dialer_with_timeouts(names: &ResolverSettings) -> Dialer {
    Dialer::new(
        names.resolver(LONG_TIMEOUT),
        long_timeouts(),
        Arc::default(),
    )
}

pub(super) fn long_timeouts() -> DialTimeouts {
    DialTimeouts {
        connect: LONG_TIMEOUT,
        head_start: LONG_TIMEOUT,
        handshake: LONG_TIMEOUT,
    }
}

/// Returns a target for [`NAME`] at this port, with loopback allowed.
pub(super) fn target(port: u16, http2: Http2Mode, trust: &Trust) -> DialTarget {
    let allowed_cidrs = ["127.0.0.0/8".parse().unwrap()];
    DialTarget::new(&Host::Name(NAME.into()), port, &allowed_cidrs, http2, trust)
}
