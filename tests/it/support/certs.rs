//! A certificate authority and its server certificates, created once for each process.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// The protocols that a server offers in ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// No protocol.
    Silent,
    /// `http/1.1` only.
    Http1,
    /// `h2` only.
    H2,
}

struct Authority {
    pem: String,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

static TRUSTED: LazyLock<Authority> = LazyLock::new(|| Authority::new("egressd tests"));
static LEAF: LazyLock<Leaf> =
    LazyLock::new(|| TRUSTED.sign(&["localhost", "127.0.0.1", "127.0.0.2"]));

/// A certificate and its key, in DER.
struct Leaf {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let root = params.self_signed(&key).unwrap();
        Self {
            pem: root.pem(),
            root: root.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        Leaf {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }
}

/// Returns the certificate of the authority in PEM, for `egress.ca_files`.
pub(crate) fn ca_pem() -> &'static str {
    &TRUSTED.pem
}

/// Returns a server configuration for `127.0.0.1`, `127.0.0.2` and `localhost` that the sidecar
/// trusts.
pub(crate) fn trusted(alpn: Alpn) -> Arc<ServerConfig> {
    server(&LEAF, alpn)
}

/// Returns a server configuration for the same names, under an authority that the sidecar does not
/// trust.
pub(crate) fn untrusted() -> Arc<ServerConfig> {
    let leaf = Authority::new("nobody's").sign(&["localhost", "127.0.0.1"]);
    server(&leaf, Alpn::Http1)
}

/// Like [`trusted`], but requires a client certificate or, with `optional`, requests one and
/// continues without.
pub(crate) fn asking_for_certificates(
    alpn: Alpn,
    optional: bool,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(TRUSTED.root.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = if optional {
        verifier.allow_unauthenticated()
    } else {
        verifier
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap());
    finished(config, &LEAF, alpn)
}

/// A server with a self-signed certificate that is marked as an authority's, as `openssl req -x509`
/// makes them.
pub(crate) fn self_signed_authority() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = key.serialize_der();
    server(&Leaf { certificate, key }, Alpn::Http1)
}

fn server(leaf: &Leaf, alpn: Alpn) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    finished(config, leaf, alpn)
}

fn finished(
    config: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    leaf: &Leaf,
    alpn: Alpn,
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf.key.clone()));
    let mut config = config
        .with_single_cert(vec![leaf.certificate.clone()], key)
        .unwrap();
    // For tests that write records by hand.
    config.enable_secret_extraction = true;
    config.alpn_protocols = match alpn {
        Alpn::Silent => vec![],
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::H2 => vec![b"h2".to_vec()],
    };
    Arc::new(config)
}
