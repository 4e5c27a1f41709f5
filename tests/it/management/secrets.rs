//! F-188: no response of the API contains a secret, or text derived from one.

use serde_json::{Value, json};

use super::{ask, quiet, read};
use crate::canary::encodings::{Canary, assert_clean};
use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

const IDS: [&str; 5] = ["bearer", "basic", "static", "oauth", "open"];

const SECRETS: [&str; 2] = [
    "canary-one+/\"\\=0123456789",
    "canary-two+/\"\\=0123456789abcdefghijklmnopqrstuvwxyz",
];
const TOKEN: &str = "canary-token-0123456789abcdef";

/// Starts a sidecar with a connection of each kind, and this secret in every field that takes one.
fn planted(up: &Upstream, endpoint: &TokenEndpoint, secret: &str) -> Sidecar {
    let auths = [
        ("bearer_token", json!({"token": secret})),
        (
            "basic_auth",
            json!({"username": secret, "password": secret}),
        ),
        (
            "static_headers",
            json!({"headers": {"X-Auth": secret, "Authorization": secret}}),
        ),
        (
            "oauth_client_credentials",
            json!({
                "token_url": endpoint.url(),
                "client_id": secret,
                "client_secret": secret,
                "extra_params": {"assertion": secret, "audience": "shown"},
            }),
        ),
        ("no_auth", json!({})),
    ];
    let planted = |(id, (kind, auth)): (&str, (&str, Value))| -> Connection {
        connection(id)
            .allow("/")
            .upstream(up)
            .auth(kind, auth)
            .header("X-My-Key", secret)
            .header("X-Forward", &format!("Bearer {secret}"))
            .http("webhook_signing_secret", json!(secret))
    };
    let mut connections = IDS.into_iter().zip(auths).map(planted);
    let first = connections.next().expect("five");
    connections
        .fold(Sidecar::with(first), |plan, next| {
            plan.with_connection(next)
        })
        .start()
}

/// Returns every response of the API about these connections, after each was used.
fn shown(sidecar: &Sidecar) -> Vec<(String, Vec<u8>)> {
    for id in IDS {
        let reply = Agent::connect(sidecar).request("POST", &format!("/{id}/x"), &[], b"body");
        reply.expect_status(200);
    }
    let mut targets: Vec<String> = IDS.map(|id| format!("/v1/connections/{id}")).into();
    for target in [
        "/v1/connections",
        "/v1/connections?show_deleted=true",
        "/v1/connection-types",
        "/v1/connectors",
        "/v1/connections/none",
        "/openapi.json",
        "/livez",
        "/readyz",
        "/readyz?verbose",
        "/metrics",
        "/",
    ] {
        targets.push(target.to_owned());
    }
    let answers = targets.into_iter().map(|target| {
        let reply = ask(sidecar, &target);
        (target, reply.body)
    });
    answers.collect()
}

/// Removes times, which differ between processes.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.retain(|name, _| !name.ends_with("Time") && !name.ends_with("At"));
            for member in members.values_mut() {
                *member = timeless(member.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = timeless(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

#[test]
fn secrets_are_never_shown() {
    let up = quiet();
    let endpoint = TokenEndpoint::script([TokenAnswer::token(TOKEN)]);
    let canaries = [SECRETS[0], SECRETS[1], TOKEN].map(|secret| Canary {
        name: "secret",
        secret,
    });
    let mut details = Vec::new();
    for secret in SECRETS {
        let sidecar = planted(&up, &endpoint, secret);
        for (target, body) in shown(&sidecar) {
            assert_clean(&canaries, &target, &body);
        }
        let of_all = IDS.map(|id| timeless(read(&sidecar, &format!("/v1/connections/{id}"))));
        let oauth = &of_all[3]["connection"]["connectionDetails"]["http"];
        assert_eq!(
            oauth["oauthClientCredentials"]["extraParams"],
            json!({"assertion": "[redacted]", "audience": "shown"})
        );
        details.push(of_all);
    }
    // The length of a secret makes no difference either.
    assert_eq!(details[0], details[1]);
}
