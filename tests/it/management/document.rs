//! The OpenAPI document describes the responses.

use serde_json::{Value, json};

use super::{ask, quiet, read};
use crate::support::{Agent, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

/// Returns the document with every schema of an object closed, so that a field that it does not
/// describe is an error.
fn closed(mut document: Value) -> Value {
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (name, schema) in schemas {
        let is_part_of_another = name == "AuthDetails";
        if (schema["type"] == "object" || schema["allOf"].is_array()) && !is_part_of_another {
            schema["unevaluatedProperties"] = json!(false);
        }
    }
    document
}

/// Checks that this body matches the schema of the operation at `path` for `status`.
fn assert_conforms(document: &Value, path: &str, status: &str, body: &Value) {
    let answers = &document["paths"][path]["get"]["responses"];
    let schema = &answers[status]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{path} has no schema for {status}");
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(body)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{path}: {wrong:#?}\n{body:#}");
}

#[test]
fn the_served_document_is_the_one_in_the_repository() {
    let sidecar = Sidecar::with(connection("crm").base_url("https://h.test").allow("/")).start();
    let served = ask(&sidecar, "/openapi.json");
    served.expect_status(200);
    assert_eq!(served.text(), include_str!("../../../config/openapi.json"));
    assert_eq!(served.json()["openapi"], "3.1.0");
}

/// Starts a sidecar with a connection of each kind and state.
fn one_of_each(up: &Upstream, good: &TokenEndpoint, bad: &TokenEndpoint) -> Sidecar {
    let at = |id: &str| connection(id).allow("GET /{id}").allow("/a/").upstream(up);
    let secret = json!("0123456789abcdef");
    let person = json!({
        "client_id": "the-client", "token_url": "https://id.test/token",
        "authorization_url": "https://id.test/authorize", "token_path": "/user",
        "authorization_params": {"prompt": "a", "x": "y"}, "identity": {"answer": "/name"},
    });
    Sidecar::with(at("open").header("X-Tenant", "a").header("X-Key", "b"))
        .with_connection(
            at("bearer")
                .bearer("t")
                .http("webhook_signing_secret", secret),
        )
        .with_connection(at("basic").auth("basic_auth", json!({"username": "u", "password": "p"})))
        .with_connection(at("static").static_header("X-Key", "k"))
        .with_connection(
            at("good")
                .oauth(good)
                .grant("scopes", "a")
                .grant("extra_params", json!({"audience": "a", "x": "y"})),
        )
        .with_connection(at("bad").oauth(bad))
        .with_connection(at("person").auth("oauth_user_consent", person))
        .with_connection(at("deleted").with_field("delete_time", json!("2026-01-02T03:04:05.5Z")))
        .start()
}

#[test]
fn responses_match_their_schemas() {
    let up = quiet();
    let good = TokenEndpoint::with_new_tokens(3600);
    let bad = TokenEndpoint::script([TokenAnswer::error("400 Bad Request", "invalid_client")]);
    let sidecar = one_of_each(&up, &good, &bad);
    Agent::connect(&sidecar).get("/good/x").expect_status(200);
    Agent::connect(&sidecar).get("/bad/x").expect_status(502);
    let document = closed(read(&sidecar, "/openapi.json"));
    for id in [
        "open", "bearer", "basic", "static", "good", "bad", "person", "deleted",
    ] {
        let answer = read(&sidecar, &format!("/v1/connections/{id}"));
        assert_conforms(&document, "/v1/connections/{connection_id}", "200", &answer);
    }
    for (path, target, status) in [
        (
            "/v1/connections",
            "/v1/connections?show_deleted=true",
            "200",
        ),
        ("/v1/connections", "/v1/connections?page_sise=1", "400"),
        ("/v1/connection-types", "/v1/connection-types", "200"),
        (
            "/v1/connection-types",
            "/v1/connection-types?show_deleted=true",
            "400",
        ),
        (
            "/v1/connections/{connection_id}",
            "/v1/connections/none",
            "404",
        ),
        (
            "/v1/connections/{connection_id}",
            "/v1/connections/N",
            "400",
        ),
        ("/v1/connectors", "/v1/connectors", "200"),
        ("/v1/connectors", "/v1/connectors?show_deleted=true", "400"),
        ("/v1/connectors/{slug}", "/v1/connectors/github", "200"),
        ("/v1/connectors/{slug}", "/v1/connectors/none", "404"),
        ("/v1/connectors/{slug}", "/v1/connectors/N", "400"),
        ("/openapi.json", "/openapi.json", "200"),
    ] {
        let reply = ask(&sidecar, target);
        assert_eq!(reply.status.to_string(), status, "{target}");
        assert_conforms(&document, path, status, &reply.json());
    }
}

#[test]
fn every_path_of_the_document_is_served() {
    let sidecar = Sidecar::with(connection("crm").base_url("https://h.test").allow("/")).start();
    let document = read(&sidecar, "/openapi.json");
    let paths = document["paths"].as_object().unwrap();
    let ours = [
        "/v1/connections",
        "/v1/connections/{connection_id}",
        "/v1/connection-types",
        "/v1/connectors",
        "/v1/connectors/{slug}",
    ];
    let beside = ["/livez", "/readyz", "/openapi.json"];
    for path in ours.into_iter().chain(beside) {
        let target = path.replace("{connection_id}", "crm");
        let reply = ask(&sidecar, &target.replace("{slug}", "github"));
        let answers = &paths[path]["get"]["responses"]["200"]["content"];
        let media_type = reply
            .expect_status(200)
            .fields
            .single_value("content-type")
            .unwrap();
        let media_type = media_type.split(';').next().unwrap();
        assert!(answers[media_type].is_object(), "{path}: {media_type}");
    }
}
