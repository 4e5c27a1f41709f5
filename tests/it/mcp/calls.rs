//! Calls: the request that the upstream receives, and the result.

use std::io::{BufRead as _, BufReader};

use egressd::telemetry::{AccessFilter, AccessLog, LineFormat, Logs, ProblemLog};
use serde_json::{Value, json};

use super::client::{ACCEPT, Client, JSON, OLDER, post, texts};
use crate::support::message::text;
use crate::support::metrics::scrape_until_contains;
use crate::support::{Gate, Sidecar, Upstream, connection};

/// Starts a sidecar with the routes of these tests.
fn sidecar(up: &Upstream) -> Sidecar {
    plan(up).start()
}

fn plan(up: &Upstream) -> crate::support::sidecar::Plan {
    let crm = connection("crm")
        .allow("GET /users/{id}")
        .allow("POST /users")
        .allow("GET /files/{path...}")
        .allow("/any")
        .upstream_at(up, "/base")
        .header("X-Injected", "planted");
    Sidecar::with(crm)
}

/// Calls the tool of `GET /users/{id}` with the newest revision.
fn call_user(sidecar: &Sidecar) -> Value {
    Client::connect(sidecar).call("crm_get_users_id", &json!({"id": "1"}))
}

fn summary(result: &Value) -> &str {
    texts(result).last().copied().unwrap_or_default()
}

#[test]
fn arguments_become_the_request() {
    let up = Upstream::echo();
    let sidecar = sidecar(&up);
    let mut client = Client::connect(&sidecar);
    let query = json!({"a b": "1&2", "list": ["x", "y"]});
    let result = client.call(
        "crm_get_users_id",
        &json!({"id": "ä/é".replace('/', " "), "query": query}),
    );
    assert_eq!(result["isError"], false);
    let echoed = &result["structuredContent"];
    assert_eq!(echoed["method"], "GET");
    let target = "/base/users/%C3%A4%20%C3%A9?a%20b=1%262&list=x&list=y";
    assert_eq!(echoed["target"], target);
    let account: Value = serde_json::from_str(texts(&result)[0]).unwrap();
    assert_eq!(account, *echoed);
    assert_eq!(
        summary(&result),
        "HTTP 200 OK, content-type: application/json"
    );
    let seen = up.requests();
    let field = |name: &str| seen[0].fields.single_value(name);
    assert_eq!(field("x-injected").as_deref(), Some("planted"));
    assert_eq!(field("x-request-id"), field("x-egressd-request-id"));
    for absent in [
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "content-type",
        "content-length",
    ] {
        assert_eq!(field(absent), None, "{absent}");
    }

    let body = json!({"name": "x", "tags": [1, null]});
    let result = client.call("crm_post_users", &json!({"body": body}));
    let echoed = &result["structuredContent"];
    assert_eq!(
        (&echoed["method"], &echoed["framing"]),
        (&json!("POST"), &json!("length"))
    );
    assert_eq!(echoed["body"], body.to_string());
    let seen = up.requests();
    let content_type = seen[1].fields.single_value("content-type");
    assert_eq!(content_type.as_deref(), Some("application/json"));

    let result = client.call("crm_any_any", &json!({"method": "PATCH", "body": "plain"}));
    let echoed = &result["structuredContent"];
    assert_eq!(
        (&echoed["method"], &echoed["body"]),
        (&json!("PATCH"), &json!("plain"))
    );
    let result = client.call("crm_get_files_path", &json!({"path": "a/b%20c"}));
    assert_eq!(result["structuredContent"]["target"], "/base/files/a/b%20c");
    let mut older = Client::with_revision(&sidecar, OLDER);
    let result = older.call("crm_get_users_id", &json!({"id": "1"}));
    assert_eq!(result["structuredContent"]["target"], "/base/users/1");
}

#[test]
fn arguments_that_do_not_fit_are_not_sent() {
    // F-287
    let up = Upstream::echo();
    let sidecar = sidecar(&up);
    let mut client = Client::connect(&sidecar);
    for (tool, arguments, message) in [
        (
            "crm_get_users_id",
            json!({}),
            "`id` is missing. Nothing was sent.",
        ),
        (
            "crm_get_users_id",
            json!({"id": 1}),
            "`id` must be a string. Nothing was sent.",
        ),
        (
            "crm_get_users_id",
            json!({"id": "a/b"}),
            r"`id` does not match the pattern `^[^/\\\x00-\x1f\x7f]+$`. Nothing was sent.",
        ),
        (
            "crm_post_users",
            json!({"id": "1"}),
            "`id` is not an argument; the arguments are `body`, `query`. Nothing was sent.",
        ),
    ] {
        let result = client.call(tool, &arguments);
        assert_eq!(result["isError"], true);
        assert_eq!(texts(&result), [message]);
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_refusal_is_an_error_of_the_tool() {
    let up = Upstream::echo();
    let sidecar = sidecar(&up);
    let mut client = Client::connect(&sidecar);
    for id in ["..", "."] {
        let result = client.call("crm_get_users_id", &json!({"id": id}));
        assert_eq!(result["isError"], true);
        assert_eq!(result["structuredContent"]["code"], "path_not_canonical");
        let document: Value = serde_json::from_str(texts(&result)[0]).unwrap();
        assert_eq!(document, result["structuredContent"]);
        assert!(
            summary(&result).starts_with("HTTP 400 Bad Request"),
            "{result}"
        );
    }
    let long = "x".repeat(9000);
    let result = client.call("crm_get_users_id", &json!({"id": long}));
    assert_eq!(result["structuredContent"]["code"], "target_too_long");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_failed_request_is_an_error_of_the_tool() {
    let up = Upstream::reply(
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nnope\n",
    );
    let result = call_user(&sidecar(&up));
    assert_eq!(result["isError"], true);
    assert_eq!(
        texts(&result),
        ["nope\n", "HTTP 404 Not Found, content-type: text/plain"]
    );
    let away = connection("crm")
        .allow("GET /users/{id}")
        .base_url("https://does-not-exist.invalid");
    let result = call_user(&Sidecar::with(away).start());
    assert_eq!(result["isError"], true);
    assert_eq!(result["structuredContent"]["code"], "upstream_unreachable");
}

/// Returns the last line of the result of a call whose response has this `Location`.
fn line_with_location(location: &[u8]) -> String {
    let head = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nlocation: ";
    let up = Upstream::reply([head, location, b"\r\n\r\n"].concat());
    let sidecar = sidecar(&up);
    let result = Client::connect(&sidecar).call("crm_post_users", &json!({"body": "x"}));
    assert_eq!(up.only_request().target, "/base/users");
    assert_eq!(result["isError"], false);
    assert_eq!(texts(&result).len(), 1, "{result}");
    let address = up.address().to_string();
    summary(&result).replace(&address, "API")
}

#[test]
fn a_location_is_what_an_agent_with_http_gets() {
    let long = [b"/base/", &*b"x".repeat(8192)].concat();
    for (location, shown) in [
        (
            &b"/base/users/7?full=1"[..],
            ", location: /crm/users/7?full=1",
        ),
        (b"users/7", ", location: /crm/users/7"),
        (b"/erp/x", ", location: https://API/erp/x"),
        (
            b"https://elsewhere.test/x, no body",
            ", location: https://elsewhere.test/x,%20no%20body",
        ),
        (b"/base/\xc3\xa4", ", location: https://API/base/%C3%A4"),
        // No request can have such a long target.
        (&long, ""),
    ] {
        let line = format!("HTTP 201 Created{shown}, no body");
        assert_eq!(line_with_location(location), line);
    }
}

#[test]
fn a_redirect_names_the_next_route() {
    let up = Upstream::answer(|request| {
        if request.target == "/base/users/7" {
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nseven"
                .to_owned()
        } else {
            "HTTP/1.1 303 See Other\r\nlocation: /base/users/7\r\ncontent-length: 0\r\n\r\n"
                .to_owned()
        }
    });
    let sidecar = sidecar(&up);
    let mut client = Client::connect(&sidecar);
    let result = client.call("crm_any_any", &json!({"method": "POST"}));
    let line = "HTTP 303 See Other, location: /crm/users/7, no body";
    assert_eq!(texts(&result), [line]);
    let result = client.call("crm_get_users_id", &json!({"id": "7"}));
    assert_eq!(texts(&result)[0], "seven");
    assert_eq!(up.requests().len(), 2);
}

const PNG: &str = "image/png";
const BINARY: &str = "application/octet-stream";

/// The type and the body of a response, the text that a result has, and the end of its last line.
#[rustfmt::skip] // one row a line
const BODIES: [(&str, &[u8], Option<&str>, &str); 9] = [
    ("application/json", b"[1]", Some("[1]"), ", content-type: application/json"),
    ("text/plain; charset=utf-8", b"\xc3\xa4", Some("\u{e4}"), ", content-type: text/plain"),
    ("text/plain", b"\xe4", Some("\u{fffd}"), ", content-type: text/plain"),
    (BINARY, b"\xe4\0", None, ", content-type: application/octet-stream, 2 bytes, not shown because this is not text"),
    (BINARY, b"text", Some("text"), ", content-type: application/octet-stream"),
    ("image/svg+xml", b"<svg/>", Some("<svg/>"), ", content-type: image/svg+xml"),
    (PNG, b"\x89PNG", None, ", content-type: image/png"),
    (PNG, b"", None, ", content-type: image/png, no body"),
    ("a\u{e9}/<b>", b"x", Some("x"), ""),
];

fn upstream_with(content_type: &str, body: &[u8]) -> Upstream {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    Upstream::reply([head.as_bytes(), body].concat())
}

#[test]
fn bodies_are_shown_by_their_type() {
    for (content_type, body, shown, line) in BODIES {
        let up = upstream_with(content_type, body);
        let result = call_user(&sidecar(&up));
        let line = format!("HTTP 200 OK{line}");
        let expected: Vec<&str> = shown.into_iter().chain([line.as_str()]).collect();
        assert_eq!(texts(&result), expected, "{content_type}");
        if content_type == PNG && !body.is_empty() {
            let image = json!({"type": "image", "data": "iVBORw==", "mimeType": PNG});
            assert_eq!(result["content"][0], image);
        }
    }
}

#[test]
fn older_revisions_get_objects_as_structured_content_only() {
    for (body, is_kept) in [("[1]", false), ("{}", true)] {
        let up = upstream_with("application/json", body.as_bytes());
        let sidecar = sidecar(&up);
        let id = json!({"id": "1"});
        let newest = Client::connect(&sidecar).call("crm_get_users_id", &id);
        let value: Value = serde_json::from_str(body).unwrap();
        assert_eq!(newest["structuredContent"], value);
        let older = Client::with_revision(&sidecar, OLDER).call("crm_get_users_id", &id);
        assert_eq!(older["structuredContent"] == value, is_kept, "{older}");
    }
}

#[test]
fn a_long_body_is_cut_and_the_upstream_is_not_read_further() {
    let up = Upstream::script(|wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9000000\r\n\r\n");
        wire.send("a".repeat(1023) + &"ä".repeat(600));
        // Ends when egressd closes the socket.
        while wire.send("b".repeat(10_000)) {}
    });
    let sidecar = plan(&up).setting("mcp.max_result_bytes", 1024).start();
    let result = call_user(&sidecar);
    let line = "HTTP 200 OK, content-type: text/plain, 9000000 bytes, of which only the first 1024 are shown (the operator's setting `mcp.max_result_bytes`)";
    assert_eq!(texts(&result), [&"a".repeat(1023), line]);
    assert_eq!(result["isError"], false);
    up.wait_closed(1);
}

#[test]
fn a_response_with_a_credential_is_refused() {
    let up = Upstream::answer(|request| {
        let token = request.fields.single_value("authorization").unwrap();
        let length = token.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{token}")
    });
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let sidecar = Sidecar::with(crm.bearer("planted-bearer-token-0123456789abcdef")).start();
    let result = Client::connect(&sidecar).call("crm_get_a", &json!({}));
    assert_eq!(result["structuredContent"]["code"], "credential_reflected");
    let sent = up.only_request().fields.single_value("authorization");
    assert!(sent.unwrap().starts_with("Bearer planted-bearer"));
    assert!(!result.to_string().contains("planted-bearer"), "{result}");
}

#[test]
fn a_body_that_breaks_off_is_an_error_with_its_beginning() {
    let up = Upstream::reply_then_close(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf",
    );
    let result = call_user(&sidecar(&up));
    assert_eq!(result["isError"], true);
    assert_eq!(texts(&result)[0], "half");
    let start = "HTTP 200 OK, content-type: text/plain. The response is incomplete: ";
    assert!(summary(&result).starts_with(start), "{result}");
}

#[test]
fn the_timeout_of_the_connection_applies() {
    let gate = Gate::new();
    let held = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        held.wait();
    });
    let _opened = gate.open_on_drop();
    let slow = connection("crm")
        .allow("GET /a")
        .upstream(&up)
        .http("timeout_seconds", json!(1));
    let sidecar = Sidecar::with(slow).start();
    let mut client = Client::connect(&sidecar);
    let result = client.call("crm_get_a", &json!({}));
    assert_eq!(result["structuredContent"]["code"], "upstream_timeout");
    // The deadline was that of the call, and not of the socket.
    assert_eq!(client.tool_names().0, ["crm_get_a"]);
}

#[test]
fn a_call_ends_when_the_agent_leaves() {
    let gate = Gate::new();
    let held = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        held.wait();
    });
    let _opened = gate.open_on_drop();
    let sidecar = sidecar(&up);
    let mut client = Client::connect(&sidecar);
    client.send(
        "tools/call",
        json!({"name": "crm_get_users_id", "arguments": {"id": "1"}}),
    );
    up.wait_requests(1);
    drop(client);
    scrape_until_contains(sidecar.management(), "egressd_in_flight_requests 0");
}

#[test]
fn one_request_in_flight_is_one_call() {
    let up = Upstream::echo();
    let sidecar = plan(&up).setting("proxy.max_in_flight", 1).start();
    let result = call_user(&sidecar);
    assert_eq!(result["isError"], false, "{result}");
}

#[test]
fn a_call_has_the_metrics_and_the_line_of_its_request() {
    let up = Upstream::echo();
    let (reader, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::off();
    let format = LineFormat::Json;
    let access = AccessLog::start(AccessFilter::All, format, out, problems.clone()).unwrap();
    let sidecar = plan(&up).start_logging(Logs { access, problems });
    let mut client = Client::connect(&sidecar);
    client.call("crm_post_users", &json!({"body": "hello"}));
    client.result("tools/list", json!({}));
    let reply = client.agent.exchange(post(&[ACCEPT, JSON], "{"));
    reply.expect_status(400);
    scrape_until_contains(
        sidecar.management(),
        r#"egressd_requests_total{connection="crm""#,
    );
    drop((client, sidecar));
    let lines: Vec<Value> = BufReader::new(reader)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let facts: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            let keys = ["connection", "route", "via", "method", "path", "outcome"];
            (
                keys.map(text).join(" "),
                line["status"].as_u64(),
                line["request_bytes"].as_u64(),
            )
        })
        .collect();
    let (call, list, bad) = (&facts[0], &facts[1], &facts[2]);
    assert_eq!(call.0, "crm POST /users mcp POST /crm/users forwarded");
    assert_eq!((call.1, call.2), (Some(200), Some(5)));
    assert_eq!(list.0, "- - - POST /mcp forwarded");
    assert_eq!(list.1, Some(200));
    assert_eq!((bad.1, bad.2), (Some(400), Some(1)));
    assert_eq!(facts.len(), 3);
    assert_eq!(text(&up.requests()[0].body.bytes), "hello");
}
