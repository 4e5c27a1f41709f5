//! Heads that the HTTP parser refuses. The proxy answers them with a document all the same.

use super::world;
use crate::support::h2_echo::H2Echo;
use crate::support::reply::Reply;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

/// Asserts that a reply is a document with this code, announces the close, and names no connection.
fn assert_document(reply: &Reply, status: u16, code: &str) -> String {
    let problem = reply.refused(status, code);
    assert_eq!(
        reply.fields.single_value("connection").as_deref(),
        Some("close")
    );
    assert!(reply.fields.single_value("date").is_some(), "{reply:?}");
    assert_eq!((problem.connection, problem.sent), (None, false));
    problem.detail
}

#[test]
fn heads_that_the_parser_refuses_get_a_document() {
    // F-290
    let (up, sidecar) = world();
    let fields = "Host: localhost\r\n\r\n";
    let line = |line: &str| format!("{line} HTTP/1.1\r\n{fields}").into_bytes();
    let with = |field: &str| format!("GET /crm/x HTTP/1.1\r\n{field}\r\n{fields}").into_bytes();
    let malformed = (400, "malformed_request");
    let path = (400, "path_not_canonical");
    let version = (505, "http_version_refused");
    let large = (431, "headers_too_large");
    let many: String = (0..101).map(|n| format!("X-{n}: v\r\n")).collect();
    for (bytes, (status, code), part) in [
        (line("GET /crm/<b>"), path, "write it as `%3C`"),
        (line("GET /crm/a?<b>&c#\"d"), (200, ""), ""),
        (line("GET /crm/a>?b=\"c\""), path, "write it as `%3E`"),
        (line("GET /crm/a`b"), malformed, "no URI may hold"),
        (line("GET /crm/a\tb"), malformed, "no URI may hold"),
        (line("GET /crm/a b"), malformed, "as `%20`"),
        (line("GET /crm/a?b c"), malformed, "as `%20`"),
        (
            b"GET /crm/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            malformed,
            "no URI may hold",
        ),
        (line("GE\"T /crm/a"), malformed, "valid method"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            malformed,
            "`http://`",
        ),
        (
            b"GET /crm/x HTTP/3.0\r\n\r\n".to_vec(),
            version,
            "Use HTTP/1.1.",
        ),
        (with("X A: b"), malformed, "header field"),
        (with("Content-Length: -1"), malformed, "not clear"),
        (
            with("Content-Length: 1\r\nContent-Length: 2"),
            malformed,
            "not clear",
        ),
        (with(many.trim_end()), large, "more than 100 header fields"),
    ] {
        let shown = String::from_utf8_lossy(bytes.get(..40).unwrap_or(&bytes)).into_owned();
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(bytes);
        if status == 200 {
            reply.expect_status(200);
            continue;
        }
        assert_eq!(reply.status, status, "{shown:?}: {reply:?}");
        let detail = assert_document(&reply, status, code);
        assert!(detail.contains(part), "{shown:?}: {detail}");
        agent.expect_close();
    }
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(arrived, ["/a?<b>&c"]);
}

#[test]
fn only_a_head_with_too_many_bytes_has_a_limit_in_bytes() {
    let (up, sidecar) = world();
    for (fields, limit) in [
        (format!("A: {}\r\n", "a".repeat(300_000)), Some(65_536)),
        ("A: b\r\n".repeat(101), None),
    ] {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(format!("GET /crm/x HTTP/1.1\r\n{fields}\r\n"));
        let problem = reply.refused(431, "headers_too_large");
        assert_eq!(problem.document["limit"].as_u64(), limit, "{reply:?}");
        assert!(problem.document["actual"].is_null(), "{reply:?}");
        agent.expect_close();
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_refused_head_on_a_kept_socket_gets_a_document() {
    let (up, sidecar) = world();
    for first in [
        "GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /nope/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let mut agent = Agent::connect(&sidecar);
        agent.exchange(first);
        let reply = agent.exchange("GET /crm/a b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_document(&reply, 400, "malformed_request");
        agent.expect_close();
    }
    // Behind a request in the same packet, hyper's own answer is sent if it comes first.
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /crm/a b HTTP/1.1\r\n\r\n");
    agent.reply().expect_status(200);
    assert_eq!(agent.reply().status, 400);
    agent.expect_close();
    assert_eq!(up.requests().len(), 3);
}

#[test]
fn a_query_with_bytes_that_no_uri_may_hold_is_sent_as_it_is() {
    // F-291
    let (up, sidecar) = world();
    let targets = [
        "/a.json?orderBy=\"$key\"&limitToFirst=2",
        "/items?filter={\"where\":{\"a\":\"<b>\"}}",
        "/items?a<b",
        "/items?a>b&`|\\^{}",
        "/items?\"",
    ];
    // On one socket, after a forwarded request, a refused one and one with a body.
    let mut agent = Agent::connect(&sidecar);
    for target in targets {
        let request = format!("GET /crm{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        agent.exchange(&request).expect_status(200);
        agent.get("/nope/x").refused(404, "connection_not_found");
        agent.exchange(&request).expect_status(200);
        let post = format!(
            "POST /crm{target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{{\"<a>\"}}"
        );
        agent.exchange(&post).expect_status(200);
    }
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    let expected: Vec<&str> = targets.iter().flat_map(|target| [*target; 3]).collect();
    assert_eq!(arrived, expected);
    assert!(
        up.requests()
            .iter()
            .all(|r| r.method != "POST" || r.body.bytes == b"{\"<a>\"}")
    );
    // A pipelined request follows, and the head arrives in pieces.
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x?a=\"b\" HTTP/1.1\r\nHost: localhost\r\n\r\nGET /crm/y HTTP/1.1\r\n");
    agent.send("Host: localhost\r\n\r\n");
    agent.reply().expect_status(200);
    agent.reply().expect_status(200);
    for piece in [
        "GET /crm/z?a",
        "=\"b",
        "\" HTTP/1.1\r\nHost: local",
        "host\r\n\r\n",
    ] {
        agent.send(piece);
    }
    agent.reply().expect_status(200);
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(
        arrived[expected.len()..],
        ["/x?a=\"b\"", "/y", "/z?a=\"b\""]
    );
}

const RAW: &str = "GET /crm/raw?a=\"b\"&<c> HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_query_is_accepted_however_its_head_arrives() {
    // F-291
    let (up, sidecar) = world();
    let first = "GET /crm/first HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let etag = "GET /crm/first HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"a\"\r\n\r\n";
    let bare = "GET /crm/first HTTP/1.1\nHost: localhost\n\n";
    let post = "POST /crm/first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"<a>\"}";
    let bare_post = "POST /crm/first HTTP/1.1\nHost: localhost\nContent-Length: 7\n\n{\"<a>\"}";
    let chunked = "POST /crm/first HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"<a>\"}\r\n0\r\n\r\n";
    for before in [first, etag, bare, post, bare_post, chunked, RAW] {
        // In one piece, and split at some places, which include the end of the first head.
        let both = format!("{before}{RAW}");
        let end = before.len();
        let mut splits = vec![0, 1, 20, end + 1, end + 12, end + 30, both.len() - 1];
        splits.extend((end - 12)..=end);
        splits.extend(
            before
                .find("\r\n\r\n")
                .into_iter()
                .flat_map(|at| at..at + 5),
        );
        for at in splits {
            let seen = up.requests().len();
            let mut agent = Agent::connect(&sidecar);
            let (one, two) = both.split_at(at);
            agent.send(one);
            agent.send(two);
            agent.reply().expect_status(200);
            let reply = agent.reply();
            assert_eq!(reply.status, 200, "{both:?} split at {at}: {reply:?}");
            assert_eq!(up.requests()[seen + 1].target, "/raw?a=\"b\"&<c>");
            // The socket is kept.
            agent.exchange(RAW).expect_status(200);
        }
    }
}

#[test]
fn a_query_is_accepted_after_line_ends_and_whatever_request_came_before() {
    // F-291
    let (up, sidecar) = world();
    for pieces in [
        &["\r\n"][..],
        &["\n"],
        &["\r\n\r\n"],
        &["GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r", "\n"],
        &["GET /crm/x HTTP/1.1\r\nHost: localhost\r\n", "\r\n"],
        &["GET /crm/x HTTP/1.1\nHost: localhost\n\n"],
        &[
            "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r",
            "\n{}",
        ],
        &["POST /crm/x HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n{}"],
        &[
            "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            "2\r\n{}\r\n",
            "0\r\nTrailer: a\r\n\r\n",
        ],
    ] {
        for is_one_packet in [true, false] {
            let mut agent = Agent::connect(&sidecar);
            for piece in pieces {
                agent.send(piece);
            }
            if pieces[0].len() > 4 {
                agent.reply().expect_status(200);
            }
            let line_ends = if is_one_packet { "\r\n" } else { "" };
            let reply = agent.exchange(format!("{line_ends}{RAW}"));
            assert_eq!(reply.status, 200, "{pieces:?}: {reply:?}");
            let arrived = up.requests().pop().unwrap().target;
            assert_eq!(arrived, "/raw?a=\"b\"&<c>", "{pieces:?}");
        }
    }
}

#[test]
fn a_request_behind_one_that_closes_the_socket_is_not_answered() {
    let (up, sidecar) = world();
    let close = "GET /crm/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let unread = "POST /nope/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    for (first, status) in [(close, 200), (unread, 404)] {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(format!("{first}{RAW}"));
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(
            reply.fields.single_value("connection").as_deref(),
            Some("close")
        );
        agent.expect_close();
    }
    assert_eq!(up.only_request().target, "/x");
}

#[test]
fn other_bytes_in_a_query_are_refused() {
    // F-292
    let (up, sidecar) = world();
    for query in [
        "a b",
        "a\tb",
        "a\x01b",
        "a\x7fb",
        "caf\u{e9}",
        "\u{1f600}",
        "\"\u{e9}\"",
    ] {
        let request = format!("GET /crm/x?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = Agent::connect(&sidecar).exchange(request);
        reply.refused(400, "malformed_request");
    }
    let long = format!("/crm/x?{}", "\"".repeat(8_185));
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut agent = Agent::connect(&sidecar);
    agent.exchange(request(&long)).expect_status(200);
    let reply = agent.exchange(request(&(long + "\"")));
    let problem = reply.refused(414, "target_too_long");
    assert_eq!(problem.document["actual"], 8_193);
    assert_eq!(up.requests().len(), 1);
}

#[test]
fn an_http2_upstream_gets_the_query_encoded() {
    let up = H2Echo::start();
    let base = format!("https://{}", up.address);
    let crm = connection("crm").allow("/").base_url(&base);
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    for (query, arrived) in [
        ("a=\"b\"&<c>&{|}", "a=%22b%22&%3Cc%3E&{|}"),
        ("a={|}\\^`", "a={|}\\^`"),
    ] {
        let request = format!("GET /crm/x?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let seen = agent.exchange(request).expect_status(200).json();
        assert_eq!(seen["target"], format!("/x?{arrived}"));
    }
}

#[test]
fn a_body_like_the_parsers_own_answer_reaches_the_agent() {
    // F-290: the head is written before the body arrives.
    const BODY: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for before in ["", "before "] {
        let gate = Gate::new();
        let opened = gate.clone();
        let up = Upstream::script(move |wire| {
            while wire.request().is_some() {
                let length = before.len() + BODY.len();
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{before}"
                ));
                opened.wait();
                wire.send(BODY);
            }
        });
        let crm = connection("crm").allow("/").upstream(&up);
        let sidecar = Sidecar::with(crm).start();
        let mut agent = Agent::connect(&sidecar);
        agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        agent.wait_for(&format!("\r\n\r\n{before}"));
        gate.open();
        let reply = agent.reply();
        assert_eq!(
            reply.expect_status(200).body,
            format!("{before}{BODY}").as_bytes()
        );
        // The socket is kept, and a refused head still gets a document.
        let reply = agent.exchange("GET /crm/a<b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        reply.refused(400, "path_not_canonical");
    }
}
