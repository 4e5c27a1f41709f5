//! The requests and responses that leave the upstream's socket usable for another request.

use std::io::Read as _;

use egressd::telemetry::{AccessLog, EventFormat, EventLevel, Logs, ProblemLog};
use serde_json::json;

use super::{CHUNKED, before, ok};
use crate::support::wire::{ReceivedRequest, Wire};
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

/// A server like Python's `http.server`, which never reads a body and parses its bytes as the next
/// request.
fn careless(wire: &mut Wire, honours_close: bool) {
    while let Some(request) = wire.head() {
        wire.send(ok("Content-Length: 2\r\n", "hi"));
        if honours_close && announces_close(&request) {
            return;
        }
    }
}

fn announces_close(request: &ReceivedRequest) -> bool {
    request.fields.single_value("connection").as_deref() == Some("close")
}

fn received_requests(up: &Upstream) -> Vec<(String, String, usize)> {
    let requests = up.requests().into_iter();
    requests
        .map(|request| (request.method, request.target, request.socket))
        .collect()
}

fn row(method: &str, target: &str, socket: usize) -> (String, String, usize) {
    (method.to_owned(), target.to_owned(), socket)
}

#[test]
fn a_request_hidden_in_an_unread_body_never_gets_the_credential_of_the_next() {
    // F-218: the header of the next request would become part of the hidden one, and its credential
    // would complete it.
    const HIDDEN: &[u8] = b"DELETE /admin/users/1 HTTP/1.1\r\nHost: x\r\nX-Swallow: ";
    for method in ["GET", "DELETE", "OPTIONS"] {
        let up = Upstream::script(|wire| careless(wire, false));
        let crm = connection("crm").allow("/reports/{id}").upstream(&up);
        let sidecar = Sidecar::with(crm.bearer("planted-token-0123456789")).start();
        let mut agent = Agent::connect(&sidecar);
        agent
            .request(method, "/crm/reports/1", &[], HIDDEN)
            .expect_status(200);
        agent.get("/crm/reports/2").expect_status(200);
        drop(sidecar);
        up.wait_closed(2);
        assert_eq!(
            received_requests(&up),
            [row(method, "/reports/1", 0), row("GET", "/reports/2", 1)]
        );
    }
}

#[test]
fn a_request_hidden_whole_in_an_unread_body_is_not_read_by_a_server_that_closes() {
    // F-218: the hidden request has no credential, and on a connection with `no_auth` it needs
    // none.
    const HIDDEN: &[u8] = b"DELETE /admin/users/1 HTTP/1.1\r\nHost: x\r\n\r\n";
    let up = Upstream::script(|wire| careless(wire, true));
    let crm = connection("crm").allow("GET /reports/{id}").upstream(&up);
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    agent
        .request("GET", "/crm/reports/1", &[], HIDDEN)
        .expect_status(200);
    up.wait_closed(1);
    assert_eq!(received_requests(&up), [row("GET", "/reports/1", 0)]);
}

/// Sends two requests. Returns whether the second arrived on the socket of the first, and whether
/// the first announced that the socket closes.
fn reused(up: &Upstream, sidecar: &Sidecar, first: impl AsRef<[u8]>) -> (bool, bool) {
    let before = up.requests().len();
    let mut agent = Agent::connect(sidecar);
    agent.send(&first);
    if first.as_ref().starts_with(b"HEAD") {
        agent.head_reply();
    } else {
        agent.reply();
    }
    agent.get("/crm/next").expect_status(200);
    let requests = up.requests();
    let [one, two] = &requests[before..] else {
        panic!("{requests:?}");
    };
    (one.socket == two.socket, announces_close(one))
}

fn request(method: &str, fields: &str, body: &str) -> String {
    format!("{method} /crm/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

#[test]
fn a_body_that_servers_may_not_read_closes_the_socket() {
    // F-218
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let chunks = "2\r\nhi\r\n0\r\n\r\n";
    for (first, kept) in [
        (request("GET", "", ""), true),
        (request("GET", "Content-Length: 0\r\n", ""), true),
        (request("DELETE", "", ""), true),
        (request("POST", "", ""), true),
        (request("POST", "Content-Length: 2\r\n", "hi"), true),
        (request("PUT", "Content-Length: 2\r\n", "hi"), true),
        (request("PATCH", "Content-Length: 2\r\n", "hi"), true),
        (request("GET", "Content-Length: 2\r\n", "hi"), false),
        (request("HEAD", "Content-Length: 2\r\n", "hi"), false),
        (request("DELETE", "Content-Length: 2\r\n", "hi"), false),
        (request("OPTIONS", "Content-Length: 2\r\n", "hi"), false),
        (request("POST", CHUNKED, chunks), false),
        (request("POST", CHUNKED, "0\r\n\r\n"), false),
        (request("PUT", CHUNKED, chunks), false),
    ] {
        let outcome = reused(&up, &sidecar, &first);
        assert_eq!(outcome, (kept, !kept), "{first:?}");
    }
}

#[test]
fn a_signed_body_that_arrived_in_chunks_closes_the_socket() {
    // F-218
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let crm = crm.http(
        "webhook_signing_secret",
        json!("planted-signing-secret-0123"),
    );
    let sidecar = Sidecar::with(crm).start();
    let sized = request("POST", "Content-Length: 2\r\n", "hi");
    assert_eq!(reused(&up, &sidecar, sized), (true, false));
    let chunked = request("POST", CHUNKED, "2\r\nhi\r\n0\r\n\r\n");
    assert_eq!(reused(&up, &sidecar, chunked), (false, true));
}

#[test]
fn reuse_after_body_false_closes_after_every_body() {
    // F-218
    for field in ["reuse_after_body", "reuseAfterBody"] {
        let up = Upstream::echo();
        let crm = connection("crm").allow("/").upstream(&up);
        let sidecar = Sidecar::with(crm.http(field, json!(false))).start();
        for (first, kept) in [
            (request("POST", "Content-Length: 2\r\n", "hi"), false),
            (request("PUT", "Content-Length: 2\r\n", "hi"), false),
            (request("POST", "Content-Length: 0\r\n", ""), true),
            (request("GET", "", ""), true),
        ] {
            assert_eq!(reused(&up, &sidecar, &first), (kept, !kept), "{first:?}");
        }
    }
}

/// Returns whether the socket serves another request after this response to this request.
fn kept_after(first: &str, response: &str) -> bool {
    let response = response.to_owned();
    let up = Upstream::answer(move |request| {
        if request.target == "/x" {
            response.clone()
        } else {
            ok("Content-Length: 2\r\n", "hi")
        }
    });
    let sidecar = before(&up);
    let (kept, log) = reused(&up, &sidecar, first);
    assert!(!log, "the request announced that its socket closes");
    kept
}

#[test]
fn a_response_that_suggests_an_unread_body_closes_the_socket() {
    // F-218
    let sized = request("POST", "Content-Length: 2\r\n", "hi");
    for (status, kept) in [
        ("200 OK", true),
        ("201 Created", true),
        ("302 Found", false),
        ("404 Not Found", false),
        ("405 Method Not Allowed", false),
        ("500 Internal Server Error", false),
    ] {
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(kept_after(&sized, &response), kept, "{status}");
        assert!(kept_after(&request("POST", "", ""), &response), "{status}");
        assert!(kept_after(&request("GET", "", ""), &response), "{status}");
    }
}

#[test]
fn a_response_that_begins_before_the_end_of_the_body_closes_the_socket() {
    // F-218: the rest of the head may come later.
    for (first, rest, kept) in [
        ("H", "TTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false),
        ("HTTP/1.1 200 OK\r\nContent-Len", "gth: 2\r\n\r\nhi", false),
        // Informational responses are meant to come early.
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            true,
        ),
    ] {
        let begun = Gate::new();
        let begins = begun.clone();
        let up = Upstream::script(move |wire| {
            if wire.socket() == 0 {
                wire.head();
                wire.send(first);
                begins.open();
                assert_eq!(wire.take(10), b"helloworld");
                wire.send(rest);
            }
            while wire.request().is_some() {
                wire.send(ok("Content-Length: 2\r\n", "hi"));
            }
        });
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        agent.send(request("POST", "Content-Length: 10\r\n", "hello"));
        begun.wait();
        agent.send("world");
        assert_eq!(agent.reply().expect_status(200).text(), "hi", "{first:?}");
        agent.get("/crm/next").expect_status(200);
        let next = &up.requests()[1];
        assert_eq!(
            (next.socket == 0, up.sockets()),
            (kept, 2 - usize::from(kept)),
            "{first:?}"
        );
    }
}

#[test]
fn a_response_without_the_body_that_it_announces_closes_the_socket() {
    // F-219: a server that sends the body anyway, a moment later, would answer the next request
    // with it.
    for (method, status, fields, kept) in [
        ("HEAD", "200 OK", "Content-Length: 5\r\n", false),
        ("HEAD", "200 OK", CHUNKED, false),
        ("HEAD", "200 OK", "Content-Length: 0\r\n", true),
        ("HEAD", "200 OK", "", true),
        ("GET", "204 No Content", "Content-Length: 5\r\n", false),
        ("GET", "204 No Content", CHUNKED, false),
        ("GET", "204 No Content", "", true),
        ("GET", "304 Not Modified", "Content-Length: 5\r\n", false),
        ("GET", "304 Not Modified", CHUNKED, false),
        ("GET", "304 Not Modified", "", true),
    ] {
        let response = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
        let after = kept_after(&request(method, "", ""), &response);
        assert_eq!(after, kept, "{method} {status} {fields:?}");
    }
}

#[test]
fn a_late_body_is_not_taken_for_a_response() {
    // F-219
    let sent = Gate::new();
    let late = sent.clone();
    let up = Upstream::script(move |wire| {
        while let Some(request) = wire.request() {
            if request.method == "HEAD" {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n");
                late.wait();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
            } else {
                wire.send(ok("Content-Length: 2\r\n", "hi"));
            }
        }
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.request("HEAD", "/crm/x", &[], b"").expect_status(200);
    agent.send("GET /crm/y HTTP/1.1\r\nHost: localhost\r\n\r\n");
    up.wait_requests(2);
    sent.open();
    assert_eq!(agent.reply().text(), "hi");
}

#[test]
fn the_announced_idle_time_is_respected() {
    // F-223
    for (fields, kept) in [
        ("Keep-Alive: timeout=60, max=100\r\n", true),
        ("Keep-Alive: max=1\r\n", true),
        ("Keep-Alive: nonsense\r\n", true),
        ("Keep-Alive: timeout=1\r\n", false),
        ("Keep-Alive: timeout=0\r\n", false),
        ("keep-alive: max=0, timeout=60\r\n", false),
    ] {
        let response = ok(&format!("{fields}Content-Length: 2\r\n"), "ok");
        let after = kept_after(&request("GET", "", ""), &response);
        assert_eq!(after, kept, "{fields:?}");
    }
}

#[test]
fn a_socket_with_an_unusual_last_response_is_used_last() {
    // F-227
    let gates = [Gate::new(), Gate::new()];
    let waited = gates.clone();
    let up = Upstream::answer(move |request| match request.target.as_str() {
        "/plain" => {
            waited[0].wait();
            ok("Content-Length: 2\r\n", "hi")
        }
        "/odd" => {
            waited[1].wait();
            format!("\r\n{}", ok("Content-Length: 2\r\n", "hi"))
        }
        _ => ok("Content-Length: 2\r\n", "hi"),
    });
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm).setting("proxy.workers", 1).start();
    let [mut one, mut other] = [(); 2].map(|()| Agent::connect(&sidecar));
    one.send("GET /crm/plain HTTP/1.1\r\nHost: localhost\r\n\r\n");
    other.send("GET /crm/odd HTTP/1.1\r\nHost: localhost\r\n\r\n");
    up.wait_requests(2);
    gates[0].open();
    assert_eq!(one.reply().text(), "hi");
    gates[1].open();
    assert_eq!(other.reply().text(), "hi");
    one.get("/crm/next").expect_status(200);
    let requests = up.requests();
    let socket_of = |target: &str| {
        let request = requests.iter().find(|request| request.target == target);
        request.expect("the request arrived").socket
    };
    assert_eq!(socket_of("/next"), socket_of("/plain"));
    assert_ne!(socket_of("/next"), socket_of("/odd"));
}

#[test]
fn a_surplus_response_is_reported_once_it_is_detected() {
    // F-227: the surplus response is taken for the answer to the request before it, which HTTP/1.1
    // cannot prevent.
    let up = Upstream::script(|wire| {
        wire.request();
        wire.send(ok("Content-Length: 2\r\n", "hi"));
        if wire.socket() > 0 {
            wire.wait_for_end();
            return;
        }
        wire.request();
        let unasked = ok("Content-Length: 7\r\n", "unasked");
        wire.send(unasked + &ok("Content-Length: 4\r\n", "true"));
        wire.wait_for_end();
    });
    let (mut log, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::start(EventLevel::Warn, EventFormat::Json, out).unwrap();
    let logs = Logs {
        access: AccessLog::off(),
        problems,
    };
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm).start_logging(logs);
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(agent.get("/crm/1").text(), "hi");
    assert_eq!(agent.get("/crm/2").text(), "unasked");
    assert_eq!(agent.get("/crm/3").text(), "hi");
    assert_eq!(up.sockets(), 2);
    drop(sidecar);
    let mut lines = String::new();
    log.read_to_string(&mut lines).unwrap();
    let surplus: Vec<_> = lines
        .lines()
        .filter(|line| line.contains("upstream_surplus"))
        .collect();
    let [line] = surplus[..] else {
        panic!("{lines}");
    };
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["event"], "upstream_surplus");
    assert_eq!(
        (&event["connection"], &event["level"]),
        (&json!("crm"), &json!("warn"))
    );
    assert!(
        !line.contains("unasked") && !line.contains("true"),
        "{line}"
    );
}
