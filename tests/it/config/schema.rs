//! The schema and the loader agree, as far as a schema can express the rules.

use serde_json::{Value, json};

use super::world::{World, camel_case};

fn schema() -> Value {
    let ran = World::new().run(&["schema"]);
    serde_json::from_str(&ran.out).unwrap()
}

fn good() -> Value {
    json!({
        "name": "connections/a",
        "id": "a",
        "display_name": "A",
        "description": "d",
        "connection_type": "CONNECTION_TYPE_HTTP",
        "connection_details": {"http": {
            "base_url": "https://h/base",
            "allowed_routes": ["GET /a/{x...}", "/b", {"route": "GET /c"}, {
                "route": "GET /d",
                "name": "list-d_9",
                "description": "d",
                "query": {"page": "integer", "$q": {"type": "array", "description": "d"}, "r": {"type": "number"}},
            }],
            "headers": {"X-Tenant-ID": "acme"},
            "webhook_signing_secret": {"file": "key"},
            "max_response_size_bytes": "10485760",
            "timeout_seconds": 30,
            "allowed_private_cidrs": ["10.0.0.0/8"],
            "allow_cookies": false,
            "allow_agent_headers": ["X-API-Key"],
            "allow_encoded_slash": true,
            "reflection_guard": true,
            "reuse_after_body": true,
            "max_concurrent_requests": 64,
            "http2": "prefer",
            "no_auth": {},
        }},
        "tool_configurations": [{"tool": "TOOL_HTTP_REQUEST", "enabled": true}],
        "delete_time": "2026-01-02T03:04:05Z",
    })
}

fn with(pointer: &str, name: &str, value: Value) -> Value {
    let mut document = good();
    let object = document
        .pointer_mut(pointer)
        .unwrap()
        .as_object_mut()
        .unwrap();
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    document
}

fn loads(document: &Value) -> bool {
    let world = World::new()
        .file("a.json", document.to_string())
        .file("key", "0123456789abcdef");
    world.definitions().is_ok()
}

const HTTP: &str = "/connection_details/http";

fn auths() -> Vec<(&'static str, Value)> {
    vec![
        (
            "oauth_client_credentials",
            json!({"token_url": "https://h/t", "client_id": "a", "client_secret": {"file": "key"}, "scopes": "a", "extra_params": {"audience": "x"}, "client_auth": "body"}),
        ),
        (
            "oauth_client_credentials",
            json!({"token_url": "https://h/t?p=x", "grant_type": "account_credentials", "client_id": "a", "client_secret": "b"}),
        ),
        (
            "oauth_user_consent",
            json!({"client_id": "a", "client_secret": {"file": "key"}, "client_auth": "body", "scopes": "a b", "scope_separator": ",", "grant": "g", "authorization_url": "https://id/a?b=c", "token_url": "https://id/t", "refresh_url": "https://h/t", "revocation_url": "https://id/r", "issuer": "https://id", "redirect_uri": "http://localhost:1/c", "pkce": "s256", "token_request": "json", "authorization_params": {"prompt": "consent"}, "token_params": {"a": "b"}, "refresh_params": {"redirect_uri": "c"}, "token_path": "/a/b", "refresh_token_rotation": "reusable", "identity": {"url": "https://h/me", "pointer": "/login"}}),
        ),
        (
            "oauth_user_consent",
            json!({"client_id": "a", "device_authorization_url": "https://id/d", "token_url": "https://id/t", "identity": {"answer": "/a"}}),
        ),
        (
            "oauth_user_consent",
            json!({"client_id": "a", "refresh_token": {"file": "key"}, "token_url": "https://id/t"}),
        ),
        ("bearer_token", json!({"token": {"file": "key"}})),
        ("basic_auth", json!({"username": "u", "password": "p"})),
        ("basic_auth", json!({"username": "u", "password": ""})),
        (
            "static_headers",
            json!({"headers": {"X-Key": {"file": "key"}}}),
        ),
        (
            "static_headers",
            json!({"headers": {"X-Key": {"value": {"file": "key"}, "secret": true}, "X-Org": {"value": "a", "secret": false}}}),
        ),
    ]
}

fn camel(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (camel_case(name), camel(value)))
            .collect(),
        Value::Array(items) => items.iter().map(camel).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[test]
fn what_the_schema_admits_the_loader_reads() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let mut documents = vec![
        good(),
        json!({"connections": [good()]}),
        json!({"connections": []}),
    ];
    // Each optional field is left out once.
    for (pointer, needed) in [
        ("", "name connection_details"),
        (HTTP, "base_url allowed_routes no_auth"),
    ] {
        for name in good().pointer(pointer).unwrap().as_object().unwrap().keys() {
            if !needed.split(' ').any(|needed| needed == name) {
                documents.push(with(pointer, name, Value::Null));
            }
        }
    }
    for (kind, value) in auths() {
        let mut document = with(HTTP, "no_auth", Value::Null);
        document.pointer_mut(HTTP).unwrap()[kind] = value;
        documents.push(document);
    }
    let mut of_connector = with("", "connector", json!("github"));
    let http = of_connector.pointer_mut(HTTP).unwrap();
    for absent in ["base_url", "no_auth"] {
        http.as_object_mut().unwrap().remove(absent);
    }
    http["oauth_user_consent"] = json!({"client_id": "a"});
    documents.push(of_connector);
    for document in documents.iter().flat_map(|d| [d.clone(), camel(d)]) {
        let found: Vec<String> = validator
            .iter_errors(&document)
            .map(|e| e.to_string())
            .collect();
        assert!(found.is_empty(), "{document:#}: {found:?}");
        assert!(loads(&document), "{document:#}");
    }
}

#[test]
fn what_a_schema_can_refuse_both_refuse() {
    let bearer = json!({"token": {"env": "A", "file": "key"}});
    let mut documents = vec![
        with("", "descripton", json!("x")),
        with("", "displayName", json!("x")),
        with("", "connection_type", json!("CONNECTION_TYPE_SQL")),
        with("", "name", json!("a")),
        with("", "id", json!("A")),
        with("", "connection_details", Value::Null),
        with(
            "",
            "tool_configurations",
            json!([{"tool": "TOOL_HTTP_REQUEST"}]),
        ),
        with("/connection_details", "sql", json!({})),
        with(HTTP, "base_url", json!("http://h")),
        with(HTTP, "base_url", json!("https://u:p@h")),
        with(HTTP, "base_url", json!("https://h?q")),
        with(HTTP, "base_url", Value::Null),
        with(HTTP, "baseUrl", json!("https://h")),
        with(HTTP, "allowed_routes", json!([])),
        with(HTTP, "allowed_routes", json!(["get /a"])),
        with(HTTP, "allowed_routes", json!(["GET h/a"])),
        with(HTTP, "no_auth", Value::Null),
        with(HTTP, "bearer_token", json!({"token": "t"})),
        with(HTTP, "timeout_seconds", json!(3601)),
        with(HTTP, "timeout_seconds", json!(0)),
        with(HTTP, "timeout_seconds", json!(1.5)),
        with(HTTP, "max_response_size_bytes", json!("5MB")),
        with(HTTP, "max_response_size_bytes", json!(1_073_741_825)),
        with(HTTP, "http2", json!("always")),
        with(HTTP, "headers", json!({"X": 5})),
        with(HTTP, "webhook_signing_secret", json!("")),
        with(HTTP, "allow_cookies", json!("true")),
        with(HTTP, "allow_agent_headers", json!("X-API-Key")),
        with(HTTP, "allow_agent_headers", json!(["X-API-Key: k"])),
        json!({"connections": [with("", "name", Value::Null)], "name": "a"}),
        json!([good()]),
    ];
    for consent in [
        json!({"token_url": "https://id/t", "authorization_url": "https://id/a"}),
        json!({"client_id": "a", "authorization_url": "https://id/a"}),
        json!({"client_id": "a", "token_url": "https://id/t"}),
        json!({"client_id": "a", "token_url": "https://id/t", "authorization_url": "http://id/a"}),
        json!({"client_id": "a", "token_url": "https://id/t", "authorization_url": "https://id/a", "pkce": "on"}),
    ] {
        let mut document = with(HTTP, "no_auth", Value::Null);
        document.pointer_mut(HTTP).unwrap()["oauth_user_consent"] = consent;
        documents.push(document);
    }
    let mut without_any_name = with("", "name", Value::Null);
    without_any_name.as_object_mut().unwrap().remove("id");
    documents.push(json!({"connections": [without_any_name]}));
    let mut two_references = with(HTTP, "no_auth", Value::Null);
    two_references.pointer_mut(HTTP).unwrap()["bearer_token"] = bearer;
    documents.push(two_references);
    let mut no_header = with(HTTP, "no_auth", Value::Null);
    no_header.pointer_mut(HTTP).unwrap()["static_headers"] = json!({"headers": {}});
    documents.push(no_header);
    assert_refused(&documents);
}

#[test]
fn what_a_schema_can_refuse_of_a_described_route_both_refuse() {
    let mut routes = vec![json!(5), json!({"name": "a"}), json!({"route": "get /a"})];
    for (name, value) in [
        ("nam", json!("a")),
        ("name", json!("")),
        ("name", json!("A")),
        ("name", json!("a".repeat(63))),
        ("description", json!(" ")),
        ("description", json!("a".repeat(1025))),
        ("query", json!(["page"])),
        ("query", json!({"page": "int"})),
        ("query", json!({"page": {"description": "d"}})),
        ("query", json!({"page": {"type": "integer", "min": 1}})),
        ("query", json!({"": "integer"})),
    ] {
        routes.push(json!({"route": "GET /a", name: value}));
    }
    let documents = routes
        .iter()
        .map(|route| with(HTTP, "allowed_routes", json!([route])));
    assert_refused(&documents.collect::<Vec<_>>());
}

/// Asserts that neither the schema nor the loader accepts any of these files.
fn assert_refused(documents: &[Value]) {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for document in documents {
        assert!(
            !validator.is_valid(document),
            "the schema admits {document:#}"
        );
        assert!(!loads(document), "the loader reads {document:#}");
    }
}

#[test]
fn an_absent_field_is_not_null() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let mut document = good();
    document["description"] = Value::Null;
    assert!(!validator.is_valid(&document));
    assert!(!loads(&document));
}

#[test]
fn every_field_of_the_schema_is_known_to_the_loader_and_shown() {
    let schema = schema();
    let fields = schema["$defs"]["Http"]["properties"].as_object().unwrap();
    // 20 fields, of which `headers` and `http2` have only one spelling.
    assert_eq!(fields.len(), 20 * 2 - 2);
    for (name, _) in fields {
        let mut document = good();
        document.pointer_mut(HTTP).unwrap()[name] = json!([[]]);
        let world = World::new()
            .file("a.json", document.to_string())
            .file("key", "0123456789abcdef");
        assert!(
            world
                .errors()
                .iter()
                .all(|problem| problem.code != "unknown_field"),
            "{name}"
        );
    }
}
