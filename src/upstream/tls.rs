//! TLS for sockets to upstreams: one crypto provider, TLS 1.2 and 1.3, and certificates that are
//! always verified.
//!
//! The roots are read once ([`Trust`]) and shared by all connections. Each connection has its own
//! session store (`TlsConfigs`), which all workers use and which outlives reloads that do not
//! change the connection. So a ticket that an upstream gave to one credential is never presented
//! together with another.
//!
//! Invariants:
//!
//! - No certificate is accepted without verification.
//! - The environment (`SSL_CERT_FILE`, `SSL_CERT_DIR`, `SSLKEYLOGFILE`) changes neither the trusted
//!   roots nor what is written to disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, Error, NoKeyLog, OtherError,
    PeerMisbehaved, RootCertStore, SignatureScheme, SupportedCipherSuite, version,
};

use super::failure::TlsFault;

/// The files in which systems keep their bundle of roots: Debian and Alpine, Fedora, RHEL 7 to 9,
/// openSUSE, others. The first file that contains a root is used.
const ROOT_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A directory of roots, for systems without a bundle.
const ROOT_DIRECTORY: &str = "/etc/ssl/certs";

/// The message for a certificate with `CA:TRUE`, as `openssl req -x509` makes them: it is valid for
/// an authority, not for a server.
pub const CA_AS_SERVER: &str =
    "marked as a certificate authority, CA:TRUE, which a server certificate must not be";

/// The size of the session store of one connection. A connection has one server name, for which the
/// store keeps up to eight tickets of TLS 1.3, and the group of the last key exchange. The next
/// ClientHello offers a key of that group, so a server that accepts neither of the default key
/// shares sends a HelloRetryRequest (RFC 8446 §4.1.4) only once.
const MAX_SESSIONS: usize = 8;

/// Returns the crypto provider for TLS with upstreams. Its first choice of key exchange is
/// X25519MLKEM768, by the feature `prefer-post-quantum` of rustls.
///
/// Suites with AES-128-GCM come first, as in browsers. AES-128 has no known weakness and is
/// considered safe against quantum computers as well (NIST security category 1). It needs 10 rounds
/// where AES-256 needs 14.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let is_aes_128 = |suite: &SupportedCipherSuite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    // The sort is stable, so the order of rustls is otherwise unchanged.
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_aes_128(suite));
    Arc::new(provider)
}

/// The roots of trust, read once at start.
#[derive(Clone)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// A certificate of `ca_files` that cannot be a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a certificate that can be a root of trust")]
pub struct InvalidRoot;

impl Trust {
    /// Trusts the platform's roots and the ones in `more`. If the platform has no roots, uses the
    /// bundled ones of Mozilla instead. Reads files.
    pub fn from_platform(more: &[CertificateDer<'static>]) -> Result<Self, InvalidRoot> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(platform_roots());
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::new(roots, more)
    }

    /// Trusts these roots and no others.
    pub fn with_only_roots(roots: &[CertificateDer<'static>]) -> Result<Self, InvalidRoot> {
        Self::new(RootCertStore::empty(), roots)
    }

    fn new(
        mut roots: RootCertStore,
        more: &[CertificateDer<'static>],
    ) -> Result<Self, InvalidRoot> {
        for certificate in more {
            roots.add(certificate.clone()).map_err(|_| InvalidRoot)?;
        }
        let provider = provider();
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map(|verifier| Self { provider, verifier })
            .map_err(|_| InvalidRoot)
    }

    /// Creates the TLS settings for one connection, or `None` if the provider does not support the
    /// protocol versions.
    pub(super) fn client_configs(&self) -> Option<TlsConfigs> {
        let sessions = Resumption::in_memory_sessions(MAX_SESSIONS);
        let no_certificate = Arc::new(NoCertificate::default());
        let mut http1 = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .ok()?
            .with_webpki_verifier(Arc::clone(&self.verifier))
            .with_client_cert_resolver(Arc::<NoCertificate>::clone(&no_certificate));
        // The default of rustls, repeated because an invariant of this module depends on it.
        http1.key_log = Arc::new(NoKeyLog {});
        http1.resumption = sessions;
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The clone shares the session store.
        let mut http2 = http1.clone();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Some(TlsConfigs {
            http1: Arc::new(http1),
            http2: Arc::new(http2),
            no_certificate,
        })
    }
}

/// The TLS settings of one connection, by the protocols that they offer.
pub(super) struct TlsConfigs {
    /// Offers `http/1.1` only.
    pub(super) http1: Arc<ClientConfig>,
    /// Offers `h2` and `http/1.1`, in this order.
    pub(super) http2: Arc<ClientConfig>,
    no_certificate: Arc<NoCertificate>,
}

impl TlsConfigs {
    /// Returns whether a server requested a client certificate in any handshake.
    pub(super) fn was_certificate_requested(&self) -> bool {
        self.no_certificate.0.load(Relaxed)
    }
}

/// Sends no certificate if a server requests one, and records that there was a request.
#[derive(Debug, Default)]
struct NoCertificate(AtomicBool);

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Reads the platform's roots. The paths are fixed here, because libraries that search for them let
/// environment variables name other files.
fn platform_roots() -> Vec<CertificateDer<'static>> {
    let load = |file: Option<&str>, directory: Option<&str>| {
        let (file, directory) = (file.map(Path::new), directory.map(Path::new));
        rustls_native_certs::load_certs_from_paths(file, directory).certs
    };
    ROOT_BUNDLES
        .iter()
        .map(|bundle| load(Some(bundle), None))
        .find(|roots| !roots.is_empty())
        .unwrap_or_else(|| load(None, Some(ROOT_DIRECTORY)))
}

/// Returns the fault that caused an error of a session after its handshake. Under TLS 1.3 a server
/// checks the client's certificate only then.
pub(super) fn session_fault(error: &io::Error) -> TlsFault {
    match tls_fault(error) {
        fault @ (TlsFault::Alert | TlsFault::CertificateRequired) => fault,
        TlsFault::Certificate(_)
        | TlsFault::Protocol
        | TlsFault::Session
        | TlsFault::Alpn
        | TlsFault::Timeout(_) => TlsFault::Session,
    }
}

/// Returns the fault that caused an error of a handshake.
pub(super) fn tls_fault(error: &io::Error) -> TlsFault {
    match tls_error(error) {
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            TlsFault::CertificateRequired
        }
        Some(Error::InvalidCertificate(reason)) => TlsFault::Certificate(certificate_fault(reason)),
        Some(Error::NoCertificatesPresented) => TlsFault::Certificate("none presented"),
        Some(Error::AlertReceived(_)) => TlsFault::Alert,
        Some(Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol)) => {
            TlsFault::Alpn
        }
        Some(_) | None => TlsFault::Protocol,
    }
}

/// Returns whether an error of a session is the alert for a missing client certificate. `h2` keeps
/// only the kind and the text of the error, so these are compared.
pub(super) fn is_certificate_required(error: &io::Error) -> bool {
    let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
    error.kind() == io::ErrorKind::InvalidData && error.to_string() == alert.to_string()
}

/// Returns whether a handshake failed because the upstream supports none of the offered protocols,
/// or chose one that was not offered.
pub(super) fn is_alpn_mismatch(error: &io::Error) -> bool {
    matches!(
        tls_error(error),
        Some(
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
                | Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol)
        )
    )
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library adds reasons and deprecates others"
)]
fn certificate_fault(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "not yet valid"
        }
        CertificateError::UnknownIssuer => "unknown issuer",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "name mismatch"
        }
        CertificateError::BadSignature => "bad signature",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "unsupported signature algorithm"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "not for servers"
        }
        CertificateError::BadEncoding => "bad encoding",
        CertificateError::Revoked => "revoked",
        CertificateError::UnhandledCriticalExtension => "unknown critical extension",
        CertificateError::Other(OtherError(error))
            if matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            CA_AS_SERVER
        }
        _ => "invalid",
    }
}
