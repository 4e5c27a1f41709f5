//! Event streams that egressd cuts: the last event states the reason, unless an event was sent in
//! part.

use serde_json::{Value, json};

use crate::support::certs::Alpn;
use crate::support::connection::Connection;
use crate::support::h2;
use crate::support::message::find_bytes;
use crate::support::reply::{Ending, Reply};
use crate::support::{Agent, DEADLINE, Gate, Sidecar, Upstream, connection};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
const FIRST: &str = "data: first\n\n";
const SECRET: &str = "secret-0123456789abcdef";
const GET: &str = "GET /crm/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// Sends each piece in a chunk of its own, and then closes the socket although the body is not
/// complete.
fn broken(head: &str, pieces: &'static [&str]) -> Upstream {
    let head = head.to_owned();
    Upstream::script(move |wire| {
        wire.request();
        wire.send(&head);
        for piece in pieces {
            wire.send(chunk(piece));
        }
    })
}

fn open(up: &Upstream) -> Connection {
    connection("crm").allow("/").upstream(up)
}

/// A connection whose responses are not searched, and one whose responses are.
fn unsearched_and_searched(up: &Upstream) -> [Connection; 2] {
    [open(up), open(up).bearer(SECRET)]
}

/// Asserts that the reply was cut off, and returns the events before the last one and the `error`
/// in the data of the last one.
fn cut_with_event(reply: &Reply) -> (String, Value) {
    assert_eq!((reply.status, reply.ending), (200, Ending::Aborted));
    let text = reply.text();
    let (before, event) = text
        .split_once("event: error\ndata: ")
        .unwrap_or_else(|| panic!("no last event: {text:?}"));
    let data = event.strip_suffix("\n\n").expect("an empty line");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["type"], "error", "{data}");
    let error = data["error"].clone();
    assert_eq!(error["type"], "egressd_refusal", "{data}");
    assert!(error["message"].is_string(), "{data}");
    (before.to_owned(), error)
}

fn assert_code(reply: &Reply, events: &str, code: &str) {
    let (before, error) = cut_with_event(reply);
    assert_eq!((before.as_str(), &error["code"]), (events, &json!(code)));
}

#[test]
fn a_stream_is_cut_with_an_event_after_the_deadline() {
    // F-133
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let crm = open(&up).http("timeout_seconds", json!(DEADLINE));
    let sidecar = Sidecar::with(crm).start();
    let reply = Agent::connect(&sidecar).get("/crm/events");
    assert_code(&reply, FIRST, "upstream_timeout");
    let (_, error) = cut_with_event(&reply);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`timeout_seconds`"), "{message}");
    gate.open();
    up.only_request();
}

#[test]
fn a_stream_that_the_upstream_breaks_off_ends_with_an_event() {
    // F-133
    let up = broken(HEAD, &[FIRST]);
    for crm in unsearched_and_searched(&up) {
        let sidecar = Sidecar::with(crm).start();
        let reply = Agent::connect(&sidecar).get("/crm/events");
        assert_code(&reply, FIRST, "upstream_protocol_error");
    }
    assert_eq!(up.requests().len(), 2);
}

#[test]
fn an_http2_stream_that_the_upstream_resets_ends_with_an_event() {
    let up = Upstream::script_with_alpn(Alpn::H2, |wire| {
        if h2::accept_preface(wire)
            && let Some(stream) = h2::request(wire)
        {
            let kind = h2::literal_field("content-type", "text/event-stream");
            let fields = [h2::STATUS_200, &kind].concat();
            wire.send(h2::frame(h2::HEADERS, h2::END_HEADERS, stream, &fields));
            wire.send(h2::frame(h2::DATA, 0, stream, FIRST.as_bytes()));
            wire.send(h2::frame(h2::RST_STREAM, 0, stream, &[0, 0, 0, 2]));
            h2::request(wire);
        }
    });
    for crm in unsearched_and_searched(&up) {
        let sidecar = Sidecar::with(crm).start();
        let reply = Agent::connect(&sidecar).get("/crm/events");
        assert_code(&reply, FIRST, "upstream_protocol_error");
    }
}

#[test]
fn a_stream_that_breaks_off_before_its_first_event_has_one_event() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(HEAD);
        waits.wait();
    });
    let sidecar = Sidecar::with(open(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send(GET);
    agent.wait_for("\r\n\r\n");
    gate.open();
    assert_code(&agent.reply(), "", "upstream_protocol_error");
}

#[test]
fn a_stream_with_a_secret_ends_with_an_event_instead() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(HEAD);
        wire.send(chunk(FIRST));
        waits.wait();
        wire.send(chunk(&format!("data: {SECRET}\n\n")));
        wire.request();
    });
    let sidecar = Sidecar::with(open(&up).bearer(SECRET)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send(GET);
    agent.wait_for(FIRST);
    gate.open();
    let reply = agent.reply();
    assert_code(&reply, FIRST, "credential_reflected");
    up.only_request();
}

#[test]
fn a_stream_ends_with_an_event_before_one_that_crosses_the_cap() {
    const SECOND: &str = "data: second\r\n\r\n";
    let cap = FIRST.len() + SECOND.len() + 9;
    for pieces in [
        &[FIRST, "data: second\r\n\r\ndata: third\n\n"][..],
        &["data: first\n\ndata: second\r\n\r\ndata: third\n\n"],
        &[FIRST, SECOND, "data: t", "hird\n\n"],
        &[FIRST, "data: second\r\n\r", "\ndata: t", "hi", "rd\n\n"],
    ] {
        let up = Upstream::script(move |wire| {
            wire.request();
            wire.send(HEAD);
            for piece in pieces {
                wire.send(chunk(piece));
            }
            wire.request();
        });
        for crm in unsearched_and_searched(&up) {
            let crm = crm.http("max_response_size_bytes", json!(cap));
            let sidecar = Sidecar::with(crm).start();
            let reply = Agent::connect(&sidecar).get("/crm/events");
            assert_code(&reply, &[FIRST, SECOND].concat(), "response_too_large");
            let (_, error) = cut_with_event(&reply);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(&format!(" {cap} bytes")), "{message}");
        }
        assert_eq!(up.requests().len(), 2);
    }
}

#[test]
fn a_stream_of_exactly_the_cap_is_complete() {
    const END: &str = "data: the end has no empty line\n";
    let up = Upstream::script(|wire| {
        while wire.request().is_some() {
            wire.send([HEAD, &chunk(FIRST), &chunk(END), "0\r\n\r\n"].concat());
        }
    });
    for crm in unsearched_and_searched(&up) {
        let cap = FIRST.len() + END.len();
        let crm = crm.http("max_response_size_bytes", json!(cap));
        let sidecar = Sidecar::with(crm).start();
        let reply = Agent::connect(&sidecar).get("/crm/events");
        assert_eq!(reply.expect_status(200).text(), [FIRST, END].concat());
    }
}

#[test]
fn no_event_follows_one_that_was_sent_in_part() {
    for pieces in [
        &[FIRST, "data: half"][..],
        &[FIRST, "data: half\n"],
        &["data: first\n\ndata: half\r\n"],
    ] {
        let up = broken(HEAD, pieces);
        let sidecar = Sidecar::with(open(&up)).start();
        let reply = Agent::connect(&sidecar).get("/crm/events");
        assert_eq!((reply.status, reply.ending), (200, Ending::Aborted));
        assert_eq!(reply.text(), pieces.concat());
    }
}

#[test]
fn what_the_search_holds_back_is_not_sent_in_part() {
    // These letters may be the beginning of a secret.
    let up = broken(HEAD, &["data: first\n\nhalf"]);
    let sidecar = Sidecar::with(open(&up).bearer(SECRET)).start();
    let reply = Agent::connect(&sidecar).get("/crm/events");
    assert_code(&reply, FIRST, "upstream_protocol_error");
}

#[test]
fn a_body_that_cannot_be_continued_is_cut_without_an_event() {
    let length =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\n";
    let compressed = HEAD.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    let other = HEAD.replace("event-stream", "plain");
    for head in [length, &compressed, &other] {
        let up = broken(head, &[FIRST]);
        let sidecar = Sidecar::with(open(&up)).start();
        let reply = Agent::connect(&sidecar).get("/crm/events");
        assert_eq!((reply.status, reply.ending), (200, Ending::Aborted));
        assert_eq!(find_bytes(&reply.body, b"event: error"), None, "{reply:?}");
    }
}

#[test]
fn an_agent_that_reads_slowly_receives_every_event_before_the_last() {
    let events = "data: 0123456789\n\n".repeat(200_000);
    let sent = events.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(HEAD);
        for piece in sent.as_bytes().chunks(18 * 1000) {
            wire.send(chunk(std::str::from_utf8(piece).unwrap()));
        }
    });
    let sidecar = Sidecar::with(open(&up)).start();
    let mut agent = Agent::connect_narrow(&sidecar);
    agent.send(GET);
    let (before, error) = cut_with_event(&agent.reply());
    assert_eq!(error["code"], "upstream_protocol_error");
    assert!(before == events, "{} of {}", before.len(), events.len());
}

#[test]
fn an_agent_that_does_not_read_is_cut_off_after_the_deadline() {
    // F-160
    let up = Upstream::script(|wire| {
        wire.request();
        wire.send(HEAD);
        wire.send(chunk(&"data: 0123456789\n\n".repeat(500_000)));
        wire.request();
    });
    let crm = open(&up).http("timeout_seconds", json!(DEADLINE));
    // Only the deadline cuts the response off.
    let sidecar = Sidecar::with(crm)
        .setting("proxy.write_stall_timeout_seconds", 3600)
        .start();
    let mut agent = Agent::connect_narrow(&sidecar);
    agent.send(GET);
    agent.wait_reset();
    up.only_request();
}
