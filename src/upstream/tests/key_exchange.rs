//! The key exchange: post-quantum with servers that support it, and no failure with those that do
//! not.

use std::sync::Arc;

use rustls::NamedGroup::{X25519, X25519MLKEM768, secp256r1, secp384r1};
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{HandshakeKind, NamedGroup, SupportedProtocolVersion, version};

use super::world::{Authority, Server, dialer, server_config_with, target};
use crate::domain::Http2Mode;
use crate::upstream::tls::provider;

use HandshakeKind::{Full, FullWithHelloRetryRequest};

/// Dials a server twice that supports only these groups and issues no tickets. Returns the group
/// and the kind of both handshakes.
async fn dial_twice(
    groups: &[&'static dyn SupportedKxGroup],
    version: &'static SupportedProtocolVersion,
) -> [(NamedGroup, HandshakeKind); 2] {
    let authority = Authority::new();
    let mut provider = Arc::unwrap_or_clone(provider());
    provider.kx_groups = groups.to_vec();
    let mut config = server_config_with(provider.into(), &[version], authority.issue(|_| {}));
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let server = Server::start_tls(config).await;
    let target = target(server.address.port(), Http2Mode::Auto, &authority.trust());
    let dialer = dialer(&["127.0.0.1"]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let session = dialer.dial(&target).await.unwrap().into_session();
        let state = session.session();
        let group = state.negotiated_key_exchange_group().unwrap().name();
        seen.push((group, state.handshake_kind().unwrap()));
    }
    seen.try_into().unwrap()
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_if_the_server_supports_it() {
    for groups in [
        &[kx_group::X25519MLKEM768][..],
        &[kx_group::X25519MLKEM768, kx_group::X25519],
        &[kx_group::X25519, kx_group::X25519MLKEM768],
    ] {
        let seen = dial_twice(groups, &version::TLS13).await;
        assert_eq!(seen, [(X25519MLKEM768, Full); 2], "{groups:?}");
    }
}

#[tokio::test]
async fn a_server_without_post_quantum_key_exchange_is_reached() {
    // The ClientHello contains an X25519 key beside the hybrid one, so X25519 takes no second round
    // trip.
    let seen = dial_twice(&[kx_group::X25519], &version::TLS13).await;
    assert_eq!(seen, [(X25519, Full); 2]);
    // Other groups take a HelloRetryRequest, once: later sockets offer the server's group at once.
    for (group, name) in [
        (kx_group::SECP256R1, secp256r1),
        (kx_group::SECP384R1, secp384r1),
    ] {
        let seen = dial_twice(&[group], &version::TLS13).await;
        assert_eq!(seen, [(name, FullWithHelloRetryRequest), (name, Full)]);
    }
    // TLS 1.2 has no hybrid groups.
    let groups = [kx_group::X25519MLKEM768, kx_group::SECP256R1];
    let seen = dial_twice(&groups, &version::TLS12).await;
    assert_eq!(seen, [(secp256r1, Full); 2]);
}
