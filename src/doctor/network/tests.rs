//! Checks of the network on loopback: a name server that answers, one that does not, and the errors
//! of sockets.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use super::super::finding::FindingState;
use super::{
    Errno, Finding, NetworkProbe, ProbeTarget, ResolverSettings, SandboxCheck, failed_attempt,
};

const LIMIT: Duration = Duration::from_secs(10);

/// Answers this many DNS queries and stops. If `known`, queries for an IPv4 address get one.
fn name_server(questions: usize, known: bool) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        for _ in 0..questions {
            let (length, from) = socket.recv_from(&mut question).unwrap();
            let asked = &question[12..length];
            let name = asked.iter().position(|b| *b == 0).unwrap();
            let is_a = known && asked[name + 1..name + 3] == [0, 1];
            let mut answer = question[..12 + name + 5].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn run(finding: impl Future<Output = Finding>) -> Finding {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(finding)
}

fn probe(server: SocketAddr) -> NetworkProbe {
    NetworkProbe::with_settings(
        &ResolverSettings::with_servers(&[server], "127.0.0.1 known.test"),
        LIMIT,
    )
}

#[test]
fn a_name_server_that_answers_is_open() {
    let server = name_server(2, true);
    let found = run(async { probe(server).probe_name("public.test.".to_owned()).await });
    let expected = (
        FindingState::Open,
        "public.test",
        "answered with an address",
    );
    assert_eq!(
        (found.state, found.target.as_str(), found.seen.as_str()),
        expected
    );
    let server = name_server(2, true);
    let found = run(async {
        probe(server)
            .probe_name_server(server, "public.test.".to_owned())
            .await
    });
    assert_eq!(
        (found.state, found.target),
        (FindingState::Open, server.to_string())
    );
    // The server answers that the name has no address.
    let server = name_server(2, false);
    let found = run(async { probe(server).probe_name("public.test.".to_owned()).await });
    assert_eq!(found.state, FindingState::Unknown);
    let unreachable = ResolverSettings::with_servers(&[closed()], "");
    let found = run(async {
        let probe = NetworkProbe::with_settings(&unreachable, Duration::from_millis(50));
        probe.probe_name("public.test.".to_owned()).await
    });
    assert_eq!(found.state, FindingState::Closed);
}

#[test]
fn a_name_is_resolved_before_it_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tried = |name: &str| {
        let target = ProbeTarget::Name(name.to_owned(), port);
        run(async {
            probe(closed())
                .probe_tcp(SandboxCheck::Metadata, target)
                .await
        })
    };
    let found = tried("known.test");
    assert_eq!(
        (found.state, found.target),
        (FindingState::Open, format!("known.test:{port}"))
    );
    let found = tried("unknown.test.");
    assert_eq!(
        (found.state, found.seen.as_str()),
        (FindingState::Closed, "the name does not resolve")
    );
}

#[test]
fn only_errors_about_the_route_count_as_closed() {
    for (number, state) in [
        (Errno::CONNREFUSED, FindingState::Closed),
        (Errno::NETUNREACH, FindingState::Closed),
        (Errno::PERM, FindingState::Closed),
        (Errno::AFNOSUPPORT, FindingState::Closed),
        (Errno::MFILE, FindingState::Unknown),
        (Errno::NOBUFS, FindingState::Unknown),
    ] {
        let found = failed_attempt(SandboxCheck::Metadata, "a".to_owned(), &number.into());
        assert_eq!(found.state, state, "{found:?}");
        assert!(!found.seen.contains("os error"), "{found:?}");
    }
}
