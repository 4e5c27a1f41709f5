//! Paths, ids and methods that the API does not have.

use super::{ask, plain, read, refused};
use crate::support::{Agent, Sidecar, connection};

const RESOURCES: [&str; 8] = [
    "/v1/connections",
    "/v1/connections/crm",
    "/v1/connection-types",
    "/v1/connectors",
    "/v1/connectors/github",
    "/openapi.json",
    "/livez",
    "/readyz",
];

fn crm() -> Sidecar {
    let crm = connection("crm").base_url("https://api.test");
    Sidecar::with(crm.allow("GET /")).start()
}

#[test]
fn nothing_can_be_written() {
    // F-189
    let sidecar = crm();
    let before = read(&sidecar, "/v1/connections?show_deleted=true");
    for target in RESOURCES.into_iter().chain(["/v1/connections/none"]) {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let mut agent = Agent::connect_to(sidecar.management());
            let body = br#"{"connection": {"displayName": "mine"}}"#;
            let reply = agent.request(method, target, &[], body);
            refused(&reply, 405, "UNIMPLEMENTED");
            let allow = reply.fields.single_value("allow").expect("Allow");
            let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["GET", "HEAD"], "{method} {target}");
        }
    }
    assert_eq!(read(&sidecar, "/v1/connections?show_deleted=true"), before);
}

#[test]
fn a_method_in_a_header_is_ignored() {
    // F-189
    let sidecar = crm();
    let mut agent = Agent::connect_to(sidecar.management());
    let fields = [("X-HTTP-Method-Override", "DELETE")];
    let reply = agent.request("POST", "/v1/connections/crm", &fields, b"");
    refused(&reply, 405, "UNIMPLEMENTED");
    read(&sidecar, "/v1/connections/crm");
}

#[test]
fn hostile_ids_are_refused() {
    // F-194
    let sidecar = crm();
    let long = "a".repeat(10 * 1024);
    for (id, status) in [
        ("..", 400),
        (".", 400),
        ("%2e%2e", 400),
        ("%2E", 400),
        ("..%2Fcrm", 400),
        ("%2F", 400),
        ("crm%2F", 400),
        ("crm%2Fx", 400),
        ("crm%00", 400),
        ("%00", 400),
        ("%ff", 400),
        ("%C0%AE", 400),
        ("%zz", 400),
        ("%", 400),
        ("CRM", 400),
        ("crm%20", 400),
        ("crm;x", 400),
        ("connections%2Fcrm", 400),
        ("{id}", 400),
        ("*", 400),
        ("-", 400),
        (long.as_str(), 400),
        ("../", 404),
        ("../connections/crm", 404),
        ("./crm", 404),
        ("crm/", 404),
        ("crm/..", 404),
        ("/crm", 404),
        ("", 404),
        ("crn", 404),
        // A method, as other APIs have.
        ("crm:startConsent", 404),
        ("crm%3AstartConsent", 404),
    ] {
        let name = if status == 400 {
            "INVALID_ARGUMENT"
        } else {
            "NOT_FOUND"
        };
        let reply = ask(&sidecar, &format!("/v1/connections/{id}"));
        let message = refused(&reply, status, name);
        assert!(
            !message.contains('%') && !message.contains(".."),
            "{message}"
        );
    }
    // An escape is equivalent to its character (RFC 3986, section 6.2.2.2).
    read(&sidecar, "/v1/connections/%63rm");
}

#[test]
fn other_paths_are_not_found() {
    let sidecar = crm();
    for target in [
        "/v1",
        "/v1/",
        "/v1/connections/crm/tools",
        "/v2/connections",
        "/V1/connections",
        "/v1/connection-types/CONNECTION_TYPE_HTTP",
        "/v1//connections",
        "//v1/connections",
        "/v1/%63onnections",
        "/v1/connections%2Fcrm",
        "/crm/",
        "/debug/pprof",
        "/openapi.yaml",
    ] {
        refused(&ask(&sidecar, target), 404, "NOT_FOUND");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let sidecar = crm();
    for target in RESOURCES {
        let mut agent = Agent::connect_to(sidecar.management());
        let whole = agent.get(target);
        let head = agent.request("HEAD", target, &[], b"");
        head.expect_status(200);
        assert!(head.body.is_empty(), "{target}");
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!(
                head.fields.single_value(name),
                whole.fields.single_value(name),
                "{target}"
            );
        }
    }
    let mut agent = Agent::connect_to(sidecar.management());
    let missing = agent.request("HEAD", "/v1/connections/none", &[], b"");
    plain(missing.expect_status(404));
    assert!(missing.body.is_empty());
}
