//! A certificate authority for one run. Its key signs one certificate and is dropped; nothing of it is written anywhere.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is left of the authority once it has done its work.
pub(super) struct Authority {
    /// Whom to trust.
    pub(super) root: CertificateDer<'static>,
    /// The server's side of a handshake, for `127.0.0.1` and `localhost`.
    pub(super) tls: ServerConfig,
}

/// Certificate or configuration could not be made.
pub(super) type NotMade = Box<dyn std::error::Error + Send + Sync>;

impl Authority {
    pub(super) fn new() -> Result<Self, NotMade> {
        let mut root = CertificateParams::default();
        root.distinguished_name = distinguished_name("egressd demo authority");
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer =
            CertifiedIssuer::self_signed(root, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        let mut leaf = CertificateParams::new(["localhost".to_owned()])?;
        leaf.subject_alt_names
            .push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        leaf.distinguished_name = distinguished_name("egressd demo API");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            root: issuer.der().clone(),
            tls,
        })
    }
}

fn distinguished_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
