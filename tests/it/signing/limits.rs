//! What a body that is held may cost: the cap, the time, and the memory that all of them share.

use std::time::Instant;

use serde_json::json;

use super::{chunked, head, is_signed, signing};
use crate::support::{Agent, Gate, PATIENCE, Sidecar, Upstream, connection};

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
    agent.request("POST", "/crm/x", &[], &bytes).expect(200);
    agent.exchange(chunks(&bytes)).expect(200);
    for arrived in up.requests() {
        is_signed(&arrived, &bytes);
    }
    // One byte more, announced and not: refused, and no socket is opened for it.
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
        .expect(200);
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
    // Once the body is whole, it is the upstream that is late.
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

/// Holds as many uploads of 10 MiB as there is room for, which is six. What others have held is given back as soon as egressd sees them go,
/// which is not while this thread is looking.
fn hold_six(sidecar: &Sidecar) -> Vec<Agent> {
    let end = Instant::now() + PATIENCE;
    let mut agents = Vec::new();
    while agents.len() < 6 {
        assert!(Instant::now() < end, "the budget never came back");
        let mut agent = Agent::connect(sidecar);
        agent.send(upload(10 * MIB));
        agent.wait_for("\r\n\r\n");
        if agent.seen().starts_with(b"HTTP/1.1 100 ") {
            agents.push(agent);
        } else {
            agent.reply().refused(503, "overloaded");
        }
    }
    agents
}

/// The head of an upload whose agent waits until it is asked for the body, which is once its memory is paid for.
fn upload(length: usize) -> String {
    head(
        "POST",
        &format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"),
    )
}

#[test]
fn all_bodies_together_have_a_budget() {
    // F-162
    let up = Upstream::body("ok");
    let free = connection("erp").allow("/").upstream(&up);
    let plan = Sidecar::with(signing(&up)).and(free);
    let sidecar = plan.setting("proxy.workers", 2).start();
    let mut six = hold_six(&sidecar);
    // 4 MiB are left. 250 more that announce too much are refused before a byte of them is read, whichever worker takes them.
    let mut others: Vec<Agent> = (0..250).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut others {
        agent.send(upload(10_000_000));
    }
    for agent in &mut others {
        let reply = agent.reply();
        let problem = reply.refused(503, "overloaded");
        assert!(reply.informational.is_empty(), "no byte was asked for");
        assert!(reply.fields.one("retry-after").is_some());
        let said = (
            problem.blame.as_str(),
            problem.retryable,
            problem.error.as_str(),
        );
        assert_eq!(said, ("proxy", true, "connection_limit_reached"));
    }
    // One that says nothing is refused when it has grown too large, and can read why while it is still sending.
    let grown = format!("{:x}\r\n{}", 5 * MIB, "a".repeat(5 * MIB));
    let reply = Agent::connect(&sidecar).exchange(chunked("POST", &grown));
    reply.refused(503, "overloaded");
    assert_eq!(up.sockets(), 0);
    // What is not held is served, and so is what fits.
    let streamed = Agent::connect(&sidecar).request("POST", "/erp/x", &[], &vec![b'a'; 8 * MIB]);
    streamed.expect(200);
    let mut one = six.remove(0);
    one.send(vec![b'a'; 10 * MIB]);
    one.reply().expect(200);
    is_signed(&up.requests()[1], &vec![b'a'; 10 * MIB]);
    // Agents that hang up, in one way or the other, give back what they had.
    six.remove(0).reset();
    six.remove(0).half_close();
    drop((six, one, others));
    hold_six(&sidecar);
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
        // Read any earlier, the body might have gone up whole, and the socket could be used again.
        answered.wait();
        wire.wait_end();
    });
    let sidecar = Sidecar::with(signing(&up)).start();
    let reply = Agent::connect(&sidecar).request("POST", "/crm/x", &[], &vec![b'a'; 8 * MIB]);
    assert_eq!(reply.expect(413).text(), "no");
    gate.open();
    up.wait_closed(1);
}

#[test]
fn a_body_is_not_read_for_what_is_refused_before() {
    // F-103: the address is judged first, and so is all that comes before it.
    let up = Upstream::echo();
    let port = up.address().port();
    let forbidden = signing(&up)
        .rename("lan")
        .base_url(&format!("https://localhost:{port}"));
    let forbidden = forbidden.http("allowed_private_cidrs", json!([]));
    let sidecar = Sidecar::with(signing(&up)).and(forbidden).start();
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
            "no byte was asked for: {target}"
        );
    }
    assert_eq!(up.sockets(), 0);
}
