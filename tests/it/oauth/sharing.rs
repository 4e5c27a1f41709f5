//! Connections that share a token, and connections that have their own.

use serde_json::json;

use super::{crm, tokens};
use crate::support::connection::Connection;
use crate::support::token_endpoint::token;
use crate::support::{Agent, Sidecar, TokenEndpoint, Upstream};

/// Sends two requests through each connection. Returns the tokens that the upstream received.
fn tokens_of(connections: Vec<Connection>, up: &Upstream) -> Vec<String> {
    let mut connections = connections.into_iter();
    let first = connections.next().expect("one");
    let mut ids = vec!["crm".to_owned()];
    let mut plan = Sidecar::with(first);
    for (n, connection) in connections.enumerate() {
        let id = format!("other-{n}");
        plan = plan.with_connection(connection.rename(&id));
        ids.push(id);
    }
    let sidecar = plan.start();
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..2 {
        for id in &ids {
            agent.get(&format!("/{id}/x")).expect_status(200);
        }
    }
    tokens(up)
}

#[test]
fn different_parameters_have_different_tokens() {
    // F-155
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let plain = crm(&up, &endpoint);
    let with = |field: &str, value| crm(&up, &endpoint).grant(field, value);
    let connections = vec![
        plain,
        with("scopes", json!("read")),
        with("scopes", json!("write")),
        with("extra_params", json!({"audience": "a"})),
        with("extra_params", json!({"audience": "b"})),
        with("client_id", json!("another-client")),
        with("client_secret", json!("another-planted-secret")),
    ];
    let count = connections.len();
    let seen = tokens_of(connections, &up);
    let (first, second) = seen.split_at(count);
    assert_eq!(first, second, "each keeps its own");
    let mut distinct = first.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((distinct.len(), endpoint.calls()), (count, count));
    // Each connection got the token for its own parameters.
    for (n, seen) in first.iter().enumerate() {
        let call = (0..count).map(|n| endpoint.call(n));
        let mut call = call.filter(|call| token(call.number + 1) == *seen);
        let call = call.next().expect("a call");
        let scope = [None, Some("read"), Some("write")].get(n).copied();
        assert_eq!(call.single_param("scope"), scope.flatten(), "{n}");
        let audience = n.checked_sub(3).and_then(|n| ["a", "b"].get(n)).copied();
        assert_eq!(call.single_param("audience"), audience, "{n}");
    }
}

#[test]
fn the_same_credential_is_one_token() {
    // F-155
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let one = || {
        let params = json!({"audience": "a"});
        let crm = crm(&up, &endpoint).grant("scopes", "read");
        crm.grant("extra_params", params)
    };
    let seen = tokens_of(vec![one(), one(), one()], &up);
    assert_eq!(seen, vec![token(1); 6]);
    assert_eq!(endpoint.calls(), 1);
}

#[test]
fn one_client_at_two_token_endpoints() {
    // F-155
    let up = Upstream::body("hi");
    let (here, there) = (
        TokenEndpoint::with_new_tokens(3600),
        TokenEndpoint::with_new_tokens(3600),
    );
    tokens_of(vec![crm(&up, &here), crm(&up, &there)], &up);
    assert_eq!((here.calls(), there.calls()), (1, 1));
}
