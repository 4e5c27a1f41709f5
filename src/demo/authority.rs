//! A certificate authority for one run of the demo. Its key signs one certificate and is dropped.
//! No key is written to disk.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The results of the authority.
pub(super) struct Authority {
    /// The root certificate, which the proxy has to trust.
    pub(super) root: CertificateDer<'static>,
    /// The root certificate as PEM.
    pub(super) root_pem: String,
    /// The TLS configuration of a server for `127.0.0.1` and `localhost`.
    pub(super) tls: ServerConfig,
}

/// An error in generating the certificates or the configuration.
pub(super) type AuthorityError = Box<dyn std::error::Error + Send + Sync>;

impl Authority {
    pub(super) fn new() -> Result<Self, AuthorityError> {
        let mut root = CertificateParams::default();
        root.distinguished_name = distinguished_name("egressd demo authority");
        // A path length of 0: the authority may sign servers, but no further authorities.
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer =
            CertifiedIssuer::self_signed(root, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        let mut leaf = CertificateParams::new(["localhost".to_owned()])?;
        // The base URLs of the connections contain the IP address.
        leaf.subject_alt_names
            .push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        leaf.distinguished_name = distinguished_name("egressd demo API");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )?;
        // The servers handle HTTP/1.1 only.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            root: issuer.der().clone(),
            root_pem: issuer.pem(),
            tls,
        })
    }
}

fn distinguished_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
