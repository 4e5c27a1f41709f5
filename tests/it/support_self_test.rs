//! Tests of the test support: its parts are tested against each other, so that other tests can rely
//! on them.

use std::io::Write;

use crate::support::message::{End, Framing};
use crate::support::reply::Ending;
use crate::support::{Agent, Gate, Upstream};

/// Starts an upstream without TLS that answers the first request of each socket with these bytes.
fn answering(bytes: &'static [u8]) -> Upstream {
    Upstream::script_without_tls(move |wire| {
        wire.request();
        wire.send(bytes);
    })
}

#[test]
fn an_agent_reads_a_length_chunks_and_a_head_reply() {
    let up = Upstream::script_without_tls(|wire| {
        wire.request();
        wire.send("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nT: x\r\n\r\n");
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    });
    let mut agent = Agent::connect_to(up.address());
    let sized = agent.get("/a");
    assert_eq!(
        (sized.informational.as_slice(), sized.text().as_str()),
        (&[103][..], "abc")
    );
    let chunked = agent.request("POST", "/b", &[("X", "1")], b"hello");
    assert_eq!(
        (chunked.text().as_str(), chunked.chunks.as_slice()),
        ("abc", &[1, 2][..])
    );
    assert_eq!(chunked.trailers.single_value("t").as_deref(), Some("x"));
    agent.request("HEAD", "/c", &[], b"").expect_status(200);
    agent.half_close();
    agent.expect_close();

    let requests = up.requests();
    let targets: Vec<_> = requests
        .iter()
        .map(|r| (r.method.as_str(), r.target.as_str()))
        .collect();
    assert_eq!(targets, [("GET", "/a"), ("POST", "/b"), ("HEAD", "/c")]);
    assert_eq!(requests[1].framing, Framing::Length(5));
    assert_eq!(requests[1].body.bytes, b"hello");
    assert_eq!(requests[1].fields.single_value("x").as_deref(), Some("1"));
    assert_eq!((up.sockets(), requests[2].socket), (1, 0));
}

#[test]
fn an_agent_distinguishes_a_complete_reply_from_an_aborted_one() {
    let rows: [(&'static [u8], Ending); 4] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            Ending::Whole,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            Ending::Aborted,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
            Ending::Aborted,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Ending::Whole,
        ),
    ];
    for (bytes, ending) in rows {
        let up = answering(bytes);
        let mut agent = Agent::connect_to(up.address());
        agent.send("GET / HTTP/1.1\r\n\r\n");
        agent.half_close();
        assert_eq!(
            agent.reply().ending,
            ending,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn an_upstream_ends_a_stream_in_three_ways() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        match wire.socket() {
            0 => wire.close_with_notify(),
            1 => wire.close_without_notify(),
            _ => {
                waits.wait();
                wire.reset();
            }
        }
    });
    let mut ends = Vec::new();
    for socket in 0..3 {
        let mut tls = tls_to(&up);
        tls.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        if socket == 2 {
            gate.open();
        }
        let mut inbox = crate::support::message::RecordingReader::new();
        ends.push(inbox.drain(&mut tls));
        tls.sock.shutdown(std::net::Shutdown::Both).ok();
    }
    assert_eq!(ends, [End::Clean, End::Broken, End::Broken]);
    up.wait_closed(3);
    assert_eq!(up.raw(), b"GET / HTTP/1.1\r\n\r\n".repeat(3));
}

fn tls_to(up: &Upstream) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(crate::support::certs::ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let session = rustls::ClientConnection::new(config.into(), name).unwrap();
    let tcp = std::net::TcpStream::connect(up.address()).unwrap();
    tcp.set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    rustls::StreamOwned::new(session, tcp)
}
