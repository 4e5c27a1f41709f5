//! Bodies that arrive in pieces, and late.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use egressd::telemetry::{AccessFilter, AccessLog, LineFormat, Logs, ProblemLog};
use serde_json::Value;

use super::{CHUNKED, SECRET, crm, passes, refused};
use crate::support::certs::Alpn;
use crate::support::h2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, STATUS_200, frame};
use crate::support::h2_echo::H2Echo;
use crate::support::message::Framing;
use crate::support::reply::Ending;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

#[test]
fn over_two_frames_after_the_head_went_out() {
    // F-132
    let gates: Vec<Gate> = (0..SECRET.len()).map(|_| Gate::new()).collect();
    let opens = gates.clone();
    let up = Upstream::script(move |wire| {
        let target = wire.request().expect("a request").target;
        let cut: usize = target.trim_start_matches('/').parse().unwrap();
        let (one, two) = SECRET.split_at(cut);
        wire.send(format!("{CHUNKED}{:x}\r\n....{one}\r\n", cut + 4));
        gates[cut].wait();
        wire.send(format!("{:x}\r\n{two}....\r\n", two.len() + 4));
        wire.wait_for_end();
    });
    let sidecar = Sidecar::with(crm(&up)).start();
    for (cut, open) in opens.iter().enumerate() {
        let mut agent = Agent::connect(&sidecar);
        agent.send(format!(
            "GET /crm/{cut} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        assert_eq!(agent.open_reply().status, 200);
        open.open();
        let mut seen = Vec::new();
        while let Some(chunk) = agent.chunk() {
            seen.extend(chunk);
        }
        // Held bytes are released after a pause, whatever they are.
        let (one, _) = SECRET.split_at(cut);
        assert!(
            format!("....{one}").as_bytes().starts_with(&seen),
            "cut at {cut}: {seen:?}"
        );
        up.wait_closed(cut + 1);
    }
}

#[test]
fn held_bytes_reveal_nothing_of_the_secret() {
    // F-132: an agent that can have its own text sent back could otherwise guess the secret byte by
    // byte.
    let chunks = |guess: &str| {
        let one = format!("{}{guess}", ".".repeat(1000 - guess.len()));
        let up = Upstream::reply_then_close(format!(
            "{CHUNKED}3e8\r\n{one}\r\n9\r\n and more\r\n0\r\n\r\n"
        ));
        let sidecar = Sidecar::with(crm(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(agent.open_reply().status, 200);
        let mut lengths = Vec::new();
        while let Some(length) = agent
            .chunk()
            .map(|chunk| chunk.len())
            .filter(|length| *length > 0)
        {
            lengths.push(length);
        }
        lengths
    };
    for length in [1, 2, SECRET.len() - 1] {
        let (right, _) = SECRET.split_at(length);
        let wrong = "z".repeat(length);
        assert_eq!(chunks(right), chunks(&wrong), "{right}");
    }
}

#[test]
fn held_bytes_are_released_while_the_upstream_is_silent() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(format!("{CHUNKED}2\r\nsk\r\n"));
        waits.wait();
        wire.send("0\r\n\r\n");
    });
    let sidecar = Sidecar::with(crm(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    assert_eq!(agent.chunk().as_deref(), Some(b"sk".as_slice()));
    gate.open();
}

#[test]
fn a_text_that_drips_on_is_not_held_back_for_long() {
    // F-217: each piece restarted the wait.
    let gate = Gate::new();
    let (arrived, sent) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let pieces = Arc::clone(&sent);
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(CHUNKED);
        while !arrived.is_open() && wire.send("1\r\nx\r\n") {
            pieces.fetch_add(1, Relaxed);
            // The pauses are what is tested: shorter than a byte is held back.
            std::thread::sleep(Duration::from_millis(40));
        }
        wire.send("0\r\n\r\n");
    });
    let sidecar = Sidecar::with(crm(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    assert_eq!(agent.chunk().expect("a piece").first(), Some(&b'x'));
    let sent = sent.load(Relaxed);
    gate.open();
    // More bytes would be released because no secret is so long.
    assert!(sent < 200, "{sent} pieces came before the first went out");
}

#[test]
fn a_cut_off_exchange_is_logged_as_cut_off() {
    let (lines, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::off();
    let access =
        AccessLog::start(AccessFilter::All, LineFormat::Json, out, problems.clone()).unwrap();
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n....",
            SECRET.len() + 4
        ));
        waits.wait();
        wire.send(SECRET);
    });
    let sidecar = Sidecar::with(crm(&up)).start_logging(Logs { access, problems });
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("\r\n\r\n....");
    gate.open();
    let reply = agent.reply();
    assert_eq!(
        (reply.ending, reply.text().as_str()),
        (Ending::Aborted, "....")
    );
    let line = BufReader::new(lines).lines().next().unwrap().unwrap();
    assert!(!line.contains(SECRET), "{line}");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["code"], "credential_reflected", "{line}");
    assert_eq!(line["outcome"], "upstream_failed", "{line}");
}

#[test]
fn byte_by_byte() {
    // F-132
    for before in ["", "...."] {
        let up = Upstream::script(move |wire| {
            wire.request();
            wire.send(CHUNKED);
            for byte in [before, SECRET, "and more"].concat().bytes() {
                wire.send([b"1\r\n", &[byte][..], b"\r\n"].concat());
            }
            wire.send("0\r\n\r\n");
        });
        let sidecar = Sidecar::with(crm(&up)).start();
        let reply = Agent::connect(&sidecar).get("/crm/x");
        if reply.status == 200 {
            assert_eq!(reply.ending, Ending::Aborted, "{reply:?}");
            assert!(before.contains(&reply.text()), "{reply:?}");
        } else {
            refused(&reply, before);
        }
    }
}

#[test]
fn over_http2() {
    // F-132
    let up = H2Echo::start();
    let echo = connection("crm").allow("/").bearer(SECRET);
    let echo = echo.base_url(&format!("https://{}", up.address));
    let sidecar = Sidecar::with(echo).start();
    refused(&Agent::connect(&sidecar).get("/crm/x"), "an echo");

    let up = Upstream::script_with_alpn(Alpn::H2, |wire| {
        if h2::accept_preface(wire) {
            while let Some(stream) = h2::request(wire) {
                let (one, two) = SECRET.as_bytes().split_at(10);
                wire.send(frame(HEADERS, END_HEADERS, stream, STATUS_200));
                wire.send(frame(DATA, 0, stream, one));
                wire.send(frame(DATA, END_STREAM, stream, two));
            }
        }
    });
    let sidecar = Sidecar::with(crm(&up)).start();
    refused(&Agent::connect(&sidecar).get("/crm/x"), "two DATA frames");
}

#[test]
fn a_clean_body_passes_as_it_is() {
    // Many near-matches, with the last one at the end.
    let near = |n: usize| format!("{n} {}\n", SECRET.split_at(n % SECRET.len()).0);
    let mut body: String = (0..).map(near).take(600_000).collect();
    body.truncate(10_485_760 - 5);
    body.push_str(SECRET.split_at(5).0);
    let up = Upstream::body(&body);
    let reply = passes(crm(&up), "/crm/x");
    assert_eq!(reply.framing, Framing::Length(10_485_760));
    assert!(reply.body == body.as_bytes(), "it was changed on its way");

    let up = Upstream::reply_then_close(format!("{CHUNKED}5\r\nhi sk\r\n0\r\n\r\n"));
    assert_eq!(passes(crm(&up), "/crm/x").text(), "hi sk");
}

#[test]
fn a_head_does_not_wait_for_a_late_body() {
    for kind in ["text/plain", "text/event-stream"] {
        let gate = Gate::new();
        let waits = gate.clone();
        let up = Upstream::script(move |wire| {
            wire.request();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 8\r\n\r\n"
            ));
            waits.wait();
            wire.send("data: 1\n");
        });
        let sidecar = Sidecar::with(crm(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        agent.wait_for("\r\n\r\n");
        gate.open();
        assert_eq!(agent.reply().expect_status(200).text(), "data: 1\n");
    }
}

#[test]
fn events_pass_at_once() {
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let sidecar = Sidecar::with(crm(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    assert_eq!(
        agent.chunk().as_deref(),
        Some(b"data: first\n\n".as_slice())
    );
    gate.open();
    assert_eq!(
        agent.chunk().as_deref(),
        Some(b"data: second\n\n".as_slice())
    );
    assert_eq!(agent.chunk().as_deref(), Some(b"".as_slice()));
}
