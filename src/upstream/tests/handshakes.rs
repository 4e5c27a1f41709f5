//! Certificates, broken handshakes, and the negotiated protocol.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{
    Authority, Identity, LONG_TIMEOUT, NAME, Server, common_name, dialer, long_timeouts,
    server_config, target,
};
use crate::domain::{Host, Http2Mode};
use crate::upstream::failure::TlsFault;
use crate::upstream::{
    DialTarget, DialTimeouts, Dialer, Failure, NegotiatedSocket, ResolverSettings,
};

async fn dial_failure(server: &Server, authority: &Authority, http2: Http2Mode) -> Option<Failure> {
    let target = target(server.address.port(), http2, &authority.trust());
    dialer(&["127.0.0.1"]).dial(&target).await.err()
}

fn certificate(reason: &'static str) -> Option<Failure> {
    Some(Failure::Tls(TlsFault::Certificate(reason)))
}

fn self_signed() -> Identity {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    Identity {
        chain: vec![made.cert.der().clone()],
        key: made.signing_key.into(),
    }
}

#[tokio::test]
async fn an_untrusted_certificate_fails_the_handshake() {
    // F-90
    let authority = Authority::new();
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let named_otherwise = |name: &'static str| {
        authority.issue(move |params| params.subject_alt_names = vec![dns(name)])
    };
    for (identity, reason) in [
        (
            authority.issue(|params| params.not_after = date_time_ymd(2020, 1, 1)),
            "expired",
        ),
        (
            authority.issue(|params| {
                params.not_before = date_time_ymd(4000, 1, 1);
                params.not_after = date_time_ymd(4001, 1, 1);
            }),
            "not yet valid",
        ),
        (self_signed(), "unknown issuer"),
        (
            Authority::with_common_name("another").issue(|_| {}),
            "unknown issuer",
        ),
        (Authority::new().issue(|_| {}), "bad signature"),
        (named_otherwise("other.test"), "name mismatch"),
        (named_otherwise("*.upstream.test"), "name mismatch"),
        (named_otherwise("*.*"), "name mismatch"),
        (
            authority.issue(|params| {
                params.subject_alt_names = Vec::new();
                params.distinguished_name = common_name(NAME);
            }),
            "name mismatch",
        ),
        (
            authority.issue(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "not for servers",
        ),
    ] {
        let server = Server::start_tls(server_config(identity, &[])).await;
        let failure = dial_failure(&server, &authority, Http2Mode::Auto).await;
        assert_eq!(failure, certificate(reason));
        assert_eq!((server.accepted_count(), server.clear_bytes()), (1, 0));
    }
}

#[tokio::test]
async fn a_literal_address_needs_a_certificate_of_its_own() {
    // F-90
    let authority = Authority::new();
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let allowed_cidrs = ["127.0.0.0/8".parse().unwrap()];
    let by_address = authority.issue(|p| p.subject_alt_names = vec![SanType::IpAddress(loopback)]);
    for (identity, failure) in [
        (by_address, None),
        (authority.issue(|_| {}), certificate("name mismatch")),
    ] {
        let server = Server::start_tls(server_config(identity, &[])).await;
        let (host, port) = (Host::Ip(loopback), server.address.port());
        let target = DialTarget::new(
            &host,
            port,
            &allowed_cidrs,
            Http2Mode::Auto,
            &authority.trust(),
        );
        assert_eq!(dialer(&[]).dial(&target).await.err(), failure);
    }
}

async fn reset_socket(socket: TcpStream) {
    socket.set_zero_linger().unwrap();
}

async fn close_socket(mut socket: TcpStream) {
    let _ = socket.read(&mut [0; 1]).await;
}

async fn answer_http(mut socket: TcpStream) {
    let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    read_to_end(socket).await;
}

async fn answer_garbage(mut socket: TcpStream) {
    let _ = socket.write_all(&[0x5a; 512]).await;
    read_to_end(socket).await;
}

/// Answers with a `ServerHello` of TLS 1.0.
async fn answer_tls10(mut socket: TcpStream) {
    let _ = socket.write_all(&server_hello([3, 1], &[])).await;
    read_to_end(socket).await;
}

async fn read_to_end(mut socket: TcpStream) {
    while let Ok(1..) = socket.read(&mut [0; 1024]).await {}
}

/// Returns a record with a `ServerHello` (RFC 5246 §7.4.1.3) of this version and with these
/// extensions.
fn server_hello(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut hello = [&version[..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
    hello.extend(length(extensions));
    hello.extend(extensions);
    let message = [&[2, 0][..], &length(&hello), &hello].concat();
    [&[22, 3, 3][..], &length(&message), &message].concat()
}

#[tokio::test]
async fn a_broken_handshake_is_a_protocol_fault() {
    // F-89
    let authority = Authority::new();
    let expected = Some(Failure::Tls(TlsFault::Protocol));
    let servers = [
        Server::start("127.0.0.1:0", reset_socket).await,
        Server::start("127.0.0.1:0", close_socket).await,
        Server::start("127.0.0.1:0", answer_http).await,
        Server::start("127.0.0.1:0", answer_garbage).await,
        Server::start("127.0.0.1:0", answer_tls10).await,
    ];
    for server in servers {
        let failure = dial_failure(&server, &authority, Http2Mode::Auto).await;
        assert_eq!(failure, expected);
        assert_eq!(
            server.accepted_count(),
            1,
            "a broken handshake is not repeated"
        );
    }
}

#[tokio::test]
async fn a_stalled_handshake_times_out() {
    // F-89
    let authority = Authority::new();
    let server = Server::start("127.0.0.1:0", read_to_end).await;
    let names = ResolverSettings::with_servers(&[], &format!("127.0.0.1 {NAME}"));
    let times = DialTimeouts {
        handshake: Duration::from_millis(20),
        ..long_timeouts()
    };
    let dialer = Dialer::new(names.resolver(LONG_TIMEOUT), times, Arc::default());
    let target = target(server.address.port(), Http2Mode::Auto, &authority.trust());
    let outcome = dialer.dial(&target).await;
    let fault = TlsFault::Timeout(times.handshake);
    assert_eq!(outcome.err(), Some(Failure::Tls(fault)));
}

#[tokio::test]
async fn a_protocol_that_was_not_offered_is_rejected() {
    // F-91
    let authority = Authority::new();
    let choose = |protocol: &'static [u8]| {
        move |mut socket: TcpStream| async move {
            let size = u8::try_from(protocol.len()).unwrap();
            let alpn = [&[0, 16, 0, size + 3, 0, size + 1, size], protocol].concat();
            let _ = socket.write_all(&server_hello([3, 3], &alpn)).await;
            read_to_end(socket).await;
        }
    };
    let expected = Some(Failure::Tls(TlsFault::Alpn));
    let server = Server::start("127.0.0.1:0", choose(b"h2")).await;
    let failure = dial_failure(&server, &authority, Http2Mode::Never).await;
    assert_eq!(failure, expected);
    assert_eq!(server.accepted_count(), 1);
    for http2 in [Http2Mode::Never, Http2Mode::Auto, Http2Mode::Prefer] {
        let server = Server::start("127.0.0.1:0", choose(b"spdy/1")).await;
        let failure = dial_failure(&server, &authority, http2).await;
        assert_eq!(failure, expected);
    }
}

/// Returns the protocols of three dials in a row (`1`, `2`, or `-` for an alert), and the number of
/// sockets that they took.
async fn negotiated_protocol(protocols: &[&str], http2: Http2Mode) -> (String, usize) {
    let authority = Authority::new();
    let server = Server::start_tls(server_config(authority.issue(|_| {}), protocols)).await;
    let target = target(server.address.port(), http2, &authority.trust());
    let dialer = dialer(&["127.0.0.1"]);
    let mut seen = String::new();
    for _ in 0..3 {
        seen.push(match dialer.dial(&target).await {
            Ok(NegotiatedSocket::Http1(_)) => '1',
            Ok(NegotiatedSocket::Http2(_)) => '2',
            Err(Failure::Tls(TlsFault::Alert)) => '-',
            Err(other) => panic!("{other}"),
        });
    }
    (seen, server.accepted_count())
}

#[tokio::test]
async fn the_negotiated_protocol_depends_on_both_sides() {
    for (protocols, http2, seen, sockets) in [
        (&["h2", "http/1.1"][..], Http2Mode::Auto, "111", 3),
        (&["h2", "http/1.1"], Http2Mode::Prefer, "222", 3),
        (&["h2", "http/1.1"], Http2Mode::Never, "111", 3),
        (&["http/1.1"], Http2Mode::Auto, "111", 3),
        (&["http/1.1"], Http2Mode::Prefer, "111", 3),
        (&[], Http2Mode::Auto, "111", 3),
        (&[], Http2Mode::Prefer, "111", 3),
        // The first dial takes a second socket. Then the target remembers the protocol.
        (&["h2"], Http2Mode::Auto, "222", 4),
        (&["h2"], Http2Mode::Prefer, "222", 3),
        (&["h2"], Http2Mode::Never, "---", 3),
    ] {
        let outcome = negotiated_protocol(protocols, http2).await;
        assert_eq!(
            outcome,
            (seen.to_owned(), sockets),
            "{protocols:?} {http2:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_stopped_offering_http2_is_still_reached() {
    let authority = Authority::new();
    let old = Server::start_tls(server_config(authority.issue(|_| {}), &["h2"])).await;
    let port = old.address.port();
    let target = target(port, Http2Mode::Auto, &authority.trust());
    let first = dialer(&["127.0.0.1"]).dial(&target).await;
    assert!(matches!(first, Ok(NegotiatedSocket::Http2(_))));
    let config = server_config(authority.issue(|_| {}), &["http/1.1"]);
    let new = Server::start_tls_on(&format!("127.0.0.2:{port}"), config).await;
    for _ in 0..2 {
        let later = dialer(&["127.0.0.2"]).dial(&target).await;
        assert!(matches!(later, Ok(NegotiatedSocket::Http1(_))));
    }
    assert_eq!(new.accepted_count(), 2);
}

#[tokio::test]
async fn sessions_are_resumed_within_a_connection_but_not_across_connections() {
    let authority = Authority::new();
    let trust = authority.trust();
    let server = {
        let acceptor =
            tokio_rustls::TlsAcceptor::from(Arc::new(server_config(authority.issue(|_| {}), &[])));
        Server::start("127.0.0.1:0", move |socket| {
            let acceptor = acceptor.clone();
            async move {
                let mut session = acceptor.accept(socket).await.unwrap();
                let resumed =
                    session.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
                session.write_all(&[u8::from(resumed)]).await.unwrap();
                let _ = session.read(&mut [0; 1]).await;
            }
        })
        .await
    };
    let dialer = dialer(&["127.0.0.1"]);
    let [one, two] = [(); 2].map(|()| target(server.address.port(), Http2Mode::Auto, &trust));
    let mut seen = Vec::new();
    for target in [&one, &one, &two] {
        let Ok(NegotiatedSocket::Http1(mut session)) = dialer.dial(target).await else {
            panic!("no session");
        };
        // The session tickets arrive before this byte.
        seen.push(session.read_u8().await.unwrap());
    }
    assert_eq!(seen, [0, 1, 0]);
}
