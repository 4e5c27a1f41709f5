//! The `explain` command: the same answers as the proxy, without a socket and without secrets.

mod arguments;
mod listeners;

use egressd::cli::Exit;
use serde_json::{Value, json};

use super::world::{Ran, World};
use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, TokenEndpoint, Upstream, connection};

const DEFINITION: &str = r#"
name: connections/crm
connection_details:
  http:
    base_url: https://api.example.com/base
    allowed_routes: ["GET /users/{id}", "POST /users/"]
    headers: {X-Tenant: acme-canary}
    bearer_token: {token: {env: TOKEN}}
"#;

/// Like the other, but without a secret that responses are searched for.
const UNSEARCHED: &str = r#"
name: connections/unsearched
connection_details:
  http:
    base_url: https://api.example.com
    allowed_routes: ["GET /"]
    headers: {Accept-Encoding: gzip}
    allow_agent_headers: [X-Vault-Token]
    reflection_guard: false
    bearer_token: {token: {env: TOKEN}}
"#;

/// A method and target, the expected result, and the expected text.
const ROWS: &[(&str, Exit, &str)] = &[
    (
        "GET /crm/users/1?q",
        Exit::Success,
        "GET https://api.example.com/base/users/1?q",
    ),
    (
        "HEAD /crm/users/1",
        Exit::Success,
        "pattern     GET /users/{id}",
    ),
    // F-108
    (
        "GET http://127.0.0.1:8080/crm/users/1",
        Exit::Success,
        "  added       host, x-tenant, user-agent, x-request-id, x-egressd-request-id, accept-encoding, authorization\n",
    ),
    (
        "GET /unsearched/",
        Exit::Success,
        "  added       host, accept-encoding, user-agent, x-request-id, x-egressd-request-id, authorization\n",
    ),
    ("GET /", Exit::Success, "list of connections"),
    (
        "GET http://localhost:8080",
        Exit::Success,
        "list of connections",
    ),
    (
        "GET http://localhost?x",
        Exit::Success,
        "list of connections",
    ),
    ("GET ?x", Exit::Usage, ""),
    ("POST /", Exit::Failure, "404 connection_not_found"),
    ("GET /crm", Exit::Failure, "403 route_not_allowed"),
    (
        "GET /crm/other",
        Exit::Failure,
        "  allowed routes:\n    GET /users/{id}\n    POST /users/\n",
    ),
    (
        "PUT /crm/users/1",
        Exit::Failure,
        "allowed methods: GET, HEAD, POST",
    ),
    (
        "get /crm/users/1",
        Exit::Failure,
        "Methods are case-sensitive: write `GET`.",
    ),
    ("GET /nope/a%2Fb", Exit::Failure, "404 connection_not_found"),
    (
        "GET /crm/users/a%2F",
        Exit::Failure,
        "400 path_not_canonical",
    ),
    ("GET /nope/../x", Exit::Failure, "400 path_not_canonical"),
    (
        "GET http://evil.example/crm/users/1",
        Exit::Failure,
        "421 host_not_allowed",
    ),
    (
        "GET https://evil.example/crm/users/1",
        Exit::Failure,
        "400 forward_proxy_refused",
    ),
    (
        "CONNECT evil.example:443",
        Exit::Failure,
        "405 connect_refused",
    ),
    ("OPTIONS *", Exit::Failure, "400 malformed_request"),
    // hyper's parser refuses this one, with an empty body.
    (
        "GET /crm/users/a<b?c",
        Exit::Failure,
        "400 path_not_canonical",
    ),
    // An unknown id, a misspelt id and a misspelt path.
    (
        "GET /erp/users/1",
        Exit::Failure,
        "No connection has the id in the first path segment. `GET /`",
    ),
    ("GET /crmm/users/1", Exit::Failure, "did you mean `crm`?"),
    (
        "GET /crm/user/1",
        Exit::Failure,
        "The most similar pattern is `GET /users/{id}`.",
    ),
    // egressd serves plain HTTP.
    ("GET https://127.0.0.1:8080/crm/users/1", Exit::Usage, ""),
    ("GET https://localhost/crm/users/1", Exit::Usage, ""),
    ("G(T /crm/users/1", Exit::Usage, ""),
    ("GET crm/users/1", Exit::Usage, ""),
    ("GET crm", Exit::Usage, ""),
    ("GET crm:443", Exit::Usage, ""),
    ("GET /crm/users/1?a b", Exit::Usage, ""),
    ("GET ", Exit::Usage, ""),
    ("GET #a", Exit::Usage, ""),
];

#[test]
fn explain_gives_the_answer_of_the_proxy() {
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml, unsearched.yaml]")
        .file("crm.yaml", DEFINITION)
        .file("unsearched.yaml", UNSEARCHED)
        .variable("TOKEN", "token-canary-0123456789");
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    let long = format!("/crm/users/{}", "a".repeat(9000));
    let explained = |method: &str, target: &str| {
        let ran = world.run(&["explain", "--config", config, method, target]);
        let all = format!("{}{}", ran.out, ran.err);
        assert!(!all.contains("canary"), "{all}");
        ran
    };
    for (request, exit, says) in ROWS.iter().copied() {
        let (method, target) = request.split_once(' ').unwrap();
        let ran = explained(method, target);
        assert_eq!(ran.exit, exit, "{request}: {} {}", ran.out, ran.err);
        assert!(ran.out.contains(says), "{request}: {}", ran.out);
    }
    // A request without headers has none to drop.
    let ran = explained("GET", "/crm/users/1");
    assert_eq!(ran.out.lines().count(), 6, "{}", ran.out);
    let last = "  unchecked   body size, limits, name, address, TLS, token, response\n";
    assert!(ran.out.ends_with(last), "{}", ran.out);
    let ran = explained("GET", "/crm/users/1?q=\"a\"&<b>");
    assert!(ran.out.contains("/users/1?q=\"a\"&<b>"), "{}", ran.out);
    let ran = explained("GET", "/crm/users/1?caf\u{e9}");
    assert!(ran.out.contains("400 malformed_request"), "{}", ran.out);
    let ran = explained("GET", &long);
    assert!(ran.out.contains("414 target_too_long"), "{}", ran.out);
}

/// A connection, the headers of the request, and the names of those that are added, passed and
/// dropped.
type HeaderRow = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

const HEADER_ROWS: &[HeaderRow] = &[
    (
        "crm",
        &[
            "Accept: text/csv",
            "Authorization: Bearer mine",
            "X-Vault-Token: v",
        ],
        "host x-tenant user-agent x-request-id x-egressd-request-id accept-encoding authorization",
        "accept",
        "authorization x-vault-token",
    ),
    // F-241
    (
        "unsearched",
        &["X-Vault-Token: v", "User-Agent: mine", "X-API-Key: k"],
        "host accept-encoding x-request-id x-egressd-request-id authorization",
        "x-vault-token user-agent",
        "x-api-key",
    ),
    // The result does not reveal whether a value is the configured one.
    (
        "crm",
        &["X-Tenant: acme", "Accept: a/b"],
        "host x-tenant user-agent x-request-id x-egressd-request-id accept-encoding authorization",
        "accept",
        "x-tenant",
    ),
    // The agent's own request id is kept if it is harmless.
    (
        "crm",
        &[
            "X-Request-Id: mine",
            "x_tenant: mine",
            "Connection: x-hop",
            "X-Hop: 1",
        ],
        "host x-tenant user-agent x-egressd-request-id accept-encoding authorization",
        "x-request-id",
        "x_tenant connection x-hop",
    ),
    (
        "crm",
        &[
            "X-Request-Id: not harmless",
            "Accept:a/b;charset=x",
            "Accept-Encoding: br",
        ],
        "host x-tenant user-agent x-request-id x-egressd-request-id accept-encoding authorization",
        "accept",
        "x-request-id accept-encoding",
    ),
];

fn explain_json(world: &World, target: &str, headers: &[&str]) -> (Exit, Value) {
    explain_json_with_method(world, "GET", target, headers)
}

fn explain_json_with_method(
    world: &World,
    method: &str,
    target: &str,
    headers: &[&str],
) -> (Exit, Value) {
    let config = world.path("egressd.yaml");
    let fixed = ["explain", "--format", "json", method, target, "--config"];
    let mut arguments = fixed.to_vec();
    arguments.push(config.to_str().unwrap());
    for header in headers {
        arguments.extend(["-H", header]);
    }
    let Ran { exit, out, err } = world.run(&arguments);
    let json = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{target}: {out}{err}"));
    (exit, json)
}

fn names(list: &Value) -> Vec<&str> {
    let names = list.as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn headers_of_the_request_pass_or_are_dropped() {
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml, unsearched.yaml]")
        .file("crm.yaml", DEFINITION)
        .file("unsearched.yaml", UNSEARCHED)
        .variable("TOKEN", "token-canary-0123456789");
    for (id, headers, added, passed, dropped) in HEADER_ROWS.iter().copied() {
        let path = if id == "crm" { "users/1" } else { "" };
        let (exit, explained) = explain_json(&world, &format!("/{id}/{path}"), headers);
        assert_eq!(exit, Exit::Success, "{explained}");
        assert_eq!(names(&explained["added"]).join(" "), added, "{headers:?}");
        let mut both = [&explained["passed"], &explained["dropped"]].map(names);
        both.iter_mut().for_each(|names| names.sort_unstable());
        let mut expected = [passed, dropped].map(|names| names.split(' ').collect::<Vec<_>>());
        expected.iter_mut().for_each(|names| names.sort_unstable());
        assert_eq!(both, expected, "{headers:?}");
        assert!(!explained.to_string().contains("canary"), "{explained}");
    }
    // The text has the same names, and no value.
    let config = world.path("egressd.yaml");
    let fixed = [
        "explain",
        "--config",
        config.to_str().unwrap(),
        "GET",
        "/crm/users/1",
    ];
    let headers = ["-H", "Accept: canary", "--header", "Cookie: canary"];
    let ran = world.run(&[&fixed[..], &headers].concat());
    let names = "  passed      accept\n  dropped     cookie\n";
    assert!(ran.out.contains(names), "{}{}", ran.out, ran.err);
    // The explained request has no body, and no more header fields than hyper accepts.
    for headers in [
        &["-H", "Content-Length: 5"][..],
        &["-H", "A: b"].repeat(101),
    ] {
        let ran = world.run(&[&fixed[..], headers].concat());
        assert_eq!(ran.exit, Exit::Usage, "{}{}", ran.out, ran.err);
    }
    // A header of the request can be the reason why it is refused.
    for (header, code) in [
        ("Origin: https://evil.example", "browser_request_refused"),
        ("Host: evil.example", "host_not_allowed"),
        ("Transfer-Encoding: gzip, chunked", "malformed_request"),
    ] {
        let (exit, explained) = explain_json(&world, "/crm/users/1", &[header]);
        assert_eq!((exit, &explained["code"]), (Exit::Failure, &json!(code)));
    }
}

#[test]
fn json_has_the_content_of_the_text() {
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", DEFINITION)
        .variable("TOKEN", "token-canary-0123456789");
    let (exit, explained) = explain_json(&world, "/crm/users/1?q", &[]);
    let expected = json!({
        "result": "forwarded",
        "connection": "crm",
        "pattern": "GET /users/{id}",
        "method": "GET",
        "upstream_url": "https://api.example.com/base/users/1?q",
        "passed": [],
        "added": ["host", "x-tenant", "user-agent", "x-request-id", "x-egressd-request-id", "accept-encoding", "authorization"],
        "added_to_body": [],
        "dropped": [],
    });
    assert_eq!((exit, explained), (Exit::Success, expected));
    let (exit, explained) = explain_json(&world, "/", &[]);
    assert_eq!(
        (exit, explained),
        (Exit::Success, json!({"result": "listing"}))
    );
    let (exit, explained) = explain_json(&world, "/crm/users/", &[]);
    let detail = "The path is allowed with POST only. Patterns are relative to `/crm`.";
    let expected = json!({
        "result": "refused",
        "type": "urn:egressd:refusal:method_not_allowed",
        "title": "The method is not allowed",
        "status": 405,
        "detail": detail,
        "code": "method_not_allowed",
        "connection": "crm",
        "blame": "agent",
        "retryable": false,
        "sent": false,
        "nearest": "POST /users/",
        "message": detail,
        "error": {"message": detail, "type": "egressd_refusal", "code": "method_not_allowed"},
        "allowed_methods": "POST",
        "allowed_routes": ["GET /users/{id}", "POST /users/"],
    });
    assert_eq!((exit, explained), (Exit::Failure, expected));
    let (_, explained) = explain_json(&world, "/nope/", &[]);
    assert_eq!(explained["connection"], Value::Null);
}

/// The header fields of a request that each connection receives: as explained, and as served.
const SENT: &[&str] = &[
    "Accept: text/plain;charset=utf-16",
    "Accept-Encoding: br",
    "Authorization: Bearer mine",
    "Connection: x-hop",
    "Cookie: a=b",
    "X-Forwarded-For: 203.0.113.1",
    "X-Hop: 1",
    "X-Request-Id: mine",
    "X-Tenant: acme",
    "X-Vault-Token: v",
    "X-Weather: fine",
];

#[test]
fn the_explained_headers_are_the_ones_that_arrive() {
    let up = Upstream::body("fine");
    let endpoint = TokenEndpoint::with_new_tokens(600);
    let open = |id: &str| {
        connection(id)
            .allow("/")
            .upstream(&up)
            .header("X-Tenant", "acme")
    };
    let basic = json!({"username": "Aladdin", "password": "open sesame, please"});
    let connections: Vec<Connection> = vec![
        open("bearer").bearer("token-0123456789"),
        open("oauth").oauth(&endpoint),
        open("basic").auth("basic_auth", basic),
        open("static").static_header("X-API-Key", "key-0123456789abcdef"),
        open("open").http("allow_agent_headers", json!(["X-Vault-Token"])),
        open("cookies")
            .bearer("token-9876543210")
            .http("allow_cookies", json!(true))
            .http("reflection_guard", json!(false))
            .header("User-Agent", "acme/1"),
    ];
    let mut world = World::new();
    let mut plan = Sidecar::with(open("other"));
    for connection in &connections {
        let definition = connection.definition();
        let id = definition["name"]
            .as_str()
            .unwrap()
            .replace("connections/", "");
        world = world.file(&format!("connections/{id}.json"), definition.to_string());
        plan = plan.with_connection(connection.clone());
    }
    let world = world.file("egressd.yaml", "connections: [connections]");
    let sidecar = plan.start();
    for id in ["bearer", "oauth", "basic", "static", "open", "cookies"] {
        for (method, headers) in [("GET", &[][..]), ("GET", SENT), ("POST", SENT)] {
            let (exit, explained) =
                explain_json_with_method(&world, method, &format!("/{id}/x"), headers);
            assert_eq!(exit, Exit::Success, "{explained}");
            let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            let request = format!("{method} /{id}/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
            let before = up.requests().len();
            Agent::connect(&sidecar)
                .exchange(request)
                .expect_status(200);
            let arrived = up.requests().split_off(before).remove(0).fields;
            let mut arrived = arrived.names();
            arrived.sort_unstable();
            let mut told = [names(&explained["added"]), names(&explained["passed"])].concat();
            told.sort_unstable();
            assert_eq!(arrived, told, "{id} {method} {headers:?}");
        }
    }
}

#[test]
fn the_limits_of_a_head_are_those_of_the_proxy() {
    let up = Upstream::body("fine");
    let crm = connection("crm").allow("/").upstream(&up);
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.json]")
        .file("crm.json", crm.definition().to_string());
    let sidecar = Sidecar::with(crm).start();
    let serve = |target: &str, headers: &[&str]| {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        Agent::connect(&sidecar).exchange(request).status
    };
    let long_query = format!("/crm/?{}", "a".repeat(70_000));
    let long_name = format!("{}: b", "a".repeat(70_000));
    let headers = ["A: b"; 101];
    // The implied Host is one more header.
    assert_eq!(serve("/crm/", &headers[..99]), 200);
    let (exit, explained) = explain_json(&world, "/crm/", &headers[..99]);
    assert_eq!(exit, Exit::Success, "{explained}");
    let own_host = [&["Host: localhost"], &headers[..99]].concat();
    let (exit, explained) = explain_json(&world, "/crm/", &own_host);
    assert_eq!(exit, Exit::Success, "{explained}");
    for headers in [&headers[..100], &headers[..], &[long_name.as_str()]] {
        assert_eq!(serve("/crm/", headers), 431);
        let (exit, explained) = explain_json(&world, "/crm/", headers);
        let message = explained["message"].as_str().unwrap();
        assert!(
            exit == Exit::Usage && message.contains("431"),
            "{explained}"
        );
    }
    // hyper answers 431 if it has read 64 KiB and not yet the end of the head.
    assert!(matches!(serve(&long_query, &[]), 414 | 431));
    let (exit, explained) = explain_json(&world, &long_query, &[]);
    assert_eq!(
        (exit, &explained["code"]),
        (Exit::Failure, &json!("target_too_long"))
    );
}

#[test]
fn definitions_are_given_as_arguments() {
    // F-260
    let world = World::new()
        .file("egressd.yaml", "connections: [listed.yaml]")
        .file("listed.yaml", DEFINITION.replace("crm", "listed"))
        .file("given/crm.yaml", DEFINITION)
        .variable("TOKEN", "token-canary-0123456789");
    let [config, given] = ["egressd.yaml", "given"].map(|name| world.path(name));
    let config = ["--config", config.to_str().unwrap()];
    let given = given.to_str().unwrap();
    for (target, exit) in [
        ("/crm/users/1", Exit::Success),
        ("/listed/users/1", Exit::Failure),
    ] {
        let ran = world.run(&[&["explain", "GET", target, given][..], &config].concat());
        assert_eq!(ran.exit, exit, "{target}: {}{}", ran.out, ran.err);
        // The same without a settings file.
        let ran = world.run(&["explain", "GET", target, given]);
        assert_eq!(ran.exit, exit, "{target}: {}{}", ran.out, ran.err);
    }
    let ran = world.run(&[&["probe", "listed", given][..], &config].concat());
    assert_eq!(ran.exit, Exit::Failure, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("no connection `listed`"), "{}", ran.err);
}

#[test]
fn explain_names_the_signature() {
    let signed = format!("{DEFINITION}    webhook_signing_secret: {{env: KEY}}\n");
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", &signed)
        .variable("TOKEN", "token-canary")
        .variable("KEY", "signing-key-canary");
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    for (method, target) in [("POST", "/crm/users/"), ("GET", "/crm/users/1")] {
        let ran = world.run(&["explain", "--config", config, method, target]);
        let added = "authorization, x-webhook-signature (if there is a body)\n";
        assert!(ran.out.contains(added), "{}{}", ran.out, ran.err);
        assert!(!ran.out.contains("canary"), "{}", ran.out);
    }
}
