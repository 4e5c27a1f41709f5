//! Lengths, chunks, and the end of a request.

use super::{CHUNKED, post, refused_and_closed, world};
use crate::support::message::{End, Framing, find_bytes, text};
use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn a_length_beside_chunks_is_dropped_and_the_socket_closes() {
    // F-30
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: +4zz\r\n",
    ] {
        let (up, sidecar) = world();
        let mut agent = Agent::connect(&sidecar);
        let smuggled = "GET /crm/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let body = format!("5\r\nhello\r\n0\r\n\r\n{smuggled}");
        agent.exchange(post(fields, &body)).expect_status(200);
        agent.expect_close();
        let arrived = up.only_request();
        assert_eq!(arrived.framing, Framing::Chunked, "{fields}");
        assert_eq!(arrived.body.bytes, b"hello", "{fields}");
    }
}

#[test]
fn transfer_codings_other_than_chunked() {
    // F-31
    let (up, sidecar) = world();
    for fields in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(post(fields, "0\r\n\r\n"));
        assert_eq!(reply.status, 400, "{fields:?} got {reply:?}");
        reply.refused(400, "malformed_request");
        agent.expect_close();
        assert_eq!(up.sockets(), 0, "{fields}");
    }
    let body = |field: &str| post(field, "0\r\n\r\n");
    let rows = [
        body("Transfer-Encoding: chunked;q=1\r\n"),
        // F-32
        body("Transfer-Encoding: chunked, identity\r\n"),
        body("Transfer-Encoding: xchunked\r\n"),
        body("Transfer-Encoding: \x0bchunked\r\n"),
        body("Transfer-Encoding: \"chunked\"\r\n"),
        body("Transfer-Encoding: \r\n"),
        body("Transfer-Encoding: ,chunked\r\n"),
        body("Transfer-Encoding : chunked\r\n"),
        body("Transfer-Encoding:\r\n chunked\r\n"),
    ];
    let rows: Vec<(&str, u16)> = rows.iter().map(|row| (row.as_str(), 400)).collect();
    refused_and_closed(&rows);
}

#[test]
fn chunked_in_any_case_is_chunked() {
    // F-32
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    for coding in ["Chunked", "CHUNKED", "  chunked\t"] {
        let request = post(
            &format!("Transfer-Encoding: {coding}\r\n"),
            "1\r\na\r\n0\r\n\r\n",
        );
        agent.exchange(request).expect_status(200);
    }
    for arrived in up.requests() {
        assert_eq!(
            (arrived.framing, arrived.body.bytes),
            (Framing::Chunked, b"a".to_vec())
        );
    }
    let old =
        "POST /crm/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let reply = Agent::connect(&sidecar).exchange(old);
    assert!(matches!(reply.status, 400 | 505), "{reply:?}");
}

#[test]
fn invalid_lengths() {
    // F-34
    let long = "9".repeat(20);
    let lengths = [
        "Content-Length: 3\r\nContent-Length: 4\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: +3\r\n".to_owned(),
        "Content-Length: 0x3\r\n".to_owned(),
        "Content-Length: \r\n".to_owned(),
        format!("Content-Length: {long}\r\n"),
        // F-35
        "Content-Length: 3, 3\r\n".to_owned(),
    ];
    let requests: Vec<String> = lengths.iter().map(|fields| post(fields, "abc")).collect();
    let rows: Vec<(&str, u16)> = requests.iter().map(|r| (r.as_str(), 400)).collect();
    refused_and_closed(&rows);
    refused_and_closed(&[(&post("Content-Length: 18446744073709551615\r\n", ""), 431)]);
}

#[test]
fn repeated_and_padded_lengths() {
    // F-35
    for fields in [
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 00003\r\n",
    ] {
        let (up, sidecar) = world();
        Agent::connect(&sidecar)
            .exchange(post(fields, "abc"))
            .expect_status(200);
        let arrived = up.only_request();
        assert_eq!(
            arrived.fields.single_value("content-length").as_deref(),
            Some("3")
        );
        assert_eq!(arrived.body.bytes, b"abc");
    }
}

#[test]
fn bodies_of_methods_that_rarely_have_one() {
    // F-36
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let smuggled = b"GET /crm/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE"] {
        agent
            .request(method, "/crm/x", &[], smuggled)
            .expect_status(200);
    }
    agent.get("/crm/last").expect_status(200);
    let requests = up.requests();
    assert_eq!(requests.len(), 4);
    for arrived in &requests[..3] {
        assert_eq!(arrived.framing, Framing::Length(smuggled.len()));
        assert_eq!(arrived.body.bytes, smuggled);
    }
    assert_eq!(
        (requests[3].target.as_str(), requests[3].framing),
        ("/last", Framing::Absent)
    );
}

#[test]
fn empty_and_chunked_bodies_keep_their_framing() {
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent
        .exchange(post("Content-Length: 0\r\n", ""))
        .expect_status(200);
    for method in ["POST", "PUT", "PATCH", "GET", "HEAD", "DELETE", "OPTIONS"] {
        agent.request(method, "/crm/x", &[], b"").expect_status(200);
    }
    agent
        .exchange(post(CHUNKED, "0\r\n\r\n"))
        .expect_status(200);
    let requests = up.requests();
    let framings: Vec<Framing> = requests.iter().map(|r| r.framing).collect();
    // F-222: IIS and Azure answer 411 to a POST without a body length.
    let sized = [Framing::Length(0); 4];
    let absent = [Framing::Absent; 4];
    assert_eq!(
        framings,
        [&sized[..], &absent, &[Framing::Chunked]].concat()
    );
    assert!(requests.iter().all(|r| r.body.bytes.is_empty()));
}

#[test]
fn invalid_chunks() {
    // F-37
    let (up, sidecar) = world();
    let next = "GET /crm/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(post(CHUNKED, &format!("{body}{next}")));
        assert_eq!(reply.status, 400, "{body:?} got {reply:?}");
        reply.refused(400, "malformed_request");
        agent.expect_close();
    }
    up.wait_closed(up.sockets());
    for arrived in up.requests() {
        assert!(!arrived.body.whole && arrived.target == "/x", "{arrived:?}");
    }
}

#[test]
fn a_flood_of_chunk_extensions() {
    // F-38
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let chunks = "1;extension=value\r\na\r\n".repeat(5000);
    let reply = agent.exchange(post(CHUNKED, &format!("{chunks}0\r\n\r\n")));
    reply.refused(400, "malformed_request");
    agent.wait_close();
    up.wait_closed(up.sockets());
    assert!(up.requests().iter().all(|arrived| !arrived.body.whole));
}

#[test]
fn request_trailers_are_discarded() {
    // F-39
    let (up, sidecar) = world();
    let trailers = "Authorization: evil\r\nContent-Length: 9\r\nX-Trailer: t\r\n";
    let mut agent = Agent::connect(&sidecar);
    let request = post(
        "Transfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n",
        &format!("3\r\nabc\r\n0\r\n{trailers}\r\n"),
    );
    agent.exchange(request).expect_status(200);
    agent.get("/crm/next").expect_status(200);
    let arrived = &up.requests()[0];
    assert_eq!(arrived.body.bytes, b"abc");
    assert!(
        arrived.body.trailers.0.is_empty(),
        "{:?}",
        arrived.body.trailers
    );
    assert_eq!(arrived.fields.all("authorization"), ["Bearer t"]);
    assert!(arrived.fields.all("x-trailer").is_empty());
    assert!(arrived.fields.all("trailer").is_empty());
}

#[test]
fn request_bodies_over_the_cap() {
    // F-46
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm)
        .setting("proxy.max_request_body_bytes", 1000)
        .start();
    let exact = "a".repeat(1000);
    let mut agent = Agent::connect(&sidecar);
    agent
        .request("POST", "/crm/x", &[], exact.as_bytes())
        .expect_status(200);
    agent
        .exchange(post(CHUNKED, &format!("3e8\r\n{exact}\r\n0\r\n\r\n")))
        .expect_status(200);
    assert_eq!(up.requests().len(), 2);

    // Only the head is sent, because the refusal does not wait for the body.
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.exchange(post("Content-Length: 1001\r\n", ""));
    let problem = reply.refused(413, "request_too_large");
    let sizes =
        "1001 bytes (`Content-Length`), but `proxy.max_request_body_bytes` allows at most 1000";
    assert!(problem.detail.contains(sizes), "{}", problem.detail);
    assert_eq!(up.requests().len(), 2);

    let mut agent = Agent::connect(&sidecar);
    let reply = agent.exchange(post(CHUNKED, &format!("3e9\r\n{exact}b\r\n")));
    let problem = reply.refused(413, "request_too_large");
    let sizes = "more than 1000 bytes, but `proxy.max_request_body_bytes`";
    assert!(problem.detail.contains(sizes), "{}", problem.detail);
    agent.wait_close();
    up.wait_closed(1);
    let whole = up
        .requests()
        .iter()
        .filter(|arrived| arrived.body.whole)
        .count();
    assert_eq!(whole, 2);
}

#[test]
fn an_agent_that_continues_to_send_can_read_the_refusal() {
    // F-46
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent.send(post("Content-Length: 20000000\r\n", ""));
    let part = vec![b'a'; 100_000];
    for _ in 0..50 {
        agent.send(&part);
    }
    agent.reply().refused(413, "request_too_large");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_socket_closes_when_the_agent_asks_for_it() {
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.request("GET", "/crm/x", &[("Connection", "close")], b"");
    assert_eq!(reply.expect_status(200).fields.all("connection"), ["close"]);
    agent.expect_close();
    assert!(up.only_request().fields.all("connection").is_empty());
}

#[test]
fn a_body_that_breaks_off_is_never_whole_upstream() {
    // F-47
    for (fields, body) in [
        ("Content-Length: 10\r\n", "abc"),
        (CHUNKED, "3\r\nabc\r\n"),
        (CHUNKED, "5\r\nabc"),
    ] {
        for reset in [false, true] {
            let (up, sidecar) = world();
            let mut agent = Agent::connect(&sidecar);
            agent.send(post(fields, body));
            up.wait_sockets(1);
            if reset {
                agent.reset();
            } else {
                agent.half_close();
                agent.wait_close();
                let seen = text(agent.received());
                assert!(
                    seen.is_empty() || seen.starts_with("HTTP/1.1 400 "),
                    "{seen:?}"
                );
            }
            up.wait_closed(1);
            assert!(
                up.requests().iter().all(|arrived| !arrived.body.whole),
                "{fields} {body}"
            );
        }
    }
}

#[test]
fn fifty_pipelined_requests_with_one_denied() {
    // F-48
    let up = Upstream::echo();
    let crm = connection("crm").allow("GET /{n}").upstream(&up);
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    let line = |n: usize| {
        if n == 25 {
            "/crm/denied/25".to_owned()
        } else {
            format!("/crm/{n}")
        }
    };
    let requests: String = (0..50)
        .map(|n| format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", line(n)))
        .collect();
    agent.send(requests);
    for n in 0..50 {
        let reply = agent.reply();
        if n == 25 {
            reply.refused(403, "route_not_allowed");
        } else {
            assert_eq!(reply.expect_status(200).json()["target"], format!("/{n}"));
        }
    }
    assert_eq!(up.requests().len(), 49);
}

#[test]
fn garbage_after_a_whole_body() {
    // F-49
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent.send(post("Content-Length: 3\r\n", "abc\x01\x02garbage\r\n\r\n"));
    agent.reply().expect_status(200);
    assert_eq!(agent.reply().status, 400);
    agent.expect_close();
    assert_eq!(up.only_request().body.bytes, b"abc");
}

#[test]
fn a_flood_of_one_byte_chunks_does_not_pass() {
    // F-50
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent.send(post(CHUNKED, ""));
    let thousand = "1\r\na\r\n".repeat(1000);
    // The whole body would be smaller than the cap.
    for _ in 0..3000 {
        agent.send(&thousand);
    }
    agent.send("0\r\n\r\n");
    let end = agent.wait_close();
    let seen = text(agent.received());
    let refused = seen.starts_with("HTTP/1.1 400 ") || seen.starts_with("HTTP/1.1 413 ");
    assert!(
        refused || (seen.is_empty() && end == End::Broken),
        "{seen:?}"
    );
    up.wait_closed(up.sockets());
    assert!(up.requests().iter().all(|arrived| !arrived.body.whole));
    assert!(find_bytes(&up.raw(), b"0\r\n\r\n").is_none());
}
