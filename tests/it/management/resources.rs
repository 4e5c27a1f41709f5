//! The resources: lists, single connections and types.

use serde_json::{Value, json};

use super::{ask, connection_of, quiet, read, refused};
use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, connection};

/// Starts a sidecar with the connections `live`, `disabled` and `deleted`.
fn three() -> Sidecar {
    let at = |id: &str| {
        let connection = connection(id).base_url("https://api.test/base");
        connection.allow("GET /users/{id}")
    };
    let disabled = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    Sidecar::with(at("live").bearer("0123456789abcdef"))
        .with_connection(at("disabled").with_field("tool_configurations", disabled))
        .with_connection(at("deleted").with_field("delete_time", json!("2026-01-02T03:04:05Z")))
        .start()
}

fn names(listing: &Value) -> Vec<&str> {
    let connections = listing["connections"].as_array().expect("a list");
    let names = connections.iter().map(|one| one["name"].as_str().unwrap());
    names.collect()
}

#[test]
fn a_list_shows_connections_without_their_details() {
    let sidecar = three();
    let listing = read(&sidecar, "/v1/connections");
    assert_eq!(
        names(&listing),
        ["connections/disabled", "connections/live"]
    );
    for one in listing["connections"].as_array().unwrap() {
        assert_eq!(one["connectionType"], "CONNECTION_TYPE_HTTP");
        assert_eq!(one["readOnly"], true);
        assert_eq!(one["connectionStatus"], json!({"code": 0}));
        let slug = one["tools"][0]["slug"].as_str().unwrap();
        assert!(
            slug.ends_with("live_get_users_id") || slug.ends_with("disabled_get_users_id"),
            "{slug}"
        );
        for absent in [
            "connectionDetails",
            "credentialSources",
            "toolConfigurations",
            "deleteTime",
            "tokenExpiresAt",
            "lastRefreshedTime",
        ] {
            assert_eq!(one.get(absent), None, "{one}");
        }
    }
    assert_eq!(listing.get("nextPageToken"), None);
    let all = read(&sidecar, "/v1/connections?show_deleted=true");
    assert_eq!(
        names(&all),
        [
            "connections/deleted",
            "connections/disabled",
            "connections/live"
        ]
    );
    assert_eq!(all["connections"][0]["deleteTime"], "2026-01-02T03:04:05Z");
}

#[test]
fn a_single_connection_has_its_details() {
    let sidecar = three();
    let live = connection_of(&sidecar, "live");
    let http = &live["connectionDetails"]["http"];
    assert_eq!(http["baseUrl"], "https://api.test/base");
    assert_eq!(http["allowedRoutes"], json!(["GET /users/{id}"]));
    assert_eq!(http["bearerToken"], json!({"token": "[redacted]"}));
    assert_eq!(
        live["credentialSources"],
        json!({"bearerToken.token": "inline"})
    );
    let tool = |enabled: bool| json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": enabled}]);
    assert_eq!(live["toolConfigurations"], tool(true));
    let disabled = connection_of(&sidecar, "disabled");
    assert_eq!(disabled["toolConfigurations"], tool(false));
    assert_eq!(disabled["connectionDetails"]["http"]["noAuth"], json!({}));
}

#[test]
fn a_deleted_connection_is_found() {
    let sidecar = three();
    let deleted = connection_of(&sidecar, "deleted");
    assert_eq!(deleted["deleteTime"], "2026-01-02T03:04:05Z");
    let served = Agent::connect(&sidecar).get("/deleted/users/1");
    served.refused(404, "connection_not_found");
    let message = refused(&ask(&sidecar, "/v1/connections/none"), 404, "NOT_FOUND");
    assert!(message.contains("connections/none"), "{message}");
}

#[test]
fn headers_keep_the_spelling_of_their_definition() {
    let up = quiet();
    let spelt: Connection = connection("crm")
        .allow("/")
        .upstream(&up)
        .static_header("X-API-Key", "0123456789abcdef")
        .header("X-Tenant-ID", "acme")
        .header("X-Request-Token", "fedcba9876543210");
    let sidecar = Sidecar::with(spelt).start();
    let shown = connection_of(&sidecar, "crm");
    let http = &shown["connectionDetails"]["http"];
    assert_eq!(
        http["headers"],
        json!({"X-Tenant-ID": "acme", "X-Request-Token": "[redacted]"})
    );
    assert_eq!(
        http["staticHeaders"],
        json!({"headers": {"X-API-Key": "[redacted]"}})
    );
    assert_eq!(
        shown["credentialSources"],
        json!({"headers.X-Request-Token": "inline", "staticHeaders.headers.X-API-Key": "inline"})
    );
    // The upstream gets the values.
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
    let got = up.requests().remove(0).fields;
    assert_eq!(
        got.single_value("x-api-key").as_deref(),
        Some("0123456789abcdef")
    );
    assert_eq!(got.single_value("x-tenant-id").as_deref(), Some("acme"));
}

#[test]
fn times_are_those_of_this_process() {
    let before = jiff::Timestamp::now().as_millisecond();
    let sidecar = three();
    let after = jiff::Timestamp::now().as_millisecond();
    let live = connection_of(&sidecar, "live");
    for field in ["createTime", "updateTime"] {
        let time = live[field].as_str().unwrap();
        assert!(time.ends_with('Z'), "{time}");
        let time: jiff::Timestamp = time.parse().unwrap();
        assert!((before..=after).contains(&time.as_millisecond()), "{time}");
    }
}

#[test]
fn types_describe_what_can_be_defined() {
    let sidecar = three();
    let types = read(&sidecar, "/v1/connection-types");
    let [http] = types["types"].as_array().unwrap().as_slice() else {
        panic!("{types}")
    };
    assert_eq!(http["type"], "CONNECTION_TYPE_HTTP");
    assert_eq!(http["availableTools"], json!(["TOOL_HTTP_REQUEST"]));
    let kinds = http["authKinds"].as_array().unwrap();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|kind| kind["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "oauthClientCredentials",
            "oauthUserConsent",
            "bearerToken",
            "basicAuth",
            "staticHeaders",
            "noAuth"
        ]
    );
    assert_eq!(
        http["authKinds"][2]["fields"],
        json!([{"key": "token", "label": "Token", "required": true, "secret": true}])
    );
}
