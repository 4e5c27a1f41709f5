//! Streaming bodies: sent at once if the receiver waits for them, complete if they are large, and
//! in both directions at the same time.

use crate::support::message::{Framing, find_bytes};
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

fn before(up: &Upstream) -> Sidecar {
    Sidecar::with(connection("crm").allow("/").upstream(up)).start()
}

#[test]
fn an_event_arrives_before_the_next_one_is_sent() {
    // F-133
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    let reply = agent.open_reply();
    assert_eq!(reply.fields.all("content-type"), ["text/event-stream"]);
    assert_eq!(reply.framing, Framing::Chunked);
    assert_eq!(agent.chunk().as_deref(), Some(&b"data: first\n\n"[..]));
    gate.open();
    assert_eq!(agent.chunk().as_deref(), Some(&b"data: second\n\n"[..]));
    assert_eq!(agent.chunk().as_deref(), Some(&b""[..]));
}

#[test]
fn events_in_one_byte_frames_arrive_at_once() {
    // F-133
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n");
        for byte in b"data: first\n\n" {
            wire.send([*byte]);
        }
        waits.wait();
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.open_reply();
    let mut event = Vec::new();
    while find_bytes(&event, b"\n\n").is_none() {
        event.extend(agent.chunk().expect("the rest of the event"));
    }
    assert_eq!(event, b"data: first\n\n");
    gate.open();
    assert_eq!(agent.chunk().as_deref(), Some(&b""[..]));
}

#[test]
fn other_bodies_are_not_held_back_either() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n");
        waits.wait();
        wire.send("2\r\n2\n\r\n0\r\n\r\n");
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/lines HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.open_reply();
    assert_eq!(agent.chunk().as_deref(), Some(&b"1\n"[..]));
    gate.open();
    assert_eq!(agent.chunk().as_deref(), Some(&b"2\n"[..]));
}

#[test]
fn a_head_arrives_before_its_body() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        waits.wait();
        wire.send("hi");
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("\r\n\r\n");
    gate.open();
    assert_eq!(agent.reply().expect_status(200).text(), "hi");
}

#[test]
fn an_upload_reaches_the_upstream_while_it_is_sent() {
    let gate = Gate::new();
    let received = gate.clone();
    let up = Upstream::script(move |wire| {
        let head = wire.head().expect("a request");
        assert_eq!(head.framing, Framing::Chunked);
        assert_eq!(wire.take(8), b"3\r\nabc\r\n");
        received.open();
        assert_eq!(wire.take(13), b"3\r\ndef\r\n0\r\n\r\n");
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send(
        "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    gate.wait();
    agent.send("3\r\ndef\r\n0\r\n\r\n");
    agent.reply().expect_status(200);
}

#[test]
fn five_megabytes_in_each_direction() {
    let bytes: Vec<u8> = (0..5_000_000_u32)
        .map(|n| n.to_le_bytes()[usize::from(n % 7 > 3)])
        .collect();
    let back = bytes.clone();
    let up = Upstream::answer(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", back.len());
        [head.as_bytes(), &back].concat()
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.request("POST", "/crm/x", &[], &bytes);
    assert!(
        reply.expect_status(200).body == bytes,
        "the agent received another body"
    );
    assert_eq!(reply.framing, Framing::Length(bytes.len()));
    let arrived = up.only_request();
    assert!(
        arrived.body.bytes == bytes,
        "the upstream received another body"
    );
    assert_eq!(arrived.framing, Framing::Length(bytes.len()));
}

#[test]
fn two_hundred_requests_on_one_socket_use_one_upstream_socket() {
    let up = Upstream::echo();
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for n in 0..200 {
        let echo = agent.get(&format!("/crm/{n}")).expect_status(200).json();
        assert_eq!(echo["target"], format!("/{n}"));
    }
    assert_eq!((up.requests().len(), up.sockets()), (200, 1));
}

#[test]
fn tiny_frames_are_coalesced() {
    let up = Upstream::reply(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "1\r\na\r\n".repeat(2000)
    ));
    let sidecar = before(&up);
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(reply.expect_status(200).body, b"a".repeat(2000));
    assert!(reply.chunks.len() < 200, "{} chunks", reply.chunks.len());
}
