//! Responses over HTTP/2 that begin while the request is still being sent (RFC 9113 §8.1).

use serde_json::json;

use crate::support::certs::Alpn;
use crate::support::h2::{
    self, ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, RST_STREAM, SETTINGS, STATUS_200,
    frame,
};
use crate::support::message::text;
use crate::support::reply::{Ending, Reply};
use crate::support::wire::Wire;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const HALF: &str = "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello";
/// The error code CANCEL (RFC 9113 §7).
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Returns an upstream that runs `script` with the stream of each session's first request.
fn upstream(script: impl Fn(&mut Wire, u32) + Send + Sync + 'static) -> Upstream {
    Upstream::script_with_alpn(Alpn::H2, move |wire| {
        if h2::accept_preface(wire)
            && let Some(stream) = h2::request(wire)
        {
            script(wire, stream);
        }
    })
}

/// Starts a sidecar whose requests share a session and a single slot.
fn before(up: &Upstream, timeout_seconds: u32) -> Sidecar {
    let crm = connection("crm").allow("/").upstream(up);
    let crm = crm.http("http2", json!("prefer"));
    let crm = crm.http("max_concurrent_requests", json!(1));
    let crm = crm.http("timeout_seconds", json!(timeout_seconds));
    Sidecar::with(crm).setting("proxy.workers", 1).start()
}

/// Encodes a head whose `:status` is a literal (RFC 7541 §6.2.2, index 8 of the static table).
fn head(stream: u32, status: &str) -> Vec<u8> {
    let block = [&[8, 3], status.as_bytes()].concat();
    frame(HEADERS, END_HEADERS, stream, &block)
}

fn data(stream: u32, body: &str, flags: u8) -> Vec<u8> {
    frame(DATA, flags, stream, body.as_bytes())
}

/// Returns a complete response.
fn answer(stream: u32, body: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, STATUS_200);
    [head, data(stream, body, END_STREAM)].concat()
}

/// Returns the next frame that belongs to a request.
fn next(wire: &mut Wire) -> Frame {
    loop {
        let frame = h2::next_frame(wire).expect("the session ended");
        match (frame.kind, frame.flags & ACK) {
            (SETTINGS, 0) => {
                wire.send(self::frame(SETTINGS, ACK, 0, &[]));
            }
            (HEADERS | DATA | RST_STREAM, _) => return frame,
            _ => {}
        }
    }
}

/// Reads a request's body up to this many bytes, or its end. The second value is `true` at the end.
fn body(wire: &mut Wire, stream: u32, most: usize) -> (String, bool) {
    let mut bytes = Vec::new();
    loop {
        let frame = next(wire);
        assert_eq!(
            (frame.kind, frame.stream),
            (DATA, stream),
            "the upload ended too early"
        );
        bytes.extend(frame.payload);
        let has_ended = frame.flags & END_STREAM != 0;
        if has_ended || bytes.len() >= most {
            return (text(&bytes), has_ended);
        }
    }
}

#[test]
fn an_early_success_streams_while_the_upload_continues() {
    // F-220
    let up = upstream(|wire, stream| {
        wire.send(frame(HEADERS, END_HEADERS, stream, STATUS_200));
        wire.send(data(stream, "first", 0));
        let whole = ("helloworld".to_owned(), true);
        assert_eq!(body(wire, stream, usize::MAX), whole);
        wire.send(data(stream, "second", END_STREAM));
        let stream = h2::request(wire).unwrap();
        wire.send(answer(stream, "next"));
        wire.wait_for_end();
    });
    let sidecar = before(&up, 30);
    let mut agent = Agent::connect(&sidecar);
    agent.send(HALF);
    let reply = agent.open_reply();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.fields.single_value("connection"), None);
    assert_eq!(agent.chunk().as_deref(), Some(&b"first"[..]));
    agent.send("world");
    assert_eq!(agent.chunk().as_deref(), Some(&b"second"[..]));
    assert_eq!(agent.chunk().as_deref(), Some(&b""[..]));
    let next = Agent::connect(&sidecar).get("/crm/y");
    assert_eq!(next.expect_status(200).text(), "next");
    assert_eq!(up.sockets(), 1);
}

#[test]
fn an_upload_continues_after_its_response_has_ended() {
    // F-220
    let done = Gate::new();
    let is_done = done.clone();
    let up = upstream(move |wire, stream| {
        wire.send(answer(stream, "early"));
        let whole = ("helloworld".to_owned(), true);
        assert_eq!(body(wire, stream, usize::MAX), whole);
        done.open();
        let stream = h2::request(wire).unwrap();
        wire.send(answer(stream, "next"));
        wire.wait_for_end();
    });
    let sidecar = before(&up, 30);
    let mut agent = Agent::connect(&sidecar);
    agent.send(HALF);
    let reply = agent.reply();
    assert_eq!(
        (reply.text().as_str(), reply.ending),
        ("early", Ending::Whole)
    );
    assert!(!is_done.is_open());
    // The next request directly follows the body, and waits for its end.
    agent.send("worldGET /crm/y HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.reply().expect_status(200).text(), "next");
    is_done.wait();
}

#[test]
fn an_upload_that_never_ends_is_aborted_at_the_deadline() {
    // F-220
    for ends in [true, false] {
        let up = upstream(move |wire, stream| {
            wire.send(frame(HEADERS, END_HEADERS, stream, STATUS_200));
            wire.send(data(stream, "early", if ends { END_STREAM } else { 0 }));
            assert_eq!(body(wire, stream, 5), ("hello".to_owned(), false));
            let reset = next(wire);
            assert_eq!((reset.kind, reset.stream), (RST_STREAM, stream));
            assert_eq!(reset.payload, CANCEL);
            let stream = h2::request(wire).unwrap();
            wire.send(answer(stream, "next"));
            wire.wait_for_end();
        });
        let sidecar = before(&up, 1);
        let mut agent = Agent::connect(&sidecar);
        agent.send(HALF);
        let reply = agent.reply();
        assert_eq!(reply.text(), "early");
        assert_eq!(reply.ending == Ending::Whole, ends);
        agent.wait_close();
        // The stream and the slot are free again.
        let next = Agent::connect(&sidecar).get("/crm/y");
        assert_eq!(next.expect_status(200).text(), "next");
        assert_eq!(up.sockets(), 1);
    }
}

#[test]
fn another_early_status_ends_the_upload_and_reaches_the_agent_whole() {
    // F-221
    for status in ["302", "400", "413", "503"] {
        let sent = Gate::new();
        let is_sent = sent.clone();
        let up = upstream(move |wire, stream| {
            assert_eq!(body(wire, stream, 5), ("hello".to_owned(), false));
            wire.send([head(stream, status), data(stream, "first", 0)].concat());
            is_sent.wait();
            wire.send(data(stream, "second", END_STREAM));
            // No DATA frame: the rest of the body is not sent.
            let reset = next(wire);
            assert_eq!((reset.kind, reset.stream), (RST_STREAM, stream));
            assert_eq!(reset.payload, CANCEL);
            let stream = h2::request(wire).unwrap();
            wire.send(answer(stream, "next"));
            wire.wait_for_end();
        });
        let sidecar = before(&up, 30);
        let mut agent = Agent::connect(&sidecar);
        agent.send(HALF);
        let reply = agent.open_reply();
        assert_eq!(reply.status.to_string(), status);
        assert_eq!(
            reply.fields.single_value("connection").as_deref(),
            Some("close")
        );
        assert_eq!(agent.chunk().as_deref(), Some(&b"first"[..]));
        agent.send("world");
        sent.open();
        assert_eq!(agent.chunk().as_deref(), Some(&b"second"[..]));
        assert_eq!(agent.chunk().as_deref(), Some(&b""[..]));
        agent.wait_close();
        let next = Agent::connect(&sidecar).get("/crm/y");
        assert_eq!(next.expect_status(200).text(), "next");
        assert_eq!(up.sockets(), 1);
    }
}

/// Returns an upstream that opens no window for the rest of a large body, and answers with this
/// status once the gate is open. Requests of later sessions are answered at once.
fn without_window(full: &Gate, status: &'static str) -> Upstream {
    let full = full.clone();
    upstream(move |wire, stream| {
        if wire.socket() > 0 {
            wire.send(answer(stream, "next"));
            wire.wait_for_end();
            return;
        }
        full.wait();
        wire.send([head(stream, status), data(stream, "early", END_STREAM)].concat());
        while h2::next_frame(wire).is_some_and(|frame| frame.kind != RST_STREAM) {}
    })
}

/// Sends as much of a large body as all buffers hold, and returns the early response.
fn upload_what_fits(agent: &mut Agent, up: &Upstream, full: &Gate) -> Reply {
    agent.send("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n");
    up.wait_sockets(1);
    agent.send_without_blocking(9_000_000);
    full.open();
    agent.reply()
}

#[test]
fn an_upload_that_waits_for_a_window_ends_after_an_early_response() {
    // F-221: hyper cannot be stopped while it waits for the window, so the session ends.
    let full = Gate::new();
    let up = without_window(&full, "413");
    let sidecar = before(&up, 30);
    let mut agent = Agent::connect(&sidecar);
    let reply = upload_what_fits(&mut agent, &up, &full);
    assert_eq!((reply.status, reply.text().as_str()), (413, "early"));
    assert_eq!(
        reply.fields.single_value("connection").as_deref(),
        Some("close")
    );
    up.wait_closed(1);
    let next = Agent::connect(&sidecar).get("/crm/y");
    assert_eq!(next.expect_status(200).text(), "next");
    assert_eq!(up.sockets(), 2);
}

#[test]
fn an_upload_whose_agent_has_left_releases_its_slot() {
    // F-220, F-272: the upstream has answered and reads no more of the body.
    let full = Gate::new();
    let up = without_window(&full, "200");
    let sidecar = before(&up, 300);
    let mut agent = Agent::connect(&sidecar);
    let reply = upload_what_fits(&mut agent, &up, &full);
    assert_eq!(reply.expect_status(200).text(), "early");
    drop(agent);
    up.wait_closed(1);
    let next = Agent::connect(&sidecar).get("/crm/y");
    assert_eq!(next.expect_status(200).text(), "next");
}
