//! Bodies of responses: framing, caps and pieces.

use serde_json::json;

use super::{CHUNKED, PROTOCOL, answer_to, assert_all_refused, assert_not_whole, before, ok};
use crate::support::message::Framing;
use crate::support::reply::Ending;
use crate::support::{Agent, DEADLINE, Gate, Sidecar, Upstream, connection};

#[test]
fn an_undeclared_length_is_cut_at_the_cap() {
    // F-113
    let chunk = |n: usize| format!("{n:x}\r\n{}\r\n", "a".repeat(n));
    let chunked = |sizes: &[usize]| {
        let chunks: String = sizes.iter().map(|n| chunk(*n)).collect();
        ok(CHUNKED, &format!("{chunks}0\r\n\r\n"))
    };
    let until_close = |n: usize| ok("", &"a".repeat(n));
    for exact in [chunked(&[1000]), chunked(&[500, 500]), until_close(1000)] {
        let reply = answer_to(exact);
        assert_eq!(reply.expect_status(200).body.len(), 1000);
    }
    for over in [
        chunked(&[1001]),
        chunked(&[1000, 1]),
        chunked(&[1, 1000]),
        until_close(1001),
    ] {
        assert_not_whole(&answer_to(&over), "response_too_large", &over);
    }
}

#[test]
fn a_committed_response_over_the_cap_is_aborted_at_it() {
    // F-113
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(ok(CHUNKED, &format!("1f4\r\n{}\r\n", "a".repeat(500))));
        waits.wait();
        while wire.send(format!("1f4\r\n{}\r\n", "a".repeat(500))) {}
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    let mut length = agent.chunk().expect("the first half").len();
    gate.open();
    while let Some(chunk) = agent.chunk() {
        assert!(!chunk.is_empty(), "the body looked complete");
        length += chunk.len();
    }
    assert!((500..=1000).contains(&length), "{length}");
    up.wait_closed(1);
}

#[test]
fn a_response_that_never_ends_is_cut_at_the_deadline() {
    // F-115
    let up = Upstream::script(|wire| {
        let request = wire.request().expect("a request");
        match request.target.as_str() {
            "/body" => wire.send(ok(CHUNKED, "1\r\na\r\n")),
            "/head" => wire.send("HTTP/1.1 200 OK\r\nX-A: b\r\nX-"),
            _ => true,
        };
        wire.wait_for_end();
    });
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.http("timeout_seconds", json!(DEADLINE))).start();
    let mut agents: Vec<Agent> = ["/crm/body", "/crm/head", "/crm/silence"]
        .map(|target| {
            let mut agent = Agent::connect(&sidecar);
            agent.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            agent
        })
        .into();
    let body = agents[0].reply();
    assert_eq!(
        (body.status, body.ending, body.text().as_str()),
        (200, Ending::Aborted, "a")
    );
    for agent in &mut agents[1..] {
        let problem = agent.reply().refused(504, "upstream_timeout");
        assert_eq!(problem.error, "connection_read_timeout");
    }
    up.wait_closed(3);
}

#[test]
fn a_flood_of_one_byte_chunks_is_cut() {
    // F-117
    let up = Upstream::script(|wire| {
        wire.request();
        wire.send(ok(CHUNKED, ""));
        let thousand = "1\r\na\r\n".repeat(1000);
        let mut thousands = 0;
        while thousands < 9_000 && wire.send(&thousand) {
            thousands += 1;
        }
        assert!(thousands < 9_000, "the whole flood was read");
    });
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm).start();
    let reply = Agent::connect(&sidecar).get("/crm/x");
    if reply.status == 200 {
        assert_eq!(reply.ending, Ending::Aborted);
        // The bytes that passed were coalesced.
        assert!(
            reply.chunks.len() < reply.body.len() / 100 + 10,
            "{} chunks",
            reply.chunks.len()
        );
    } else {
        reply.refused(502, PROTOCOL);
    }
    up.wait_closed(1);
}

#[test]
fn contradictory_lengths_are_refused() {
    // F-121
    for (fields, body, whole) in [
        (
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "abc",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "abc",
        ),
        ("Content-Length: 5, 5\r\n", "hello", "hello"),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "hello",
            "hello",
        ),
    ] {
        let reply = answer_to(ok(fields, body));
        if reply.status == 200 {
            assert_eq!(reply.expect_status(200).text(), whole, "{fields}");
        } else {
            reply.refused(502, PROTOCOL);
        }
    }
    let rows = [
        ok("Content-Length: 2\r\nContent-Length: 5\r\n", "hello"),
        ok("Content-Length: 2, 5\r\n", "hello"),
        ok("Content-Length: -5\r\n", "hello"),
        ok("Content-Length: +5\r\n", "hello"),
        ok("Content-Length: 0x5\r\n", "hello"),
        ok("Content-Length: \r\n", "hello"),
        ok("Content-Length: 99999999999999999999\r\n", "hello"),
    ];
    for row in rows {
        answer_to(&row).refused(502, PROTOCOL);
    }
}

#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    // F-122
    let rows = [
        "gzip, chunked",
        "gzip",
        "chunked, gzip",
        "xchunked",
        "chunked;q=1",
        "chunked, chunked",
    ]
    .map(|coding| {
        ok(
            &format!("Transfer-Encoding: {coding}\r\n"),
            "3\r\nabc\r\n0\r\n\r\n",
        )
    });
    let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
    assert_all_refused(&rows, PROTOCOL, "http_response_transfer_coding");
    // F-121
    let identity = ok(
        "Transfer-Encoding: identity\r\nContent-Length: 3\r\n",
        "abc",
    );
    let reply = answer_to(identity);
    if reply.status == 200 {
        assert_eq!(reply.expect_status(200).text(), "abc");
    } else {
        reply.refused(502, PROTOCOL);
    }
}

#[test]
fn truncated_bodies_are_never_whole() {
    // F-123
    for (fields, body) in [
        ("Content-Length: 10\r\n", "abc"),
        ("Content-Length: 10\r\n", ""),
        (CHUNKED, ""),
        (CHUNKED, "5\r\nab"),
        (CHUNKED, "3\r\nabc"),
        (CHUNKED, "3\r\nabc\r\n"),
        (CHUNKED, "3\r\nabc\r\n0\r\n"),
        (CHUNKED, "3\r\nabc\r\n0\r\nX-Trailer: a\r\n"),
        (CHUNKED, "3\r\nabcd\r\n0\r\n\r\n"),
        (CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n"),
        (CHUNKED, "-3\r\nabc\r\n0\r\n\r\n"),
        (CHUNKED, "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        (CHUNKED, "3\r\nabc\r\nz\r\n"),
    ] {
        assert_not_whole(&answer_to(ok(fields, body)), PROTOCOL, body);
    }
}

#[test]
fn http_1_0_responses_are_framed_again() {
    // F-125, F-92
    let old = "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nuntil the end";
    let reply = answer_to(old);
    assert_eq!(reply.expect_status(200).text(), "until the end");
    assert_eq!(reply.framing, Framing::Chunked);

    // F-92
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(old);
        match wire.socket() {
            0 => wire.close_without_notify(),
            _ => wire.reset(),
        }
    });
    let sidecar = before(&up);
    for _ in 0..2 {
        assert_not_whole(&Agent::connect(&sidecar).get("/crm/x"), PROTOCOL, old);
    }
    let sized = answer_to("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(sized.expect_status(200).text(), "hi");
    assert_eq!(sized.framing, Framing::Length(2));
}

#[test]
fn responses_with_204_or_304_have_no_body() {
    // F-127
    for (status, fields) in [
        ("204 No Content", "Content-Length: 3\r\n"),
        ("204 No Content", ""),
        ("204 No Content", CHUNKED),
        ("304 Not Modified", "Content-Length: 3\r\nETag: \"a\"\r\n"),
        ("304 Not Modified", "Content-Length: 5000\r\n"),
        ("304 Not Modified", ""),
    ] {
        let up = Upstream::reply(format!("HTTP/1.1 {status}\r\n{fields}\r\nabc"));
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        for _ in 0..2 {
            let reply = agent.get("/crm/x");
            assert!(status.starts_with(&reply.status.to_string()), "{fields}");
            if reply.status == 204 {
                assert_eq!(reply.framing, Framing::Absent, "{fields}");
            }
            assert!(reply.fields.all("transfer-encoding").is_empty());
        }
    }
}

#[test]
fn response_trailers_with_forbidden_names_are_dropped() {
    // F-130
    let trailers = "Set-Cookie: evil\r\nContent-Length: 9\r\nX-Egressd-Error: evil\r\n";
    let reply = answer_to(ok(CHUNKED, &format!("2\r\nhi\r\n0\r\n{trailers}\r\n")));
    assert_eq!(reply.expect_status(200).text(), "hi");
    assert!(reply.trailers.all("set-cookie").is_empty());
    assert!(reply.trailers.all("content-length").is_empty());
    assert!(reply.trailers.all("x-egressd-error").is_empty());
    assert_eq!(reply.fields.all("content-length"), [""; 0]);
}

#[test]
fn response_trailers_reach_agents_that_ask_for_them() {
    // F-242
    let announced = "X-Checksum, set-cookie, X-Egressd-Error, Location, Server-Timing, X-Absent";
    let trailers = "X-Checksum: 1\r\nx-checksum: 2\r\nSet-Cookie: evil\r\nX-Egressd-Error: evil\r\n\
                    Location: /evil\r\nX-Unannounced: 3\r\nbad name: 4\r\nServer-Timing: t;dur=1\r\n";
    let head = format!("{CHUNKED}Trailer: {announced}\r\n");
    let up = Upstream::reply(ok(&head, &format!("2\r\nhi\r\n0\r\n{trailers}\r\n")));
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for te in ["trailers", "gzip, Trailers"] {
        let reply = agent.request("GET", "/crm/x", &[("TE", te)], b"");
        assert_eq!(reply.expect_status(200).text(), "hi");
        let names = reply.fields.all("trailer");
        assert_eq!(names, ["x-checksum, server-timing, x-absent"]);
        assert_eq!(reply.trailers.all("x-checksum"), ["1", "2"]);
        assert_eq!(reply.trailers.all("server-timing"), ["t;dur=1"]);
        assert_eq!(reply.trailers.0.len(), 3, "{:?}", reply.trailers);
    }
    for fields in [&[][..], &[("TE", "gzip")]] {
        let reply = agent.request("GET", "/crm/x", fields, b"");
        assert_eq!(reply.expect_status(200).text(), "hi");
        assert!(reply.fields.all("trailer").is_empty());
        assert!(reply.trailers.0.is_empty(), "{:?}", reply.trailers);
    }
    // One socket served all requests, so each body ended where it should.
    assert_eq!(up.sockets(), 1);
    for arrived in up.requests() {
        assert!(arrived.fields.all("te").is_empty());
    }
}

#[test]
fn response_trailers_that_cannot_pass_leave_the_body_whole() {
    // F-242
    for (fields, body) in [
        (
            "Trailer: Set-Cookie\r\n",
            "2\r\nhi\r\n0\r\nSet-Cookie: a\r\n\r\n",
        ),
        ("Trailer: X-A\r\n", "2\r\nhi\r\n0\r\nX-B: a\r\n\r\n"),
        ("Trailer: X-A\r\n", "2\r\nhi\r\n0\r\n\r\n"),
        (
            "Trailer: Content-Type\r\n",
            "2\r\nhi\r\n0\r\nContent-Type: a\r\n\r\n",
        ),
        ("", "2\r\nhi\r\n0\r\nX-A: a\r\n\r\n"),
    ] {
        let up = Upstream::reply(ok(&format!("{CHUNKED}{fields}"), body));
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        for _ in 0..2 {
            let reply = agent.request("GET", "/crm/x", &[("TE", "trailers")], b"");
            assert_eq!(reply.expect_status(200).text(), "hi", "{fields} {body}");
            assert_eq!(reply.ending, Ending::Whole, "{fields} {body}");
            assert!(reply.trailers.0.is_empty(), "{:?}", reply.trailers);
        }
    }
}

#[test]
fn compressed_bodies_pass_unchanged() {
    // F-131
    let bytes: Vec<u8> = [0x1f, 0x8b, 8, 0]
        .iter()
        .copied()
        .chain((0..=255).cycle().take(900))
        .collect();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let reply = answer_to([head.as_bytes(), &bytes].concat());
    assert_eq!(reply.expect_status(200).body, bytes);
    assert_eq!(reply.fields.all("content-encoding"), ["gzip"]);
}
