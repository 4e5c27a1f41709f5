//! Addresses that are dialled, and addresses that never are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::world::{
    Authority, DnsReply, LONG_TIMEOUT, NAME, NameServer, Server, dialer, dialer_with_timeouts,
    long_timeouts, server_config, target,
};
use crate::domain::address::ForbiddenAddress;
use crate::domain::{Host, Http2Mode};
use crate::upstream::failure::ConnectFault;
use crate::upstream::{
    DialTarget, DialTimeouts, Dialer, Failure, NegotiatedSocket, ResolverSettings,
};

/// The future of a dial is `Send`, so it runs on any runtime.
const _: fn(&Dialer, &DialTarget) = |dialer, target| {
    fn is_send(_: impl Send) {}
    is_send(dialer.dial(target));
};

async fn start_upstream(authority: &Authority) -> Server {
    Server::start_tls(server_config(authority.issue(|_| {}), &[])).await
}

#[tokio::test]
async fn one_forbidden_address_fails_the_dial() {
    // F-81
    let authority = Authority::new();
    let server = start_upstream(&authority).await;
    let target = target(server.address.port(), Http2Mode::Auto, &authority.trust());
    for forbidden in ["10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"] {
        let outcome = dialer(&["127.0.0.1", forbidden]).dial(&target).await;
        assert!(matches!(outcome, Err(Failure::AddressRefused(_))));
    }
    assert_eq!(server.accepted_count(), 0);
    assert!(dialer(&["127.0.0.1"]).dial(&target).await.is_ok());
    assert_eq!(server.accepted_count(), 1);
}

#[tokio::test]
async fn loopback_needs_an_allowed_cidr_by_name_and_by_address() {
    // F-77, F-86
    let authority = Authority::new();
    let server = start_upstream(&authority).await;
    let port = server.address.port();
    for host in [
        Host::Name(NAME.into()),
        Host::Name("localhost".into()),
        Host::Ip("127.0.0.1".parse().unwrap()),
    ] {
        let target = DialTarget::new(&host, port, &[], Http2Mode::Auto, &authority.trust());
        let outcome = dialer(&["127.0.0.1"]).dial(&target).await;
        let loopback = ForbiddenAddress::NotGlobal("loopback");
        assert_eq!(outcome.err(), Some(Failure::AddressRefused(loopback)));
    }
    assert_eq!(server.accepted_count(), 0);
}

#[tokio::test]
async fn metadata_is_never_dialled_even_if_every_address_is_allowed() {
    // F-80, F-83: the address decides, not the name that led to it.
    let authority = Authority::new();
    let server = NameServer::start(|_, _| DnsReply::addresses(&["169.254.169.254"])).await;
    let dialer = dialer_with_timeouts(&ResolverSettings::with_servers(&[server.address], ""));
    let all = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    for host in [
        Host::Name("metadata.google.internal".into()),
        Host::Ip("169.254.169.254".parse().unwrap()),
        Host::Ip("::ffff:168.63.129.16".parse().unwrap()),
    ] {
        let target = DialTarget::new(&host, 80, &all, Http2Mode::Auto, &authority.trust());
        let outcome = dialer.dial(&target).await;
        assert!(matches!(outcome, Err(Failure::AddressRefused(_))));
    }
}

#[tokio::test]
async fn the_checked_address_is_the_one_that_is_dialled() {
    // F-82: the name is not resolved a second time.
    let authority = Authority::new();
    let good = start_upstream(&authority).await;
    let elsewhere = format!("127.0.0.66:{}", good.address.port());
    let bad = Server::start(&elsewhere, |_| async {}).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = NameServer::start(move |_, family| {
        let address = match (family, count.load(Ordering::SeqCst)) {
            (RecordType::A, 0) => "127.0.0.1",
            (RecordType::A, _) => "127.0.0.66",
            (_, _) => return DnsReply::addresses(&[]),
        };
        count.fetch_add(1, Ordering::SeqCst);
        DnsReply::Addresses(vec![address.parse().unwrap()], 0)
    })
    .await;
    let dialer = dialer_with_timeouts(&ResolverSettings::with_servers(&[server.address], ""));
    let target = target(good.address.port(), Http2Mode::Auto, &authority.trust());
    assert!(matches!(
        dialer.dial(&target).await,
        Ok(NegotiatedSocket::Http1(session))
            if session.io().stream().peer_addr().unwrap() == good.address
    ));
    assert_eq!((good.accepted_count(), bad.accepted_count()), (1, 0));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_after_a_refusal() {
    // F-88
    let authority = Authority::new();
    let server = start_upstream(&authority).await;
    let target = target(server.address.port(), Http2Mode::Auto, &authority.trust());
    let dialer = dialer(&["127.0.0.3", "127.0.0.4", "127.0.0.1"]);
    assert!(dialer.dial(&target).await.is_ok());
    assert_eq!(server.accepted_count(), 1);
}

#[tokio::test]
async fn a_closed_port_refuses_the_connection() {
    let authority = Authority::new();
    let port = start_upstream(&authority).await.address.port();
    let target = target(port, Http2Mode::Auto, &authority.trust());
    let outcome = dialer(&["127.0.0.3", "127.0.0.4"]).dial(&target).await;
    assert_eq!(outcome.err(), Some(Failure::Connect(ConnectFault::Refused)));
}

/// Returns a listener whose queue is full, so connection attempts get no answer.
async fn unresponsive_address(address: &str) -> (TcpListener, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let filling = TcpStream::connect(listener.local_addr().unwrap()).await;
    (listener, filling.unwrap())
}

#[tokio::test]
async fn the_next_address_is_tried_beside_an_unresponsive_one() {
    // F-88
    let authority = Authority::new();
    let server = start_upstream(&authority).await;
    let port = server.address.port();
    let _hole = unresponsive_address(&format!("127.0.0.5:{port}")).await;
    let names = ResolverSettings::with_servers(&[], &format!("127.0.0.5 {NAME}\n127.0.0.1 {NAME}"));
    let times = DialTimeouts {
        head_start: Duration::from_millis(1),
        ..long_timeouts()
    };
    let dialer = Dialer::new(names.resolver(LONG_TIMEOUT), times, Arc::default());
    let target = target(port, Http2Mode::Auto, &authority.trust());
    assert!(dialer.dial(&target).await.is_ok());
    assert_eq!(server.accepted_count(), 1);
}

#[tokio::test]
async fn a_connection_attempt_times_out() {
    let authority = Authority::new();
    let (listener, _filling) = unresponsive_address("127.0.0.1:0").await;
    let names = ResolverSettings::with_servers(&[], &format!("127.0.0.1 {NAME}"));
    let times = DialTimeouts {
        connect: Duration::from_millis(20),
        ..long_timeouts()
    };
    let dialer = Dialer::new(names.resolver(LONG_TIMEOUT), times, Arc::default());
    let port = listener.local_addr().unwrap().port();
    let target = target(port, Http2Mode::Auto, &authority.trust());
    let outcome = dialer.dial(&target).await;
    assert_eq!(outcome.err(), Some(Failure::Connect(ConnectFault::Timeout)));
}

#[tokio::test]
async fn own_listeners_are_never_dialled() {
    // F-94
    let authority = Authority::new();
    let server = start_upstream(&authority).await;
    let port = server.address.port();
    let target = target(port, Http2Mode::Auto, &authority.trust());
    let names = ResolverSettings::with_servers(&[], &format!("127.0.0.1 {NAME}"));
    for bound in [
        server.address,
        SocketAddr::from(([0, 0, 0, 0], port)),
        SocketAddr::from(([0; 16], port)),
    ] {
        let own = Arc::from([bound]);
        let dialer = Dialer::new(names.resolver(LONG_TIMEOUT), long_timeouts(), own);
        let outcome = dialer.dial(&target).await;
        assert_eq!(outcome.err(), Some(Failure::OwnListener));
    }
    assert_eq!(server.accepted_count(), 0);
}
