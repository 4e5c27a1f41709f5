//! A secret is planted in every place that takes one; then all that egressd says and answers is
//! searched for them.

pub(crate) mod encodings;
mod world;

use encodings::{assert_clean, shapes};
use world::{CANARIES, World};

use serde_json::{Value, json};

use crate::support::Agent;
use crate::support::message::text;

const IDS: [&str; 5] = ["bearer", "basic", "static", "oauth", "broken"];

/// What is asked of the proxy: good, refused in every way that names something, malformed.
const ASKED: &[&str] = &[
    "GET /{id}/none/body HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /{id}/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "POST /{id}/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /{id}/not/a/route HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "DELETE /{id}/echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /{id}/../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /{id} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /{id}/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
    "GET /{id}/none/body HTTP/1.1\r\nHost: attacker.example\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/markdown\r\n\r\n",
    "GET http://{id}/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /{id}/none/body HTTP/1.1\r\n\r\n",
    "not HTTP at all\r\n\r\n",
];

const OPERATORS: [&str; 15] = [
    "/",
    "/livez",
    "/readyz",
    "/readyz?verbose",
    "/metrics",
    "/v1/connections",
    "/v1/connections?show_deleted=true",
    "/v1/connections/bearer",
    "/v1/connections/basic",
    "/v1/connections/static",
    "/v1/connections/oauth",
    "/v1/connections/broken",
    "/v1/connection-types",
    "/v1/connectors",
    "/openapi.json",
];

#[test]
fn nothing_that_serves_says_a_secret() {
    let world = World::new();
    for format in ["json", "text"] {
        let serving = world.serve(format);
        for id in IDS {
            for asked in ASKED {
                let asked = asked.replace("{id}", id);
                let answered = ask(serving.proxy, &asked);
                assert_clean(CANARIES, &format!("the answer to {asked:?}"), &answered);
            }
        }
        let answered = ask_every_tool(serving.proxy, "none");
        assert_clean(CANARIES, "the answers to MCP messages", &answered);
        let answered = text(&answered);
        assert!(answered.contains(r#""isError":false"#), "{answered}");
        for path in OPERATORS {
            for login in ["", &world::login()] {
                let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{login}\r\n");
                let answered = ask(serving.management, &asked);
                assert_clean(CANARIES, &format!("the answer to {path}"), &answered);
                let is_answered = answered.starts_with(b"HTTP/1.1 200 ");
                let is_owed = path.starts_with("/v1/") && !login.is_empty();
                assert!(is_answered || !is_owed, "{path}: {}", text(&answered));
            }
        }
        let (out, err) = serving.end();
        if format == "json" {
            assert_access_lines(&text(&out));
        }
        assert_clean(CANARIES, "standard output", &out);
        assert_clean(CANARIES, "standard error", &err);
    }
    let arrived = world.upstream.requests();
    assert!(
        arrived.iter().any(|r| r.target == "/oauth/echo"),
        "OAuth was never used"
    );
    assert!(arrived.iter().any(|r| r.target == "/token/refused"));
}

/// What an access line says of a token is its age.
fn assert_access_lines(lines: &str) {
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let forwarded: Vec<Value> = lines
        .filter(|line: &Value| line["outcome"] == "forwarded")
        .collect();
    for id in ["oauth", "bearer"] {
        let mut of_id = forwarded.iter().filter(|line| line["connection"] == id);
        let line = of_id.next().unwrap_or_else(|| panic!("no line of {id}"));
        assert_eq!(line["token_age_s"].is_u64(), id == "oauth", "{line}");
    }
}

/// F-132
#[test]
fn an_upstream_that_tells_is_not_passed_on() {
    let world = World::new();
    let serving = world.serve("json");
    for id in ["bearer", "basic", "static", "oauth"] {
        for (at, (name, _)) in shapes(CANARIES[0].secret).iter().enumerate() {
            // A hexadecimal secret is not searched for.
            if name.starts_with("hex") {
                continue;
            }
            for place in ["header", "body"] {
                let asked = format!("GET /{id}/{at}/{place} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                let answered = ask(serving.proxy, &asked);
                assert!(
                    text(&answered).contains("x-egressd-error: credential_reflected"),
                    "{id}, {name}, {place}: {}",
                    text(&answered)
                );
                assert_clean(CANARIES, &format!("{id}, {name}, {place}"), &answered);
            }
        }
    }
    for (at, (name, _)) in shapes(CANARIES[0].secret).iter().enumerate() {
        let answered = ask_every_tool(serving.proxy, &at.to_string());
        // A hexadecimal secret is not searched for.
        if !name.starts_with("hex") {
            assert!(text(&answered).contains("credential_reflected"), "{name}");
            assert_clean(CANARIES, &format!("MCP, {name}"), &answered);
        }
    }
    let (out, err) = serving.end();
    assert_clean(CANARIES, "standard output", &out);
    assert_clean(CANARIES, "standard error", &err);
}

#[test]
fn no_command_says_a_secret() {
    let world = World::new();
    let mut runs: Vec<(Vec<&str>, Option<i32>)> = vec![
        (vec!["check", "--config", "settings.json"], Some(0)),
        (
            vec!["check", "--config", "settings.json", "--format", "json"],
            Some(0),
        ),
        (vec!["schema"], Some(0)),
    ];
    for id in IDS {
        runs.push((
            vec!["probe", "--config", "settings.json", id],
            Some(i32::from(id == "broken")),
        ));
        runs.push((
            vec!["probe", "--config", "settings.json", "--format", "json", id],
            Some(i32::from(id == "broken")),
        ));
    }
    let targets = IDS.map(|id| format!("/{id}/none/body"));
    for target in &targets {
        runs.push((
            vec!["explain", "--config", "settings.json", "GET", target],
            Some(0),
        ));
        runs.push((
            vec!["explain", "--config", "settings.json", "PUT", target],
            Some(1),
        ));
    }
    for (arguments, exit) in runs {
        let (code, said) = world.run(&arguments);
        assert_eq!(code, exit, "{arguments:?}: {}", text(&said));
        assert_clean(CANARIES, &format!("{arguments:?}"), &said);
    }
}

/// A mistake beside a secret, in it, or on its line.
#[test]
fn no_problem_of_a_file_says_a_secret() {
    let secret = serde_json::to_string(CANARIES[0].secret).unwrap();
    let inner = secret.trim_matches('"');
    let auths = [
        format!("bearer_token: {{token: {secret}, tokem: 1}}"),
        format!("bearer_token: {secret}"),
        format!("bearer_token: [{secret}]"),
        format!("bearer_tokem: {{token: {secret}}}"),
        format!("bearer_token: {{token: {{value: {secret}}}}}"),
        format!("bearer_token: {{token: {{env: {secret}}}}}"),
        format!("bearer_token: {{token: [{secret}]}}"),
        format!("bearer_token: {{token: \" {} \"}}", inner),
        format!("bearer_token: {{token: \"{}\\n\"}}", inner),
        format!("basic_auth: {{username: {secret}, password: 1}}"),
        format!("basic_auth: {{password: {secret}, username: 'a:b'}}"),
        format!("static_headers: {{headers: {{X-Key: {{wrong: {secret}}}}}}}"),
        format!("static_headers: {{headers: {{'X Key': {secret}}}}}"),
        format!(
            "oauth_client_credentials: {{token_url: 'http://x', client_id: {secret}, client_secret: {secret}}}"
        ),
        format!(
            "oauth_client_credentials: {{token_url: 'https://x.example', client_id: a, client_secret: b, extra_params: {{scope: {secret}}}}}"
        ),
        format!(
            "oauth_client_credentials: {{token_url: 'https://x.example', client_id: a, client_secret: b, extra_params: {{a: [{secret}]}}}}"
        ),
        format!("no_auth: {{}}\n    webhook_signing_secret: [{secret}]"),
        format!("no_auth: {{}}\n    bearer_token: {{token: {secret}}}"),
        format!("bearer_token: {{token: {secret}}} }}"),
        format!("bearer_token: {{token: {secret}"),
        format!("bearer_token: {{token: *{}}}", CANARIES[0].secret),
    ];
    let world = World::new();
    for auth in auths {
        let file = format!(
            "connection_details:\n  http:\n    base_url: https://api.example\n    allowed_routes: [GET /]\n    {auth}\n"
        );
        world.write("broken.yaml", &file);
        for format in ["text", "json"] {
            let (code, said) = world.run(&["check", "--format", format, "broken.yaml"]);
            assert_eq!(code, Some(1), "{auth}: {}", text(&said));
            assert_clean(&CANARIES[..1], &format!("check of `{auth}`"), &said);
        }
    }
}

/// All that is answered on a socket of its own, to its end.
/// Sends MCP messages: the handshake, the list of tools, and calls of each tool with arguments that
/// fit it and that do not. Returns all answers.
fn ask_every_tool(to: std::net::SocketAddr, shape: &str) -> Vec<u8> {
    let initialize = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    });
    let mut answers = ask_mcp(to, "initialize", &initialize);
    let list = ask_mcp(to, "tools/list", &json!({}));
    let start = list.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let document: Value = serde_json::from_slice(&list[start.unwrap() + 4..]).unwrap();
    let tools = document["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 2 * IDS.len(), "{document}");
    for tool in tools {
        for arguments in [
            json!({"shape": shape, "place": "header"}),
            json!({"shape": shape, "place": "body"}),
            json!({"shape": "..", "place": ""}),
            json!({"body": {"hello": 1}}),
            json!({"unknown": 1}),
        ] {
            let params = json!({"name": tool["name"], "arguments": arguments});
            answers.extend(ask_mcp(to, "tools/call", &params));
        }
    }
    answers.extend(ask_mcp(to, "tools/call", &json!({"name": "none"})));
    [answers, list].concat()
}

fn ask_mcp(to: std::net::SocketAddr, method: &str, params: &Value) -> Vec<u8> {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let message = message.to_string();
    let length = message.len();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
    ask(
        to,
        &format!("{head}Content-Length: {length}\r\n\r\n{message}"),
    )
}

fn ask(to: std::net::SocketAddr, asked: &str) -> Vec<u8> {
    let mut agent = Agent::connect_to(to);
    agent.send(asked.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n"));
    agent.wait_close();
    agent.received().to_vec()
}
