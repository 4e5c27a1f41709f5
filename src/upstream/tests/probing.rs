//! The steps of a probe, which sends only a handshake.

use std::time::Duration;

use super::world::{
    Authority, NAME, Server, dialer, dialer_with_timeouts, long_timeouts, server_config, target,
};
use crate::domain::address::ForbiddenAddress;
use crate::domain::{Host, Http2Mode};
use crate::upstream::failure::{ConnectFault, DnsFault, TlsFault};
use crate::upstream::{
    DialTarget, DialTimeouts, Dialer, Failure, ProbeStep, ProbeStepKind, ResolverSettings,
};

use ProbeStepKind::{Addresses, Connect, Handshake, Resolve};

/// Returns the kinds of the steps, and the result of the last one.
fn kinds_and_last_outcome(steps: &[ProbeStep]) -> (Vec<ProbeStepKind>, Result<String, Failure>) {
    let kinds = steps.iter().map(|step| step.kind).collect();
    for step in steps.split_last().unwrap().1 {
        assert!(step.outcome.is_ok(), "{steps:?}");
    }
    let last = match &steps.last().unwrap().outcome {
        Ok(found) => Ok(found.clone()),
        Err(broken) => Err(broken.failure),
    };
    (kinds, last)
}

/// Probes a server that supports these protocols.
async fn probe_server(protocols: &[&str], http2: Http2Mode) -> (Vec<ProbeStep>, Server) {
    let authority = Authority::new();
    let server = Server::start_tls(server_config(authority.issue(|_| {}), protocols)).await;
    let target = target(server.address.port(), http2, &authority.trust());
    (dialer(&["127.0.0.1"]).probe(&target).await, server)
}

#[tokio::test]
async fn a_working_upstream_is_reported_step_by_step_without_http() {
    for (protocols, http2, agreed, sockets) in [
        (
            &["http/1.1"][..],
            Http2Mode::Auto,
            "TLS 1.3 with X25519MLKEM768, http/1.1, cert",
            1,
        ),
        (
            &["h2", "http/1.1"],
            Http2Mode::Prefer,
            "TLS 1.3 with X25519MLKEM768, h2, cert",
            1,
        ),
        (
            &["h2"],
            Http2Mode::Auto,
            "TLS 1.3 with X25519MLKEM768, h2, the only protocol of the server, cert",
            2,
        ),
        (
            &[],
            Http2Mode::Auto,
            "TLS 1.3 with X25519MLKEM768, http/1.1 (the server selected no protocol), cert",
            1,
        ),
    ] {
        let (steps, server) = probe_server(protocols, http2).await;
        let (kinds, last) = kinds_and_last_outcome(&steps);
        assert_eq!(kinds, [Resolve, Addresses, Connect, Handshake]);
        assert!(last.clone().unwrap().starts_with(agreed), "{last:?}");
        assert_eq!(steps[0].outcome.as_deref(), Ok("127.0.0.1"));
        let peer = format!("to {}", server.address);
        assert_eq!(steps[2].outcome.as_deref(), Ok(peer.as_str()));
        assert_eq!(
            (server.accepted_count(), server.clear_bytes()),
            (sockets, 0)
        );
    }
}

#[tokio::test]
async fn the_last_step_is_the_one_that_failed() {
    let authority = Authority::new();
    let trust = authority.trust();
    let probe = async |dialer: &Dialer, port, allowed_cidrs: &[_]| {
        let target = DialTarget::new(
            &Host::Name(NAME.into()),
            port,
            allowed_cidrs,
            Http2Mode::Auto,
            &trust,
        );
        kinds_and_last_outcome(&dialer.probe(&target).await)
    };
    let here = ["127.0.0.0/8".parse().unwrap()];

    let nowhere = dialer_with_timeouts(&ResolverSettings::with_servers(&[], ""));
    let unresolved = Err(Failure::Dns(DnsFault::Server));
    assert_eq!(
        probe(&nowhere, 443, &here).await,
        (vec![Resolve], unresolved)
    );

    let local = dialer(&["127.0.0.1"]);
    let loopback = ForbiddenAddress::NotGlobal("loopback");
    let forbidden = Err(Failure::AddressRefused(loopback));
    assert_eq!(
        probe(&local, 443, &[]).await,
        (vec![Resolve, Addresses], forbidden)
    );

    let closed = Server::start("127.0.0.1:0", |_| async {}).await.address;
    let freed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = freed.local_addr().unwrap().port();
    drop(freed);
    let refused = Err(Failure::Connect(ConnectFault::Refused));
    assert_eq!(
        probe(&local, free, &here).await,
        (vec![Resolve, Addresses, Connect], refused)
    );

    let broken = Err(Failure::Tls(TlsFault::Protocol));
    let all = vec![Resolve, Addresses, Connect, Handshake];
    assert_eq!(
        probe(&local, closed.port(), &here).await,
        (all.clone(), broken)
    );

    let silent = Server::start("127.0.0.1:0", |socket| async move {
        let _kept = socket.readable().await;
        std::future::pending::<()>().await;
    });
    let silent = silent.await.address.port();
    let times = DialTimeouts {
        handshake: Duration::from_millis(1),
        ..long_timeouts()
    };
    let names = ResolverSettings::with_servers(&[], &format!("127.0.0.1 {NAME}"));
    let hasty = Dialer::new(names.resolver(times.connect), times, [].into());
    let timeout = Err(Failure::Tls(TlsFault::Timeout(times.handshake)));
    assert_eq!(probe(&hasty, silent, &here).await, (all, timeout));
}

#[tokio::test]
async fn every_forbidden_address_is_named() {
    let trust = Authority::new().trust();
    let dialer = dialer(&["1.1.1.1", "10.0.0.1", "169.254.169.254"]);
    let target = DialTarget::new(&Host::Name(NAME.into()), 443, &[], Http2Mode::Auto, &trust);
    let steps = dialer.probe(&target).await;
    let Err(broken) = &steps.last().unwrap().outcome else {
        panic!("{steps:?}");
    };
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(
        broken.forbidden,
        [
            (address("10.0.0.1"), ForbiddenAddress::NotGlobal("private")),
            (
                address("169.254.169.254"),
                ForbiddenAddress::Never("link-local")
            ),
        ]
    );
}

#[tokio::test]
async fn an_address_in_the_url_is_checked_without_resolving() {
    let trust = Authority::new().trust();
    let nowhere = dialer_with_timeouts(&ResolverSettings::with_servers(&[], ""));
    let host = Host::Ip([10, 0, 0, 1].into());
    let target = DialTarget::new(&host, 443, &[], Http2Mode::Auto, &trust);
    let (kinds, last) = kinds_and_last_outcome(&nowhere.probe(&target).await);
    assert_eq!(kinds, [Resolve, Addresses]);
    let private = ForbiddenAddress::NotGlobal("private");
    assert_eq!(last, Err(Failure::AddressRefused(private)));
}
