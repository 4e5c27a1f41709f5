//! Responses that begin while the request is still being sent.

use std::io::{BufRead as _, BufReader};

use egressd::telemetry::{AccessFilter, AccessLog, LineFormat, Logs, ProblemLog};
use serde_json::{Value, json};

use super::{CHUNKED, before, ok};
use crate::support::connection::Connection;
use crate::support::message::{End, text};
use crate::support::reply::Ending;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const HEAD: &str = "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
const HALF: &str = "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello";

/// Returns an upstream that answers the head with a complete response, then reads this many bytes
/// of the body and opens the gate.
fn answers_at_once(response: String, body: usize, done: &Gate) -> Upstream {
    let done = done.clone();
    Upstream::script(move |wire| {
        if wire.socket() > 0 {
            wire.request();
            wire.send(ok("Content-Length: 4\r\n", "next"));
            return;
        }
        wire.head();
        wire.send(&response);
        assert_eq!(wire.take(body).len(), body, "the upload ended too early");
        done.open();
        wire.wait_for_end();
    })
}

#[test]
fn an_early_success_streams_while_the_upload_continues() {
    // F-220
    let in_chunks = format!("POST /crm/x HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}\r\n");
    for (head, half, rest, encoded) in [
        (HEAD, "hello", "world", "helloworld"),
        (
            in_chunks.as_str(),
            "5\r\nhello\r\n",
            "5\r\nworld\r\n0\r\n\r\n",
            "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
        ),
    ] {
        let up = Upstream::script(move |wire| {
            wire.head();
            wire.send(ok(CHUNKED, "5\r\nfirst\r\n"));
            let body = wire.take(encoded.len());
            assert_eq!(text(&body), encoded);
            wire.send("6\r\nsecond\r\n0\r\n\r\n");
            wire.wait_for_end();
        });
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        agent.send([head, half].concat());
        assert_eq!(agent.open_reply().status, 200);
        assert_eq!(agent.chunk().as_deref(), Some(&b"first"[..]));
        agent.send(rest);
        assert_eq!(agent.chunk().as_deref(), Some(&b"second"[..]));
        assert_eq!(agent.chunk().as_deref(), Some(&b""[..]));
        // A head that arrives before the end of the body makes the socket unusable (F-218).
        up.wait_closed(1);
    }
}

#[test]
fn an_upload_continues_after_its_response_has_ended() {
    // F-220
    for response in [
        ok("Content-Length: 5\r\n", "early"),
        ok(CHUNKED, "5\r\nearly\r\n0\r\n\r\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        ok("Content-Length: 0\r\n", ""),
    ] {
        let done = Gate::new();
        let up = answers_at_once(response.clone(), 10, &done);
        let (lines, out) = std::io::pipe().unwrap();
        let problems = ProblemLog::off();
        let access =
            AccessLog::start(AccessFilter::All, LineFormat::Json, out, problems.clone()).unwrap();
        let crm = connection("crm").allow("/").upstream(&up);
        let crm = crm.http("max_concurrent_requests", json!(1));
        let sidecar = Sidecar::with(crm).start_logging(Logs { access, problems });
        let mut agent = Agent::connect(&sidecar);
        agent.send(HALF);
        let reply = agent.reply();
        assert_eq!(reply.ending, Ending::Whole, "{response:?}");
        assert!(matches!(reply.text().as_str(), "early" | ""), "{reply:?}");
        assert!(!done.is_open());
        // The next request directly follows the body, and waits for the end of the exchange.
        agent.send("worldGET /crm/y HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(
            agent.reply().expect_status(200).text(),
            "next",
            "{response:?}"
        );
        done.wait();
        drop((agent, sidecar));
        let lines: Vec<Value> = BufReader::new(lines)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        let line_of = |method: &str| {
            let line = lines.iter().find(|line| line["method"] == method);
            line.unwrap_or_else(|| panic!("{lines:?}"))
        };
        assert_eq!(lines.len(), 2);
        assert_eq!(line_of("POST")["outcome"], "forwarded");
        assert_eq!(line_of("POST")["request_bytes"], 10, "{response:?}");
        assert_eq!(line_of("POST")["response_bytes"], reply.body.len());
        assert_eq!(line_of("GET")["outcome"], "forwarded");
    }
}

#[test]
fn a_signed_or_recorded_body_continues_as_well() {
    // F-220
    let signing = |crm: Connection| crm.http("webhook_signing_secret", json!("0123456789abcdef"));
    let large = vec![b'x'; 8 << 20];
    for signed in [false, true] {
        let done = Gate::new();
        let up = answers_at_once(ok("Content-Length: 5\r\n", "early"), large.len(), &done);
        let crm = connection("crm").allow("/").upstream(&up);
        let crm = if signed { signing(crm) } else { crm };
        let sidecar = Sidecar::with(crm).start();
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.request("POST", "/crm/x", &[], &large);
        assert_eq!(reply.expect_status(200).text(), "early", "signed: {signed}");
        done.wait();
        let next = Agent::connect(&sidecar).get("/crm/y");
        assert_eq!(next.expect_status(200).text(), "next");
    }
}

#[test]
fn an_upload_that_never_ends_is_aborted_at_the_deadline() {
    // F-220
    for (response, ending) in [
        (ok("Content-Length: 5\r\n", "early"), Ending::Whole),
        (ok(CHUNKED, "5\r\nearly\r\n"), Ending::Aborted),
    ] {
        let up = Upstream::script(move |wire| {
            if wire.socket() == 0 {
                wire.head();
                wire.send(&response);
                wire.wait_for_end();
            } else {
                wire.request();
                wire.send(ok("Content-Length: 4\r\n", "next"));
            }
        });
        let crm = connection("crm").allow("/").upstream(&up);
        let crm = crm.http("timeout_seconds", json!(1));
        let crm = crm.http("max_concurrent_requests", json!(1));
        let sidecar = Sidecar::with(crm).start();
        let mut agent = Agent::connect(&sidecar);
        agent.send(HALF);
        let reply = agent.reply();
        assert_eq!(
            (reply.status, reply.text(), reply.ending),
            (200, "early".to_owned(), ending)
        );
        agent.wait_close();
        // The upstream's socket and the slot are free again.
        up.wait_closed(1);
        let next = Agent::connect(&sidecar).get("/crm/y");
        assert_eq!(next.expect_status(200).text(), "next");
    }
}

#[test]
fn an_agent_that_disconnects_aborts_upload_and_response() {
    // F-220
    let up = Upstream::script(|wire| {
        wire.head();
        wire.send(ok(CHUNKED, "5\r\nfirst\r\n"));
        wire.wait_for_end();
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send(HALF);
    agent.open_reply();
    assert_eq!(agent.chunk().as_deref(), Some(&b"first"[..]));
    agent.reset();
    up.wait_closed(1);
}

#[test]
fn an_upstream_that_closes_after_its_early_response_ends_the_upload() {
    // F-220
    let up = Upstream::script(|wire| {
        wire.head();
        wire.send(ok("Content-Length: 5\r\n", "early"));
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send(HALF);
    assert_eq!(agent.reply().expect_status(200).text(), "early");
    // The rest of the body is not needed. The agent notices at the end of the socket, at the latest
    // when it has sent more.
    agent.send("world");
    agent.half_close();
    assert_eq!(agent.wait_close(), End::Clean);
}

#[test]
fn another_early_status_ends_the_upload_and_reaches_the_agent_whole() {
    // F-221
    let body = "x".repeat(900);
    for status in [
        "302 Found",
        "400 Bad Request",
        "413 Content Too Large",
        "503 Busy",
    ] {
        for chunked in [false, true] {
            let response = format!("HTTP/1.1 {status}\r\nContent-Length: 900\r\n\r\n{body}");
            let up = Upstream::script(move |wire| {
                wire.head();
                wire.send(&response);
                wire.wait_for_end();
            });
            let sidecar = before(&up);
            let mut agent = Agent::connect(&sidecar);
            if chunked {
                agent.send(format!(
                    "POST /crm/x HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}\r\n5\r\nhello\r\n"
                ));
            } else {
                agent.send(
                    "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n",
                );
            }
            let reply = agent.reply();
            assert!(status.starts_with(&reply.status.to_string()), "{reply:?}");
            assert_eq!((reply.text(), reply.ending), (body.clone(), Ending::Whole));
            // The upstream did not read the aborted body as a request.
            up.wait_closed(1);
            assert_eq!(up.requests().len(), 1);
        }
    }
}
