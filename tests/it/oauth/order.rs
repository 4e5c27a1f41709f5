//! The place of the token in the pipeline: after all refusals, before dialling, and within the
//! deadline.

use serde_json::json;

use super::{ask, before, crm, reveals_nothing, tokens, unavailable};
use crate::support::certs::Alpn;
use crate::support::h2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, STATUS_200, frame};
use crate::support::token_endpoint::token;
use crate::support::{
    Agent, DEADLINE, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection,
};

#[test]
fn a_request_that_is_refused_asks_for_no_token() {
    let up = Upstream::body("hi");
    // Tokens expire at once, so every request for a token is visible.
    let endpoint = TokenEndpoint::with_new_tokens(0);
    let base = connection("crm").allow("GET /x").upstream(&up);
    let sidecar = Sidecar::with(base.oauth(&endpoint))
        .setting("proxy.max_request_body_bytes", 1000)
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").expect_status(200);
    assert_eq!(endpoint.calls(), 1);
    agent.get("/crm/y").refused(403, "route_not_allowed");
    agent.get("/nope/x").refused(404, "connection_not_found");
    agent.get("/crm/../x").refused(400, "path_not_canonical");
    let post = agent.request("POST", "/crm/x", &[], b"");
    post.refused(405, "method_not_allowed");
    let host = agent.exchange("GET /crm/x HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    host.refused(421, "host_not_allowed");
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n");
    agent.reply().refused(413, "request_too_large");
    assert_eq!((endpoint.calls(), up.requests().len()), (1, 1));
    ask(&sidecar).expect_status(200);
    assert_eq!(tokens(&up), [token(1), token(2)]);
}

#[test]
fn a_forbidden_upstream_costs_no_token() {
    // F-156
    let endpoint = TokenEndpoint::with_new_tokens_elsewhere(0);
    let up = Upstream::body("hi");
    let holes = json!(["127.0.0.2/32"]);
    let crm = crm(&up, &endpoint).http("allowed_private_cidrs", holes);
    let port = up.address().port();
    let crm = crm.base_url(&format!("https://localhost:{port}"));
    // The same grant, used once before: from then on only a request causes a token request.
    let open = endpoint.address();
    let erp = crm
        .clone()
        .rename("erp")
        .base_url(&format!("https://{open}"));
    let sidecar = Sidecar::with(crm).with_connection(erp).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/erp/oauth2/token").expect_status(200);
    let calls = endpoint.calls();
    let problem = agent.get("/crm/x").refused(502, "address_refused");
    assert_eq!(problem.connection.as_deref(), Some("crm"));
    assert_eq!((endpoint.calls(), up.sockets()), (calls, 0));
}

#[test]
fn a_token_endpoint_behind_the_guard() {
    // F-156
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let url = format!("https://localhost:{}/token", endpoint.address().port());
    // The upstream is not dialled, because the credential is needed first.
    let crm = connection("crm").allow("/").base_url("https://127.0.0.2:1");
    let crm = crm.http("allowed_private_cidrs", json!(["127.0.0.2/32"]));
    let sidecar = Sidecar::with(crm.oauth_at(&url)).start();
    let reply = ask(&sidecar);
    let problem = reply.refused(502, "credential_unavailable");
    assert_eq!((problem.blame.as_str(), problem.retryable), ("proxy", true));
    assert_eq!(problem.connection.as_deref(), Some("crm"));
    assert!(problem.document["cause"].is_string(), "{reply:?}");
    reveals_nothing(&reply);
    assert_eq!((endpoint.sockets(), endpoint.calls()), (0, 0));
}

#[test]
fn the_wait_for_a_token_is_part_of_the_deadline() {
    // F-138
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let endpoint = TokenEndpoint::script([TokenAnswer::token(&token(1)).once_open(&gate)]);
    let crm = crm(&up, &endpoint).http("timeout_seconds", json!(DEADLINE));
    let sidecar = Sidecar::with(crm).start();
    let reply = ask(&sidecar);
    let problem = reply.refused(504, "upstream_timeout");
    assert_eq!(problem.connection.as_deref(), Some("crm"));
    reveals_nothing(&reply);
    assert_eq!((endpoint.calls(), up.sockets()), (1, 0));
    gate.open();
    // The test accepts both: that token request is used, or another one is made.
    super::ask_until(&mut Agent::connect(&sidecar), "/crm/x", 200);
    assert!(endpoint.calls() <= 2);
    assert_eq!(tokens(&up), [token(1)]);
}

#[test]
fn what_the_agent_sends_never_reaches_the_token_endpoint() {
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let sidecar = before(&up, &endpoint);
    let fields = [
        ("X-Agent", "agents-own"),
        ("Authorization", "Bearer agents-own"),
        ("Cookie", "a=agents-own"),
        ("Accept-Encoding", "br"),
        ("User-Agent", "agents-own"),
    ];
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.request("POST", "/crm/x?agents-own", &fields, b"agents-own");
    reply.expect_status(200);
    let call = endpoint.call(0);
    assert_eq!(
        (call.method.as_str(), call.target.as_str()),
        ("POST", "/oauth2/token")
    );
    let one = |name: &str| call.fields.single_value(name).unwrap_or_default();
    assert_eq!(one("host"), endpoint.address().to_string());
    assert_eq!(one("content-type"), "application/x-www-form-urlencoded");
    assert!(
        one("accept").contains("application/json"),
        "{:?}",
        call.fields
    );
    assert_eq!(call.fields.all("accept-encoding"), [""; 0]);
    assert_eq!(call.fields.all("cookie"), [""; 0]);
    assert_eq!(call.single_param("grant_type"), Some("client_credentials"));
    let heard = format!("{:?} {}", call.fields, call.body);
    assert!(!heard.contains("agents-own"), "{heard}");
    let seen = up.only_request();
    assert_eq!(
        seen.fields.all("authorization"),
        [format!("Bearer {}", token(1))]
    );
}

#[test]
fn a_token_endpoint_with_http2_only() {
    let up = Upstream::body("hi");
    let document = json!({"access_token": token(1), "token_type": "Bearer", "expires_in": 3600});
    let document = document.to_string();
    let endpoint = Upstream::script_with_alpn(Alpn::H2, move |wire| {
        if !h2::accept_preface(wire) {
            return;
        }
        while let Some(stream) = h2::request(wire) {
            wire.send(frame(HEADERS, END_HEADERS, stream, STATUS_200));
            wire.send(frame(DATA, END_STREAM, stream, document.as_bytes()));
        }
    });
    let url = format!("https://{}/token", endpoint.address());
    let crm = connection("crm").allow("/").upstream(&up).oauth_at(&url);
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..3 {
        agent.get("/crm/x").expect_status(200);
    }
    assert_eq!(tokens(&up), vec![token(1); 3]);
}

#[test]
fn a_metadata_address_behind_a_name_is_a_problem_or_a_refusal() {
    // F-156: a literal address is a problem at load, whatever ranges are allowed. The tests of the
    // address guard cover the addresses that a name resolves to.
    let crm = connection("crm").allow("/").base_url("https://127.0.0.1:1");
    let definition = crm.oauth_at("https://169.254.169.254/token").definition();
    let files = tempfile::tempdir().unwrap();
    let at = files.path().join("crm.json");
    std::fs::write(&at, definition.to_string()).unwrap();
    let settings = files.path().join("egressd.yaml");
    std::fs::write(&settings, "connections: [crm.json]\n").unwrap();
    let loaded = egressd::config::load(&egressd::config::LoadOptions {
        config: Some(settings),
        overrides: egressd::config::SettingsOverrides::default(),
        environment: egressd::config::Environment::default(),
    });
    let Err(problems) = loaded else {
        panic!("a metadata address was accepted")
    };
    assert!(
        format!("{problems:?}").contains("token_url"),
        "{problems:?}"
    );
}

#[test]
fn a_failing_endpoint_reveals_nothing_of_earlier_tokens() {
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::script([
        TokenAnswer::bearer_expiring_in(&token(1), 0),
        TokenAnswer::error("400 Bad Request", "invalid_client"),
    ]);
    let crm = crm(&up, &endpoint).grant("client_auth", "body");
    let sidecar = Sidecar::with(crm).start();
    ask(&sidecar).expect_status(200);
    unavailable(&ask(&sidecar), &[super::REFUSED]);
    assert_eq!(tokens(&up), [token(1)]);
}
