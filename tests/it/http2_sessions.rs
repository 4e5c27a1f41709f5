//! HTTP/2 sessions outside their exchanges: floods from an idle upstream, the time a session may be
//! idle, and the fate of requests and responses when the session ends.

use std::sync::mpsc;

use serde_json::json;

use crate::support::certs::Alpn;
use crate::support::h2::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, STATUS_200, WINDOW_UPDATE, frame,
};
use crate::support::reply::Ending;
use crate::support::wire::Wire;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

/// Returns an HTTP/2-only upstream that runs `script` on each session after the preface of both
/// sides.
fn upstream(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Upstream {
    Upstream::script_with_alpn(Alpn::H2, move |wire| {
        if h2::accept_preface(wire) {
            script(wire);
        }
    })
}

/// Starts a sidecar with one worker, so that requests share a session, and with HTTP/2 from the
/// first request on.
fn sidecar(up: &Upstream) -> Sidecar {
    let crm = connection("crm").allow("/").upstream(up);
    let crm = crm.http("http2", json!("prefer"));
    Sidecar::with(crm).setting("proxy.workers", 1).start()
}

/// Encodes a complete response on a stream.
fn answer(stream: u32, body: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, STATUS_200);
    let data = frame(DATA, END_STREAM, stream, body.as_bytes());
    [head, data].concat()
}

/// Answers every request with the number of its session.
fn serve(wire: &mut Wire) {
    while let Some(stream) = h2::request(wire) {
        wire.send(answer(stream, &wire.socket().to_string()));
    }
}

#[test]
fn floods_on_an_idle_session_end_it() {
    // F-228
    for (what, flood) in [
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        (
            "WINDOW_UPDATE of an ended stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
        ("an unknown type", frame(0xfe, 0, 0, &[])),
        ("RST_STREAM", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("empty DATA", frame(DATA, 0, 1, &[])),
        ("CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, &[])),
    ] {
        let (idle, cut) = (Gate::new(), Gate::new());
        let (begin, end, many) = (idle.clone(), cut.clone(), flood.repeat(1000));
        let up = upstream(move |wire| {
            if wire.socket() > 0 {
                return serve(wire);
            }
            let stream = h2::request(wire).unwrap();
            wire.send(answer(stream, "0"));
            begin.wait();
            // Far more than the socket buffers of both sides hold.
            let gone = (0..4000).any(|_| !wire.send(&many));
            assert!(gone, "{what}: the flood was never cut");
            end.open();
        });
        let sidecar = sidecar(&up);
        let mut agent = Agent::connect(&sidecar);
        assert_eq!(agent.get("/crm/x").expect_status(200).text(), "0", "{what}");
        idle.open();
        cut.wait();
        assert_eq!(agent.get("/crm/x").expect_status(200).text(), "1", "{what}");
        assert_eq!(up.sockets(), 2, "{what}");
    }
}

#[test]
fn records_that_carry_next_to_nothing_end_an_idle_session() {
    // F-229: a frame of 16 KiB, one byte a record, and before each as many empty records as rustls
    // accepts in a row.
    let (idle, cut) = (Gate::new(), Gate::new());
    let (begin, end) = (idle.clone(), cut.clone());
    let up = upstream(move |wire| {
        if wire.socket() > 0 {
            return serve(wire);
        }
        let stream = h2::request(wire).unwrap();
        wire.send(answer(stream, "0"));
        begin.wait();
        let mut records = wire.records();
        let unknown = frame(0xfe, 0, 0, &[0; 16_384]);
        let gone = unknown.iter().cycle().take(40_000).any(|byte| {
            let mut bytes: Vec<u8> = (0..32).flat_map(|_| records.record(&[])).collect();
            bytes.extend(records.record(&[*byte]));
            !records.send(&bytes)
        });
        assert!(gone, "the flood of records was never cut");
        end.open();
    });
    let sidecar = sidecar(&up);
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(agent.get("/crm/x").expect_status(200).text(), "0");
    idle.open();
    cut.wait();
    assert_eq!(agent.get("/crm/x").expect_status(200).text(), "1");
    assert_eq!(up.sockets(), 2);
}

#[test]
fn a_server_that_often_opens_its_windows_is_not_a_flood() {
    // F-228: two updates for every 512 bytes, as some servers send after each read.
    let up = upstream(|wire| {
        let stream = h2::request(wire).unwrap();
        let update = 512_u32.to_be_bytes();
        let updates = [
            frame(WINDOW_UPDATE, 0, 0, &update),
            frame(WINDOW_UPDATE, 0, stream, &update),
        ]
        .concat();
        let mut received = 0;
        while let Some(next) = h2::next_frame(wire) {
            if next.kind == DATA {
                let before = received / 512;
                received += next.payload.len();
                wire.send(updates.repeat(received / 512 - before));
                if next.flags & END_STREAM != 0 {
                    break;
                }
            }
        }
        wire.send(answer(stream, &received.to_string()));
        serve(wire);
    });
    let sidecar = sidecar(&up);
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.request("POST", "/crm/x", &[], &vec![b'a'; 8_000_000]);
    assert_eq!(reply.expect_status(200).text(), "8000000");
    assert_eq!(agent.get("/crm/x").expect_status(200).text(), "0");
    assert_eq!(up.sockets(), 1);
}

#[test]
fn an_idle_session_ends_and_a_busy_one_does_not() {
    // F-230
    let over = Gate::new();
    let gate = over.clone();
    let busy = upstream(move |wire| {
        let stream = h2::request(wire).unwrap();
        wire.send(frame(HEADERS, END_HEADERS, stream, STATUS_200));
        wire.send(frame(DATA, 0, stream, b"first, "));
        gate.wait();
        wire.send(frame(DATA, END_STREAM, stream, b"second"));
        serve(wire);
    });
    let idle = upstream(serve);
    let to = |id: &str, up: &Upstream| {
        let connection = connection(id).allow("/").upstream(up);
        connection.http("http2", json!("prefer"))
    };
    let sidecar = Sidecar::with(to("busy", &busy)).with_connection(to("idle", &idle));
    let sidecar = sidecar
        .setting("proxy.workers", 1)
        .setting("egress.pool_idle_timeout_seconds", 1)
        .start();
    let mut reader = Agent::connect(&sidecar);
    reader.send("GET /busy/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(reader.open_reply().status, 200);
    assert_eq!(reader.chunk().unwrap(), b"first, ");
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(agent.get("/idle/x").expect_status(200).text(), "0");
    idle.wait_closed(1);
    assert_eq!(agent.get("/idle/x").expect_status(200).text(), "1");
    // The busy session is older than the timeout too, but was never idle that long.
    over.open();
    assert_eq!(reader.chunk().unwrap(), b"second");
    assert_eq!(reader.chunk().unwrap(), b"");
    busy.wait_closed(1);
    assert_eq!((busy.sockets(), idle.sockets()), (1, 2));
}

#[test]
fn a_cut_response_is_aborted_however_many_streams_were_abandoned() {
    // F-231
    const ABANDONED: usize = 1100;
    let up = upstream(|wire| {
        let first = h2::request(wire).unwrap();
        wire.send(frame(HEADERS, END_HEADERS, first, STATUS_200));
        wire.send(frame(DATA, 0, first, b"half"));
        let mut resets = 0;
        while resets < ABANDONED {
            let next = h2::next_frame(wire).unwrap();
            match next.kind {
                HEADERS => {
                    wire.send(frame(HEADERS, END_HEADERS, next.stream, STATUS_200));
                    wire.send(frame(DATA, 0, next.stream, b"half"));
                }
                RST_STREAM => resets += 1,
                _ => {}
            }
        }
        wire.send(frame(RST_STREAM, 0, first, &[0; 4]));
        serve(wire);
    });
    let sidecar = sidecar(&up);
    let mut reader = Agent::connect(&sidecar);
    reader.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(reader.open_reply().status, 200);
    assert_eq!(reader.chunk().unwrap(), b"half");
    for _ in 0..ABANDONED {
        let mut agent = Agent::connect(&sidecar);
        agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        agent.open_reply();
        agent.reset();
    }
    assert_eq!(reader.chunk(), None, "the cut response looked complete");
    // The session still works.
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(reply.expect_status(200).text(), "0");
    assert_eq!(up.sockets(), 1);
}

#[test]
fn a_complete_response_stays_complete_although_another_is_cut() {
    // F-231, F-134: the first response ends before its upload does, and is reset after its end; the
    // second is reset before its end.
    let (report, reported) = mpsc::channel();
    let up = upstream(move |wire| {
        let cut = h2::request(wire).unwrap();
        wire.send(frame(HEADERS, END_HEADERS, cut, STATUS_200));
        wire.send(frame(DATA, 0, cut, b"half"));
        let whole = h2::request(wire).unwrap();
        wire.send(frame(HEADERS, END_HEADERS, whole, STATUS_200));
        wire.send(frame(DATA, 0, whole, b"who"));
        report.send(()).unwrap();
        let no_error = |stream| frame(RST_STREAM, 0, stream, &[0; 4]);
        let end = frame(DATA, END_STREAM, whole, b"le");
        wire.send([no_error(cut), end, no_error(whole)].concat());
        wire.wait_for_end();
    });
    let sidecar = sidecar(&up);
    let mut reader = Agent::connect(&sidecar);
    reader.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(reader.open_reply().status, 200);
    assert_eq!(reader.chunk().unwrap(), b"half");
    let mut agent = Agent::connect(&sidecar);
    agent.send(
        "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    reported.recv().unwrap();
    let reply = agent.reply();
    assert_eq!(reply.expect_status(200).text(), "whole");
    assert_eq!(reply.ending, Ending::Whole);
    assert_eq!(reader.chunk(), None, "the cut response looked complete");
}

#[test]
fn a_response_that_ends_with_its_session_is_aborted() {
    // F-231: a GOAWAY that covers the stream does not end the response either.
    for goaway in [None, Some(1_u32), Some(0x7fff_ffff)] {
        let up = upstream(move |wire| {
            let stream = h2::request(wire).unwrap();
            wire.send(frame(HEADERS, END_HEADERS, stream, STATUS_200));
            wire.send(frame(DATA, 0, stream, b"half"));
            if let Some(last) = goaway {
                let payload = [last.to_be_bytes(), [0; 4]].concat();
                wire.send(frame(GOAWAY, 0, 0, &payload));
            }
            wire.close_with_notify();
        });
        let reply = Agent::connect(&sidecar(&up)).get("/crm/x");
        assert_eq!(reply.status, 200, "{goaway:?}");
        assert_eq!(reply.ending, Ending::Aborted, "{goaway:?}");
    }
}

/// Ends a session during its second request.
type End = fn(&mut Wire, u32);

/// Starts a server whose first session answers one request and ends during the next. Later sessions
/// behave as `then` does. Reports every request.
fn ends_at_the_second(end: End, then: End) -> (Upstream, mpsc::Receiver<usize>) {
    let (report, reported) = mpsc::channel();
    let up = upstream(move |wire| {
        let mut requests = 0;
        while let Some(stream) = h2::request(wire) {
            report.send(wire.socket()).unwrap();
            requests += 1;
            match (wire.socket(), requests) {
                (0, 1) => ANSWERS(wire, stream),
                (0, _) => return end(wire, stream),
                _ => then(wire, stream),
            }
        }
    });
    (up, reported)
}

const CLOSES: End = |wire, _| wire.close_with_notify();
const CUTS: End = |wire, _| wire.close_without_notify();
const RESETS: End = |wire, _| wire.reset();
const ANSWERS: End = |wire, stream| {
    wire.send(answer(stream, &wire.socket().to_string()));
};

#[test]
fn a_get_is_repeated_when_its_session_ends_without_a_goaway() {
    // F-232
    for end in [CLOSES, CUTS, RESETS] {
        let (up, reported) = ends_at_the_second(end, ANSWERS);
        let sidecar = sidecar(&up);
        let mut agent = Agent::connect(&sidecar);
        assert_eq!(agent.get("/crm/x").expect_status(200).text(), "0");
        assert_eq!(agent.get("/crm/x").expect_status(200).text(), "1");
        assert_eq!(reported.try_iter().collect::<Vec<_>>(), [0, 0, 1]);
    }
}

#[test]
fn a_get_is_repeated_once() {
    // F-232
    let (up, reported) = ends_at_the_second(CLOSES, CLOSES);
    let sidecar = sidecar(&up);
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(agent.get("/crm/x").expect_status(200).text(), "0");
    agent.get("/crm/x").refused(502, "upstream_protocol_error");
    assert_eq!(reported.try_iter().collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn requests_that_may_have_been_processed_are_not_repeated() {
    // F-232: another method, a response that began, and a GOAWAY that covers the request.
    let early_hints: End = |wire, stream| {
        let status = [&[0x08, 3][..], b"103"].concat();
        wire.send(frame(HEADERS, END_HEADERS, stream, &status));
        wire.close_with_notify();
    };
    let goaway: End = |wire, stream| {
        let payload = [stream.to_be_bytes(), [0; 4]].concat();
        wire.send(frame(GOAWAY, 0, 0, &payload));
        wire.close_with_notify();
    };
    for (method, body, end) in [
        ("POST", "", CLOSES),
        ("PATCH", "x", CLOSES),
        ("PUT", "x", CLOSES),
        ("GET", "", early_hints),
        ("GET", "", goaway),
    ] {
        let (up, reported) = ends_at_the_second(end, ANSWERS);
        let sidecar = sidecar(&up);
        let mut agent = Agent::connect(&sidecar);
        assert_eq!(agent.get("/crm/x").expect_status(200).text(), "0");
        let reply = agent.request(method, "/crm/x", &[], body.as_bytes());
        reply.refused(502, "upstream_protocol_error");
        assert_eq!(reported.try_iter().collect::<Vec<_>>(), [0, 0], "{method}");
    }
}
