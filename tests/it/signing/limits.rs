//! The limits of a held body: its size, its time, and the memory that all held bodies share.

use serde_json::json;

use super::{chunked, head, is_signed, signing};
use crate::support::connection::Connection;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const MIB: usize = 1024 * 1024;

#[test]
fn large_bodies_and_the_cap() {
    // F-102, F-103
    let bytes: Vec<u8> = (0..3 * MIB).map(|n| n.to_le_bytes()[n % 3]).collect();
    let up = Upstream::echo();
    let sidecar = Sidecar::with(signing(&up))
        .setting("proxy.max_request_body_bytes", 3 * MIB)
        .start();
    let chunks = |bytes: &[u8]| {
        let mut body = Vec::new();
        for chunk in bytes.chunks(70_001) {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        [chunked("POST", "").as_bytes(), &body, b"0\r\n\r\n"].concat()
    };
    let mut agent = Agent::connect(&sidecar);
    agent
        .request("POST", "/crm/x", &[], &bytes)
        .expect_status(200);
    agent.exchange(chunks(&bytes)).expect_status(200);
    for arrived in up.requests() {
        is_signed(&arrived, &bytes);
    }
    // With one byte more, announced or not, the request is refused and no socket is opened.
    let other = Upstream::echo();
    let sidecar = Sidecar::with(signing(&other))
        .setting("proxy.max_request_body_bytes", 3 * MIB)
        .start();
    let over = [bytes.as_slice(), b"a"].concat();
    let announced = Agent::connect(&sidecar).request("POST", "/crm/x", &[], &over);
    let grown = Agent::connect(&sidecar).exchange(chunks(&over));
    for reply in [announced, grown] {
        let problem = reply.refused(413, "request_too_large");
        assert_eq!(
            (problem.blame.as_str(), problem.retryable),
            ("agent", false)
        );
        assert_eq!(problem.connection.as_deref(), Some("crm"));
    }
    assert_eq!(other.sockets(), 0);
}

#[test]
fn a_body_that_is_not_whole_opens_no_socket() {
    // F-103: the same for every other way in which a body can fail.
    let up = Upstream::echo();
    let sidecar = Sidecar::with(signing(&up))
        .setting("proxy.body_idle_timeout_seconds", 1)
        .start();
    let mut idle = [
        head("POST", "Content-Length: 5\r\n") + "he",
        chunked("POST", "2\r\nhe\r\n"),
    ]
    .map(|request| {
        let mut agent = Agent::connect(&sidecar);
        agent.send(request);
        agent
    });
    let mut broken = Agent::connect(&sidecar);
    broken
        .exchange(chunked("POST", "2\r\nhello\r\n"))
        .refused(400, "malformed_request");
    broken.expect_close();
    let crumbs = chunked("POST", &"1\r\na\r\n".repeat(40_000));
    Agent::connect(&sidecar)
        .exchange(crumbs)
        .refused(400, "malformed_request");
    let mut gone = Agent::connect(&sidecar);
    gone.send(head(
        "POST",
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
    ));
    gone.wait_for("100 Continue");
    gone.send("he");
    gone.reset();
    for agent in &mut idle {
        agent.reply().refused(408, "request_timeout");
        agent.expect_close();
    }
    assert_eq!(up.sockets(), 0);
    Agent::connect(&sidecar)
        .request("POST", "/crm/x", &[], b"hello")
        .expect_status(200);
    assert_eq!(up.sockets(), 1);
}

#[test]
fn the_deadline_holds_while_a_body_is_held() {
    let up = Upstream::echo();
    let crm = signing(&up).http("timeout_seconds", json!(1));
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    agent
        .exchange(head("POST", "Content-Length: 5\r\n") + "he")
        .refused(408, "request_timeout");
    assert_eq!(up.sockets(), 0);
    // Once the body is complete, the upstream is the cause of the delay.
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::answer(move |_| {
        waits.wait();
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    });
    let crm = signing(&up).http("timeout_seconds", json!(1));
    let sidecar = Sidecar::with(crm).start();
    let reply = Agent::connect(&sidecar).request("POST", "/crm/x", &[], b"hello");
    reply.refused(504, "upstream_timeout");
    gate.open();
}

/// The length of an upload that is much longer than the socket buffers: once it is sent, egressd
/// has read more than half of it.
const LONG: usize = 30 * MIB;

/// A sidecar with two connections that sign and one that does not.
fn three(up: &Upstream) -> Sidecar {
    let free = connection("free").allow("/").upstream(up);
    // Long enough for uploads that wait for each other on a machine that is building.
    let patient = |connection: Connection| connection.http("timeout_seconds", json!(300));
    Sidecar::with(patient(signing(up)))
        .with_connection(patient(signing(up).rename("erp")))
        .with_connection(patient(free))
        .setting("proxy.body_idle_timeout_seconds", 300)
        .setting("proxy.max_request_body_bytes", LONG)
        .setting("proxy.workers", 2)
        .start()
}

/// An upload to `crm` without its last byte.
fn begun(sidecar: &Sidecar) -> Agent {
    let mut agent = Agent::connect(sidecar);
    agent.send(head("POST", &format!("Content-Length: {LONG}\r\n")));
    agent.send(vec![b'a'; LONG - 1]);
    agent
}

#[test]
fn what_one_connection_holds_leaves_the_others_their_share() {
    // F-162, F-263
    let up = Upstream::body("ok");
    let sidecar = three(&up);
    let mut first = begun(&sidecar);
    assert_eq!(up.sockets(), 0);
    // Another connection has its own share, and a body that is not held is not charged.
    let body = vec![b'a'; 10 * MIB];
    for target in ["/erp/x", "/free/x"] {
        let reply = Agent::connect(&sidecar).request("POST", target, &[], &body);
        reply.expect_status(200);
    }
    is_signed(&up.requests()[0], &body);
    first.send("a");
    first.reply().expect_status(200);
    is_signed(&up.requests()[2], &vec![b'a'; LONG]);
    // Agents that hang up during the upload, in one way or another, do not affect it.
    begun(&sidecar).reset();
    begun(&sidecar).half_close();
    let reply = Agent::connect(&sidecar).request("POST", "/erp/x", &[], &body);
    reply.expect_status(200);
}

#[test]
fn announced_bodies_that_are_never_sent_do_not_use_up_the_budget() {
    // F-263: together they announce 1.8 GiB, and each is being read.
    let up = Upstream::body("ok");
    let sidecar = three(&up);
    let announcement = head(
        "POST",
        &format!("Expect: 100-continue\r\nContent-Length: {LONG}\r\n"),
    );
    let mut silent: Vec<Agent> = (0..60).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut silent {
        agent.send(&announcement);
    }
    for agent in &mut silent {
        agent.wait_for("HTTP/1.1 100 ");
    }
    for target in ["/crm/x", "/erp/x"] {
        let reply = Agent::connect(&sidecar).request("POST", target, &[], &vec![b'a'; 10 * MIB]);
        reply.expect_status(200);
    }
    assert_eq!(up.requests().len(), 2);
}

#[test]
fn a_dead_upstream_gives_the_memory_back() {
    // F-162
    let up = Upstream::script(|wire| {
        wire.head();
        wire.reset();
    });
    let sidecar = Sidecar::with(signing(&up))
        .setting("proxy.workers", 1)
        .start();
    let mut agent = Agent::connect(&sidecar);
    // 80 MiB in all.
    for _ in 0..8 {
        let reply = agent.request("POST", "/crm/x", &[], &vec![b'a'; 10 * MIB]);
        reply.refused(502, "upstream_protocol_error");
    }
}

#[test]
fn an_early_answer_comes_through() {
    // F-134
    let gate = Gate::new();
    let answered = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.head();
        wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
        // If the response were read earlier, the body might have been sent completely, and the
        // socket could be reused.
        answered.wait();
        wire.wait_for_end();
    });
    let sidecar = Sidecar::with(signing(&up)).start();
    let reply = Agent::connect(&sidecar).request("POST", "/crm/x", &[], &vec![b'a'; 8 * MIB]);
    assert_eq!(reply.expect_status(413).text(), "no");
    gate.open();
    up.wait_closed(1);
}

#[test]
fn a_body_is_not_read_for_what_is_refused_before() {
    // F-103: the address and everything before it is checked first.
    let up = Upstream::echo();
    let port = up.address().port();
    let forbidden = signing(&up)
        .rename("lan")
        .base_url(&format!("https://localhost:{port}"));
    let forbidden = forbidden.http("allowed_private_cidrs", json!([]));
    let sidecar = Sidecar::with(signing(&up))
        .with_connection(forbidden)
        .start();
    let rows = [
        ("/crm/%2e%2e/x", 400, "path_not_canonical"),
        ("/crm/x%2Fy", 400, "path_not_canonical"),
        ("/lan/x", 502, "address_refused"),
    ];
    for (target, status, code) in rows {
        let fields = "Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n";
        let reply =
            Agent::connect(&sidecar).exchange(format!("POST {target} HTTP/1.1\r\n{fields}\r\n"));
        reply.refused(status, code);
        assert!(
            reply.informational.is_empty(),
            "no 100 Continue was sent: {target}"
        );
    }
    assert_eq!(up.sockets(), 0);
}
