//! Upstreams that support HTTP/2, correct and faulty ones.

use serde_json::{Value, json};

use crate::support::certs::Alpn;
use crate::support::h2::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PUSH_PROMISE,
    RST_STREAM, SETTINGS, STATUS_200, frame, literal_field,
};
use crate::support::h2_echo::H2Echo;
use crate::support::reply::{Ending, Reply};
use crate::support::wire::Wire;
use crate::support::{Agent, DEADLINE, Sidecar, Upstream, connection};

/// Returns the reply of an upstream that runs `script` for each request, with its stream.
fn answer_to(script: impl Fn(&mut Wire, u32) + Send + Sync + 'static) -> Reply {
    let up = Upstream::script_with_alpn(Alpn::H2, move |wire| {
        if h2::accept_preface(wire) {
            while let Some(stream) = h2::request(wire) {
                script(wire, stream);
            }
        }
    });
    let crm = connection("crm").allow("/").upstream(&up);
    let crm = crm
        .http("timeout_seconds", json!(DEADLINE))
        .http("max_response_size_bytes", json!(1_000_000));
    let sidecar = Sidecar::with(crm).start();
    Agent::connect(&sidecar).get("/crm/x")
}

/// Checks that a reply is a refusal that blames the upstream, or was aborted, so it does not look
/// complete.
fn assert_failure(what: &str, reply: &Reply) {
    if reply.status == 200 {
        assert_eq!(reply.ending, Ending::Aborted, "{what}: {reply:?}");
    } else {
        let problem = reply.problem();
        assert!(matches!(problem.status, 502 | 504), "{what}: {problem:?}");
        assert_eq!(problem.blame, "upstream", "{what}");
    }
}

fn head(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let fields = fields
        .iter()
        .map(|(name, value)| literal_field(name, value));
    let block = std::iter::once(STATUS_200.to_vec())
        .chain(fields)
        .collect::<Vec<_>>()
        .concat();
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

#[test]
fn a_server_that_supports_only_h2_is_used_over_h2() {
    let reply = answer_to(|wire, stream| {
        wire.send(head(
            stream,
            &[
                ("x-a", "b"),
                ("set-cookie", "evil"),
                ("content-length", "2"),
            ],
            0,
        ));
        wire.send(frame(DATA, 0, stream, b"h"));
        wire.send(frame(DATA, END_STREAM, stream, b"i"));
    });
    assert_eq!(reply.expect_status(200).text(), "hi");
    assert_eq!(reply.fields.all("x-a"), ["b"]);
    assert!(reply.fields.all("set-cookie").is_empty());
}

/// Returns the values of one field that the echo received.
fn values(echo: &Value, name: &str) -> Vec<String> {
    let headers = echo["headers"].as_array().unwrap().iter();
    let named = headers.filter(|pair| pair[0] == name);
    named
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn requests_are_the_same_in_http2() {
    let up = H2Echo::start();
    let crm = connection("crm")
        .allow("/")
        .bearer("t")
        .header("X-Tenant-ID", "acme");
    let crm = crm.base_url(&format!("https://{}/base", up.address));
    let sidecar = Sidecar::with(crm).setting("proxy.workers", 1).start();
    let mut agent = Agent::connect(&sidecar);
    let evil = [
        ("Authorization", "evil"),
        ("x_tenant_id", "evil"),
        ("Connection", "x-hop"),
        ("X-Hop", "evil"),
        ("TE", "trailers"),
        ("Keep-Alive", "evil"),
        ("Proxy-Connection", "evil"),
        ("Cookie", "evil"),
        ("X-Kept", "a"),
    ];
    for (method, body) in [("GET", ""), ("POST", "hello"), ("DELETE", "")] {
        let reply = agent.request(method, "/crm/a%2Db?q=%20", &evil, body.as_bytes());
        let echo = reply.expect_status(200).json();
        assert_eq!(echo["method"], method);
        assert_eq!(echo["target"], "/base/a%2Db?q=%20");
        assert_eq!(echo["authority"], up.address.to_string());
        assert_eq!(echo["body"], body);
        assert_eq!(values(&echo, "authorization"), ["Bearer t"]);
        assert_eq!(values(&echo, "x-tenant-id"), ["acme"]);
        assert_eq!(values(&echo, "x-kept"), ["a"]);
        assert!(!echo.to_string().contains("evil"), "{echo}");
        let hop_by_hop = [
            "connection",
            "keep-alive",
            "te",
            "transfer-encoding",
            "host",
        ];
        assert!(
            hop_by_hop.iter().all(|name| values(&echo, name).is_empty()),
            "{echo}"
        );
    }
    agent.request("HEAD", "/crm/x", &[], b"").expect_status(200);
    let chunked = "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let reply = agent.exchange(format!(
        "{chunked}3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: evil\r\n\r\n"
    ));
    let echo = reply.expect_status(200).json();
    assert_eq!(echo["body"], "abcde");
    assert!(!echo.to_string().contains("evil"), "{echo}");
}

#[test]
fn a_body_without_a_window_meets_the_deadline() {
    // F-136
    let up = Upstream::script_with_alpn(Alpn::H2, |wire| {
        if wire.take(24).is_empty() {
            return;
        }
        // SETTINGS_INITIAL_WINDOW_SIZE: 0
        wire.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
        wire.wait_for_end();
    });
    let crm = connection("crm")
        .allow("/")
        .upstream(&up)
        .http("timeout_seconds", json!(1));
    let sidecar = Sidecar::with(crm).start();
    let body = vec![b'a'; 100_000];
    let reply = Agent::connect(&sidecar).request("POST", "/crm/x", &[], &body);
    reply.refused(504, "upstream_timeout");
}

#[test]
fn aborted_streams_and_sessions_are_upstream_failures() {
    // F-136
    let code = |code: u32| code.to_be_bytes();
    for refused in [1, 2, 7, 8, 11] {
        assert_failure(
            "RST_STREAM",
            &answer_to(move |wire, stream| {
                wire.send(frame(RST_STREAM, 0, stream, &code(refused)));
            }),
        );
        assert_failure(
            "RST_STREAM within a body",
            &answer_to(move |wire, stream| {
                wire.send(head(stream, &[], 0));
                wire.send(frame(DATA, 0, stream, b"half"));
                wire.send(frame(RST_STREAM, 0, stream, &code(refused)));
            }),
        );
    }
    for length in [&[][..], &[("content-length", "8")]] {
        for begun in [&b""[..], b"half"] {
            assert_failure(
                "NO_ERROR before the end",
                &answer_to(move |wire, stream| {
                    wire.send(head(stream, length, 0));
                    wire.send(frame(DATA, 0, stream, begun));
                    wire.send(frame(RST_STREAM, 0, stream, &code(0)));
                }),
            );
        }
    }
    assert_failure(
        "GOAWAY",
        &answer_to(|wire, _| {
            wire.send(frame(GOAWAY, 0, 0, &[0; 8]));
            wire.close_with_notify();
        }),
    );
    assert_failure("a close", &answer_to(|wire, _| wire.close_with_notify()));
    assert_failure("a cut", &answer_to(|wire, _| wire.close_without_notify()));
    assert_failure("a reset", &answer_to(|wire, _| wire.reset()));
    assert_failure(
        "a truncated body",
        &answer_to(|wire, stream| {
            wire.send(head(stream, &[], 0));
            wire.send(frame(DATA, 0, stream, b"half"));
            wire.close_with_notify();
        }),
    );
}

#[test]
fn a_complete_response_may_reset_the_rest_of_its_request() {
    // F-134
    for length in [&[][..], &[("content-length", "4")]] {
        let up = Upstream::script_with_alpn(Alpn::H2, move |wire| {
            if h2::accept_preface(wire) {
                let stream = h2::request(wire).unwrap();
                let answer = [
                    head(stream, length, 0),
                    frame(DATA, END_STREAM, stream, b"nope"),
                    frame(RST_STREAM, 0, stream, &[0; 4]),
                ];
                wire.send(answer.concat());
                wire.wait_for_end();
            }
        });
        let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(
            "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        );
        assert_eq!(reply.expect_status(200).text(), "nope", "{length:?}");
        assert!(matches!(reply.ending, Ending::Whole), "{reply:?}");
    }
}

#[test]
fn bodies_that_differ_from_their_announced_length_fail() {
    // F-136
    for sent in ["ab", "abcd"] {
        assert_failure(
            sent,
            &answer_to(move |wire, stream| {
                wire.send(head(stream, &[("content-length", "3")], 0));
                wire.send(frame(DATA, END_STREAM, stream, sent.as_bytes()));
            }),
        );
    }
    let reply = answer_to(|wire, stream| {
        wire.send(head(stream, &[("content-length", "1000001")], 0));
    });
    reply.refused(502, "response_too_large");
}

#[test]
fn floods_of_frames_are_cut() {
    // F-136
    let until_closed = |wire: &mut Wire, bytes: &[u8]| {
        let many = bytes.repeat(500);
        let mut sent = 0;
        while sent < 2000 && wire.send(&many) {
            sent += 1;
        }
    };
    assert_failure(
        "SETTINGS",
        &answer_to(move |wire, _| until_closed(wire, &frame(SETTINGS, 0, 0, &[]))),
    );
    assert_failure(
        "PING",
        &answer_to(move |wire, _| until_closed(wire, &frame(PING, 0, 0, &[0; 8]))),
    );
    assert_failure(
        "CONTINUATION",
        &answer_to(move |wire, stream| {
            wire.send(frame(HEADERS, 0, stream, STATUS_200));
            until_closed(
                wire,
                &frame(CONTINUATION, 0, stream, &literal_field("x", "y")),
            );
        }),
    );
    assert_failure(
        "RST_STREAM",
        &answer_to(move |wire, stream| until_closed(wire, &frame(RST_STREAM, 0, stream, &[0; 4]))),
    );
    assert_failure(
        "empty DATA",
        &answer_to(move |wire, stream| {
            wire.send(head(stream, &[], 0));
            until_closed(wire, &frame(DATA, 0, stream, &[]));
            wire.send(frame(DATA, END_STREAM, stream, &[]));
        }),
    );
}

#[test]
fn pushes_invalid_frames_and_large_heads_fail() {
    // F-136
    let push = [&2_u32.to_be_bytes()[..], &[0x82, 0x84, 0x87]].concat();
    assert_failure(
        "PUSH_PROMISE",
        &answer_to(move |wire, stream| {
            wire.send(frame(PUSH_PROMISE, END_HEADERS, stream, &push));
            wire.send(head(stream, &[], END_STREAM));
            wire.wait_for_end();
        }),
    );
    assert_failure(
        "a DATA frame before the head",
        &answer_to(|wire, stream| {
            wire.send(frame(DATA, END_STREAM, stream, b"x"));
        }),
    );
    assert_failure(
        "a frame that is too large",
        &answer_to(|wire, stream| {
            wire.send(frame(HEADERS, END_HEADERS, stream, &[0; 20_000]));
        }),
    );
    assert_failure(
        "invalid HPACK",
        &answer_to(|wire, stream| {
            wire.send(frame(HEADERS, END_HEADERS, stream, &[0xff; 9]));
        }),
    );
    assert_failure(
        "a SETTINGS acknowledgement with a body",
        &answer_to(|wire, _| {
            wire.send(frame(SETTINGS, ACK, 0, &[0; 6]));
        }),
    );
    let large = "v".repeat(15_000);
    assert_failure(
        "a large head",
        &answer_to(move |wire, stream| {
            wire.send(frame(
                HEADERS,
                0,
                stream,
                &[STATUS_200, &literal_field("x-0", &large)].concat(),
            ));
            for n in 1..6 {
                let flags = if n == 5 { END_HEADERS } else { 0 };
                wire.send(frame(
                    CONTINUATION,
                    flags,
                    stream,
                    &literal_field(&format!("x-{n}"), &large),
                ));
            }
            wire.send(frame(DATA, END_STREAM, stream, b"hi"));
        }),
    );
}

#[test]
fn an_http1_response_after_an_h2_handshake_is_a_protocol_error() {
    // F-91
    let up = Upstream::script_with_alpn(Alpn::H2, |wire| {
        if wire.take(24).is_empty() {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        wire.wait_for_end();
    });
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let reply = Agent::connect(&sidecar).get("/crm/x");
    reply.refused(502, "upstream_protocol_error");
}

#[test]
fn a_server_without_alpn_gets_http1() {
    let up = Upstream::script_with_alpn(Alpn::Silent, |wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    });
    let crm = connection("crm")
        .allow("/")
        .upstream(&up)
        .http("http2", json!("prefer"));
    let sidecar = Sidecar::with(crm).start();
    assert_eq!(
        Agent::connect(&sidecar)
            .get("/crm/x")
            .expect_status(200)
            .text(),
        "hi"
    );
}
