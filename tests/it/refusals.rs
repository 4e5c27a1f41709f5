//! Every refusal code, caused from outside.

use std::collections::BTreeSet;
use std::net::TcpListener;

use egressd::proxy::code::RefusalCode;
use serde_json::json;

use crate::support::reply::Reply;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

struct World {
    sidecar: Sidecar,
    up: Upstream,
    hostile: Upstream,
    held: Gate,
    _others: Vec<Upstream>,
}

/// A sidecar with a connection for each kind of failure.
fn world() -> World {
    let up = Upstream::echo();
    let held = Gate::new();
    let hostile = hostile(&held);
    let untrusted = Upstream::untrusted();
    let plaintext = Upstream::script_without_tls(|wire| {
        wire.take(1);
        wire.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let crm = connection("crm")
        .allow("GET /ok")
        .allow("POST /up")
        .allow("GET /dir/")
        .upstream(&up);
    let off = connection("off")
        .allow("/")
        .upstream(&up)
        .with_field("tool_configurations", tools);
    let hostile_one = |id: &str| connection(id).allow("/").upstream(&hostile);
    let bad = hostile_one("bad").http("max_response_size_bytes", json!(1000));
    let leaky = hostile_one("leaky").bearer(REFLECTED);
    let slow = hostile_one("slow").http("timeout_seconds", json!(1));
    let busy = hostile_one("busy").http("max_concurrent_requests", json!(1));
    let port = up.address().port();
    let inside = connection("inside")
        .allow("/")
        .base_url(&format!("https://localhost:{port}"));
    let inside = inside.http("allowed_private_cidrs", json!([]));
    let sidecar = Sidecar::with(crm)
        .with_connection(off)
        .with_connection(bad)
        .with_connection(leaky)
        .with_connection(slow)
        .with_connection(busy)
        .with_connection(inside)
        .with_connection(connection("untrusted").allow("/").upstream(&untrusted))
        .with_connection(connection("plaintext").allow("/").upstream(&plaintext))
        .with_connection(connection("closed").allow("/").base_url(&closed_port()))
        .with_connection(
            connection("nameless")
                .allow("/")
                .base_url("https://nothing.invalid"),
        )
        .setting("proxy.max_request_body_bytes", 1000)
        .setting("proxy.body_idle_timeout_seconds", 1);
    World {
        sidecar: sidecar.start(),
        up,
        hostile,
        held,
        _others: vec![untrusted, plaintext],
    }
}

/// An upstream that misbehaves in the way that the request's target names.
fn hostile(held: &Gate) -> Upstream {
    let held = held.clone();
    Upstream::script(move |wire| {
        let request = wire.request().expect("a request");
        match request.target.as_str() {
            "/garbage" => {
                wire.send("garbage\r\n\r\n");
            }
            "/large" => {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
            }
            "/reflection" => {
                wire.send(format!("HTTP/1.1 200 OK\r\nX-Echo: {REFLECTED}\r\n\r\n"));
            }
            "/hold" => {
                held.wait();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
            _ => {
                wire.wait_for_end();
            }
        }
    })
}

/// A credential that the hostile upstream sends back.
const REFLECTED: &str = "reflected-0123456789";

/// Returns a base URL with a closed port.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

/// A request that is refused, and the members of the refusal.
struct Row {
    code: &'static str,
    status: u16,
    blame: &'static str,
    retryable: bool,
    /// `true` if a byte of the request reaches the upstream.
    sent: bool,
    /// The error type of RFC 9209.
    error: &'static str,
    /// The connection that the document names.
    connection: Option<&'static str>,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// Sends these bytes.
    Raw(&'static str),
    /// Sends a `GET` of this target.
    Get(&'static str),
    /// Runs a sequence of steps.
    Story(fn(&World) -> Reply),
}

use How::{Get, Raw, Story};

const fn agent(status: u16, code: &'static str, error: &'static str, how: How) -> Row {
    Row {
        code,
        status,
        blame: "agent",
        retryable: false,
        sent: false,
        error,
        connection: None,
        how,
    }
}

const fn upstream(status: u16, code: &'static str, error: &'static str, how: How) -> Row {
    Row {
        blame: "upstream",
        retryable: true,
        ..agent(status, code, error, how)
    }
}

impl Row {
    const fn for_connection(self, id: &'static str) -> Self {
        Self {
            connection: Some(id),
            ..self
        }
    }

    const fn final_(self) -> Self {
        Self {
            retryable: false,
            ..self
        }
    }

    const fn sent(self) -> Self {
        Self { sent: true, ..self }
    }
}

const DENIED: &str = "http_request_denied";
const ERROR: &str = "http_request_error";

#[rustfmt::skip] // one row a line
const ROWS: &[Row] = &[
    agent(400, "malformed_request", ERROR, Raw("GET /crm/ok HTTP/1.1\r\n\r\n")),
    agent(400, "path_not_canonical", ERROR, Get("/crm/../ok")),
    agent(400, "forward_proxy_refused", ERROR, Raw("GET http://localhost/crm/ok HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    agent(403, "route_not_allowed", DENIED, Get("/crm/other")).for_connection("crm"),
    agent(403, "connection_disabled", DENIED, Get("/off/x")).for_connection("off"),
    agent(403, "browser_request_refused", DENIED, Raw("GET /crm/ok HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n")),
    agent(404, "connection_not_found", DENIED, Get("/nope/x")),
    agent(405, "method_not_allowed", DENIED, Raw("DELETE /crm/ok HTTP/1.1\r\nHost: localhost\r\n\r\n")).for_connection("crm"),
    agent(405, "connect_refused", ERROR, Raw("CONNECT x:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    agent(408, "request_timeout", ERROR, Raw("POST /crm/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na")).for_connection("crm").sent(),
    agent(413, "request_too_large", ERROR, Raw("POST /crm/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n")).for_connection("crm"),
    agent(414, "target_too_long", ERROR, Story(|world| Agent::connect(&world.sidecar).get(&"/a".repeat(4097)))),
    agent(421, "host_not_allowed", DENIED, Raw("GET /crm/ok HTTP/1.1\r\nHost: evil.com\r\n\r\n")),
    agent(501, "upgrade_refused", ERROR, Raw("GET /crm/ok HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")),
    agent(505, "http_version_refused", ERROR, Raw("GET /crm/ok HTTP/1.0\r\nHost: localhost\r\n\r\n")),
    upstream(502, "upstream_unreachable", "connection_refused", Get("/closed/x")).for_connection("closed"),
    upstream(502, "upstream_unreachable", "dns_error", Get("/nameless/x")).for_connection("nameless"),
    upstream(502, "upstream_unreachable", "tls_certificate_error", Get("/untrusted/x")).for_connection("untrusted").final_(),
    upstream(502, "upstream_unreachable", "tls_protocol_error", Get("/plaintext/x")).for_connection("plaintext"),
    upstream(502, "upstream_protocol_error", "http_protocol_error", Get("/bad/garbage")).for_connection("bad").sent(),
    upstream(502, "address_refused", "destination_ip_prohibited", Get("/inside/x")).for_connection("inside").final_(),
    upstream(502, "response_too_large", "http_response_body_size", Get("/bad/large")).for_connection("bad").final_().sent(),
    upstream(502, "credential_reflected", "http_protocol_error", Get("/leaky/reflection")).for_connection("leaky").final_().sent(),
    upstream(504, "upstream_timeout", "connection_read_timeout", Get("/slow/x")).for_connection("slow").sent(),
    Row { blame: "proxy", ..upstream(503, "draining", "proxy_internal_response", Story(drain)) },
    Row { blame: "proxy", ..upstream(503, "overloaded", "connection_limit_reached", Story(overload)).for_connection("busy") },
];

/// Parts of the `detail` of a row, by its code: numbers, settings, names of headers, and advice.
#[rustfmt::skip] // one row a line
const DETAILS: &[(&str, &str)] = &[
    ("malformed_request", "no `Host` header"),
    ("browser_request_refused", "has an `Origin`"),
    ("request_timeout", "1 s (`proxy.body_idle_timeout_seconds`)"),
    ("request_too_large", "1001 bytes (`Content-Length`), but `proxy.max_request_body_bytes` allows at most 1000"),
    ("target_too_long", "8194 bytes; at most 8192"),
    ("response_too_large", "more than 1000 bytes (the connection's `max_response_size_bytes`). Request less, such as a smaller page."),
    ("route_not_allowed", "Patterns are relative to `/crm`."),
    ("method_not_allowed", "Patterns are relative to `/crm`."),
    ("connection_disabled", "Use another connection: `GET /` lists them."),
    ("address_refused", "The operator can allow the range in the connection's `allowed_private_cidrs`."),
    ("credential_reflected", "Do not repeat the request; use another route."),
    ("upstream_timeout", "within 1 s (the connection's `timeout_seconds`)"),
    ("overloaded", "`max_concurrent_requests` is 1"),
];

/// The numbers in the document of a row, by its code: `limit`, `actual` and `timeout_seconds`.
const NUMBERS: &[(&str, [Option<u64>; 3])] = &[
    ("request_timeout", [None, None, Some(1)]),
    ("request_too_large", [Some(1000), Some(1001), None]),
    ("target_too_long", [Some(8192), Some(8194), None]),
    ("response_too_large", [Some(1000), Some(1001), None]),
    ("upstream_timeout", [None, None, Some(1)]),
];

/// Codes that no row can cause, and the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "credential_exposed",
        "needs a credential that was found in a response before",
    ),
    ("consent_required", "needs a grant without a valid consent"),
    (
        "headers_too_large",
        "has two texts, and it depends on how the bytes arrive which one is sent",
    ),
    (
        "internal_error",
        "a panic is planted in the proxy's own tests",
    ),
    (
        "credential_unavailable",
        "needs a token endpoint that fails",
    ),
];

/// Sends a second request while the upstream holds the first one.
fn overload(world: &World) -> Reply {
    let mut first = Agent::connect(&world.sidecar);
    let before = world.hostile.requests().len();
    first.send("GET /busy/hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.hostile.wait_requests(before + 1);
    let reply = Agent::connect(&world.sidecar).get("/busy/hold");
    world.held.open();
    first.reply().expect_status(200);
    reply
}

/// Sends a request on a kept socket while the process waits for another exchange to end.
fn drain(_: &World) -> Reply {
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let plan = Sidecar::with(connection("crm").allow("/").upstream(&up));
    let sidecar = plan.setting("shutdown.grace_period_seconds", 30).start();
    let mut streaming = Agent::connect(&sidecar);
    streaming.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    streaming.open_reply();
    let mut kept = Agent::connect(&sidecar);
    kept.get("/nope/x").refused(404, "connection_not_found");
    let operators = sidecar.management();
    let stopping = sidecar.stop();
    while Agent::connect_to(operators).get("/readyz").status == 200 {}
    let reply = kept.get("/nope/x");
    kept.expect_close();
    gate.open();
    while streaming.chunk().is_some_and(|chunk| !chunk.is_empty()) {}
    assert_eq!(stopping.join().unwrap(), 0, "an exchange was cut off");
    reply
}

#[test]
fn every_refusal_is_as_in_the_table() {
    let world = world();
    for row in ROWS {
        let mut agent = Agent::connect(&world.sidecar);
        let reply = match row.how {
            Raw(bytes) => agent.exchange(bytes),
            Get(target) => agent.get(target),
            Story(story) => story(&world),
        };
        // A socket closes after a refusal that announces it, and after no other.
        match (row.how, reply.fields.single_value("connection")) {
            (Story(_), _) => {}
            (Raw(_) | Get(_), Some(_)) => agent.expect_close(),
            (Raw(_) | Get(_), None) => drop(agent.get("/nope/x").expect_status(404)),
        }
        let problem = reply.refused(row.status, row.code);
        let found = (
            problem.blame.as_str(),
            (problem.retryable, problem.sent),
            problem.error.as_str(),
        );
        let expected = (row.blame, (row.retryable, row.sent), row.error);
        assert_eq!(found, expected, "{}", row.code);
        assert_eq!(
            problem.connection.as_deref(),
            row.connection,
            "{}",
            row.code
        );
        for (_, part) in DETAILS.iter().filter(|(code, _)| *code == row.code) {
            assert!(problem.detail.contains(part), "{}", problem.detail);
        }
        let numbers = NUMBERS.iter().find(|(code, _)| *code == row.code);
        let expected = numbers.map(|(_, numbers)| *numbers).unwrap_or_default();
        let found =
            ["limit", "actual", "timeout_seconds"].map(|name| problem.document[name].as_u64());
        assert_eq!(found, expected, "{}", row.code);
        let again = reply.fields.single_value("retry-after");
        assert_eq!(
            again.is_some(),
            row.status == 503,
            "{}: {again:?}",
            row.code
        );
        let allow = reply.fields.single_value("allow");
        assert_eq!(
            allow.is_some(),
            row.status == 405,
            "{}: {allow:?}",
            row.code
        );
    }
    // One request's head reached the upstream before its body stalled. No other request did.
    assert!(
        world
            .up
            .requests()
            .iter()
            .all(|arrived| !arrived.body.whole)
    );
}

#[test]
fn the_failed_step_towards_the_upstream_is_named() {
    let world = world();
    for (target, cause) in [
        ("/nameless/x", "dns"),
        ("/closed/x", "connect"),
        ("/untrusted/x", "tls"),
        ("/plaintext/x", "tls"),
    ] {
        let problem = Agent::connect(&world.sidecar)
            .get(target)
            .refused(502, "upstream_unreachable");
        assert_eq!(problem.document["cause"], cause, "{target}");
        let is_untrusted = target == "/untrusted/x";
        let advice = "Retrying does not help; the operator can run `egressd probe <id>`.";
        assert_eq!(problem.detail.ends_with(advice), is_untrusted, "{target}");
        // F-201
        assert!(
            !problem.document.to_string().contains("127.0.0.1"),
            "{}",
            problem.document
        );
    }
}

#[test]
fn a_sent_request_may_be_repeated_only_if_its_method_is_idempotent() {
    let world = world();
    let body = "Content-Length: 2\r\n\r\nab";
    for (target, status, code) in [
        ("/slow/x", 504, "upstream_timeout"),
        ("/bad/garbage", 502, "upstream_protocol_error"),
    ] {
        for (method, rest, is_safe) in [
            ("GET", "\r\n", true),
            ("HEAD", "\r\n", true),
            ("DELETE", "\r\n", true),
            ("PUT", body, true),
            ("POST", body, false),
            ("PATCH", body, false),
        ] {
            let before = world.hostile.requests().len();
            let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{rest}");
            let mut agent = Agent::connect(&world.sidecar);
            agent.send(request);
            if method == "HEAD" {
                let advice = agent.head_reply().fields.single_value("x-should-retry");
                assert_eq!(advice, None, "{target}");
                continue;
            }
            let problem = agent.reply().refused(status, code);
            assert_eq!(
                (problem.retryable, problem.sent),
                (is_safe, true),
                "{method} {target}"
            );
            let warning = "The API may have processed the request: check before repeating it.";
            assert_eq!(
                problem.detail.ends_with(warning),
                !is_safe,
                "{method} {target}"
            );
            assert_eq!(
                world.hostile.requests().len(),
                before + 1,
                "{method} {target}"
            );
        }
    }
    // Nothing was sent, so any method may be repeated.
    let request = format!("POST /closed/x HTTP/1.1\r\nHost: localhost\r\n{body}");
    let reply = Agent::connect(&world.sidecar).exchange(request);
    let problem = reply.refused(502, "upstream_unreachable");
    assert_eq!((problem.retryable, problem.sent), (true, false));
}

#[test]
fn a_refusal_has_the_json_type_that_the_agent_accepts() {
    let world = world();
    for (accept, content_type) in [
        ("application/json", "application/json"),
        ("application/vnd.github+json", "application/json"),
        ("application/json, */*;q=0", "application/json"),
        (
            "application/json, text/plain, */*",
            "application/problem+json",
        ),
        (
            "application/json, application/problem+json",
            "application/problem+json",
        ),
        ("application/*", "application/problem+json"),
        ("text/html", "application/problem+json"),
        ("application/json;q=0", "application/problem+json"),
    ] {
        let request =
            format!("GET /crm/other HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        let reply = Agent::connect(&world.sidecar).exchange(request);
        reply.refused(403, "route_not_allowed");
        let found = reply.fields.single_value("content-type");
        assert_eq!(found.as_deref(), Some(content_type), "{accept}");
        assert_eq!(reply.reason, "Forbidden (egressd: route_not_allowed)");
    }
    assert!(world.up.requests().is_empty());
}

#[test]
fn similar_names_are_suggested() {
    let world = world();
    let missing = (404, "connection_not_found");
    let denied = (403, "route_not_allowed");
    for (target, (status, code), part, nearest) in [
        (
            "/Crm/ok",
            missing,
            "; did you mean `crm`? `GET /`",
            Some("crm"),
        ),
        (
            "/untrustd/x",
            missing,
            "did you mean `untrusted`?",
            Some("untrusted"),
        ),
        // A disabled connection is not suggested.
        ("/of/x", missing, "first path segment. `GET /`", None),
        (
            "/crm/okk",
            denied,
            "similar pattern is `GET /ok`.",
            Some("GET /ok"),
        ),
        // The pattern does not allow the method.
        ("/crm/upp", denied, "exact and case-sensitive.", None),
        ("/crm/dir", denied, "add the slash", Some("GET /dir/")),
        (
            "/crm/up",
            (405, "method_not_allowed"),
            "with POST only.",
            Some("POST /up"),
        ),
    ] {
        let reply = Agent::connect(&world.sidecar).get(target);
        let problem = reply.refused(status, code);
        assert!(
            problem.detail.contains(part),
            "{target}: {}",
            problem.detail
        );
        assert_eq!(problem.document["nearest"].as_str(), nearest, "{target}");
    }
}

#[test]
fn the_table_covers_every_code() {
    let here = ROWS.iter().map(|row| row.code);
    let covered: BTreeSet<&str> = here
        .chain(ELSEWHERE.iter().map(|(code, _)| *code))
        .collect();
    let known: BTreeSet<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(covered, known);
}

#[test]
fn a_refusal_of_one_connection_leaves_the_socket_to_the_others() {
    let world = world();
    let mut agent = Agent::connect(&world.sidecar);
    for target in [
        "/nope/x",
        "/crm/other",
        "/off/x",
        "/closed/x",
        "/bad/garbage",
        "/crm/../ok",
        "/inside/x",
    ] {
        agent.get(target).problem();
        agent.get("/crm/ok").expect_status(200);
    }
}
