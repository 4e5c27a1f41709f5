//! Signature algorithms of certificates. Inspection proxies of companies use P-521, and some
//! authorities sign with P-256 and SHA-512.

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA256, PKCS_ECDSA_P521_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::world::{Authority, Identity, NAME, Server, dialer, server_config, target};
use crate::domain::Http2Mode;
use crate::upstream::{Failure, NegotiatedSocket, Trust};

/// A certificate authority, a server certificate for [`NAME`] and its key, in this order. Both
/// certificates are signed with P-256 and SHA-512, which rcgen cannot do:
/// `openssl x509 -req -sha512`.
const P256_SHA512: &[u8] = include_bytes!("p256_sha512.pem");

async fn dial(identity: Identity, trust: &Trust) -> Result<NegotiatedSocket, Failure> {
    let server = Server::start_tls(server_config(identity, &[])).await;
    let target = target(server.address.port(), Http2Mode::Auto, trust);
    dialer(&["127.0.0.1"]).dial(&target).await
}

fn generate_key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

#[tokio::test]
async fn authorities_and_servers_with_any_curve_are_accepted() {
    for (issuer, server) in [
        (&PKCS_ECDSA_P521_SHA512, &PKCS_ECDSA_P256_SHA256),
        (&PKCS_ECDSA_P521_SHA512, &PKCS_ECDSA_P521_SHA512),
        (&PKCS_ECDSA_P521_SHA384, &PKCS_ECDSA_P384_SHA384),
        (&PKCS_ECDSA_P521_SHA256, &PKCS_ECDSA_P256_SHA256),
        (&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512),
        (&PKCS_ED25519, &PKCS_ED25519),
    ] {
        let authority = Authority::with_key("test authority", generate_key(issuer));
        let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let identity = authority.issue_for_key(&params, generate_key(server));
        let dialled = dial(identity, &authority.trust()).await;
        assert!(dialled.is_ok(), "{issuer:?} {server:?}: {dialled:?}");
    }
}

#[tokio::test]
async fn certificates_signed_with_p256_and_sha512_are_accepted() {
    let mut certificates = CertificateDer::pem_slice_iter(P256_SHA512).map(Result::unwrap);
    let root = certificates.next().unwrap();
    let identity = Identity {
        chain: certificates.collect(),
        key: PrivateKeyDer::from_pem_slice(P256_SHA512).unwrap(),
    };
    let trust = Trust::with_only_roots(&[root]).unwrap();
    let dialled = dial(identity, &trust).await;
    assert!(dialled.is_ok(), "{dialled:?}");
}
