//! Responses to requests whose bodies are not read: the socket is kept or closed, as the response
//! announces.

use serde_json::json;

use super::CHUNKED;
use crate::support::{Agent, Gate, Program, Upstream, connection};

/// Heads and bodies with the same meaning: the field that announces the body, and the body.
const BODIES: [(&str, &str); 3] = [
    ("Content-Length: 5\r\n", "abcde"),
    (CHUNKED, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    (CHUNKED, "5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n"),
];

/// The part of a body that an agent has sent when it waits for the response.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    All,
    Half,
    Nothing,
}

/// A sidecar in front of upstreams with every kind of failure, on TCP and a Unix socket.
struct World {
    program: Program,
    held: Upstream,
    _up: Upstream,
}

/// Requests that are refused at every stage, with their refusals.
const REFUSALS: [(&str, u16, &str); 13] = [
    ("POST /crm//x", 400, "path_not_canonical"),
    ("POST http://localhost/crm/x", 400, "forward_proxy_refused"),
    ("POST /nope/x", 404, "connection_not_found"),
    ("POST /crm", 403, "route_not_allowed"),
    ("POST /crm/nope", 403, "route_not_allowed"),
    ("POST /off/x", 403, "connection_disabled"),
    ("DELETE /crm/x", 405, "method_not_allowed"),
    ("CONNECT localhost:80", 405, "connect_refused"),
    ("POST /web/x", 403, "browser_request_refused"),
    ("POST /gone/x", 502, "upstream_unreachable"),
    ("POST /inside/x", 502, "address_refused"),
    ("POST /slow/x", 504, "upstream_timeout"),
    ("POST /busy/x", 503, "overloaded"),
];

impl World {
    fn new(gate: &Gate) -> Self {
        let gate = gate.clone();
        let held = Upstream::script(move |wire| {
            wire.request();
            gate.wait();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        });
        let up = Upstream::body("hi");
        let to = |id: &str| connection(id).allow("POST /x").allow("GET /x");
        let off = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
        let program = Program::new(
            &[
                to("crm").upstream(&up),
                to("web").upstream(&up),
                to("off")
                    .upstream(&up)
                    .with_field("tool_configurations", off),
                to("gone").base_url("https://127.0.0.1:1"),
                to("inside")
                    .base_url("https://localhost:1")
                    .http("allowed_private_cidrs", json!([])),
                to("slow").upstream(&held).http("timeout_seconds", json!(1)),
                to("busy")
                    .upstream(&held)
                    .http("max_concurrent_requests", json!(1)),
            ],
            &json!({}),
        );
        Self {
            program,
            held,
            _up: up,
        }
    }
}

/// Asserts that the socket is closed, or that the next request on it is answered, as the response
/// announced.
fn keeps_its_word(agent: &mut Agent, closes: bool, what: &str) {
    if closes {
        agent.expect_close();
    } else {
        let next = agent.get("/crm/x");
        assert_eq!(next.status, 200, "{what}: {next:?}");
    }
}

#[test]
fn a_response_announces_if_its_socket_closes_whatever_body_is_unread() {
    // F-269
    let gate = Gate::new();
    let world = World::new(&gate);
    let path = world.program.path("agents.sock");
    let unix = format!("unix:{}", path.display());
    let mut running = world
        .program
        .start(&["--listen", "127.0.0.1:0", "--listen", &unix]);
    let agents = running.wait_for_line("agents connect to").parse().unwrap();
    running.wait_for_line("ready with");
    // Occupies the connection's only slot as long as the gate is closed.
    let mut busy = Agent::connect_to(agents);
    busy.send("GET /busy/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.held.wait_requests(1);
    for (line, status, code) in REFUSALS {
        for (fields, body) in BODIES {
            for sent in [Sent::All, Sent::Half, Sent::Nothing] {
                // The refusal for the deadline blames the agent if the agent's body is incomplete.
                if line.contains("/slow/") && (sent != Sent::All || body.contains("X-Sum")) {
                    continue;
                }
                for over_unix in [false, true] {
                    let mut agent = if over_unix {
                        Agent::connect_unix(&path)
                    } else {
                        Agent::connect_to(agents)
                    };
                    let origin = if line.contains("/web/") {
                        "Origin: https://evil.example\r\n"
                    } else {
                        ""
                    };
                    let arrived = match sent {
                        Sent::All => body,
                        Sent::Half => body.split_at(body.len() / 2).0,
                        Sent::Nothing => "",
                    };
                    let head =
                        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{origin}{fields}\r\n");
                    let what = format!("{head:?}{arrived:?}");
                    let reply = agent.exchange(format!("{head}{arrived}"));
                    reply.refused(status, code);
                    let closes =
                        reply.fields.single_value("connection").as_deref() == Some("close");
                    let must_close = sent != Sent::All || ["connect_refused"].contains(&code);
                    assert_eq!(closes, must_close, "{what}: {reply:?}");
                    keeps_its_word(&mut agent, closes, &what);
                }
            }
        }
    }
    gate.open();
    busy.reply().expect_status(200);
    assert_eq!(running.stop_and_collect().0, Some(0));
}

#[test]
fn a_long_rest_of_a_body_is_not_read_for_the_socket() {
    // F-269: also if all of the body has arrived.
    let gate = Gate::new();
    let world = World::new(&gate);
    let mut running = world.program.start(&[]);
    let (agents, operators) = running.addresses();
    for (fields, body) in [
        ("Content-Length: 1000000\r\n", vec![b'a'; 1_000_000]),
        (
            CHUNKED,
            [
                b"f4240\r\n".to_vec(),
                vec![b'a'; 1_000_000],
                b"\r\n0\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        (
            CHUNKED,
            [b"1\r\na\r\n".repeat(1000), b"0\r\n\r\n".to_vec()].concat(),
        ),
    ] {
        let mut agent = Agent::connect_to(agents);
        let head = format!("POST /crm/nope HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        agent.send([head.as_bytes(), &body].concat());
        let reply = agent.reply();
        reply.refused(403, "route_not_allowed");
        assert_eq!(
            reply.fields.single_value("connection").as_deref(),
            Some("close"),
            "{reply:?}"
        );
        agent.expect_close();
    }
    // If an agent waits for `100 Continue`, its body is never requested.
    let mut agent = Agent::connect_to(agents);
    let reply = agent.exchange(
        "POST /crm/nope HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    reply.refused(403, "route_not_allowed");
    assert!(reply.informational.is_empty(), "{reply:?}");
    assert_eq!(
        reply.fields.single_value("connection").as_deref(),
        Some("close"),
        "{reply:?}"
    );
    agent.expect_close();
    // The same holds for the management listener.
    for (arrived, closes) in [("abcde", false), ("ab", true)] {
        let mut operator = Agent::connect_to(operators);
        let reply = operator.exchange(format!(
            "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{arrived}"
        ));
        assert_eq!(reply.status, 405, "{reply:?}");
        let announced = reply.fields.single_value("connection").as_deref() == Some("close");
        assert_eq!(announced, closes, "{reply:?}");
        if closes {
            operator.expect_close();
        } else {
            operator.get("/livez").expect_status(200);
        }
    }
    assert_eq!(running.stop_and_collect().0, Some(0));
}

#[test]
fn an_early_response_of_the_upstream_announces_that_the_socket_closes() {
    // F-269: the same holds for a forwarded response. The upstream responds before it has read the
    // body, and closes.
    let up = Upstream::script(|wire| {
        wire.head();
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let program = Program::new(&[connection("crm").allow("/").upstream(&up)], &json!({}));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    for fields in [
        "Content-Length: 5\r\n\r\nab",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ] {
        let mut agent = Agent::connect_to(agents);
        let reply = agent.exchange(format!(
            "POST /crm/x HTTP/1.1\r\nHost: localhost\r\n{fields}"
        ));
        assert_eq!((reply.status, reply.text().as_str()), (403, "no"));
        assert_eq!(
            reply.fields.single_value("connection").as_deref(),
            Some("close"),
            "{reply:?}"
        );
        agent.expect_close();
    }
    assert_eq!(running.stop_and_collect().0, Some(0));
}
