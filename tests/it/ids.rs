//! The connection of a request: the first path segment selects it, raw and whole. Only a `Host` of
//! `<id>.localhost` (`listeners.rs`) selects it otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use egressd::config::{Environment, SecretValues, load_paths};
use egressd::snapshot::{PublishedSnapshot, Snapshot};
use serde_json::json;

use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// `crm` and `erp` before the same upstream, `gone` soft-deleted, `off` disabled.
fn world() -> (Upstream, Sidecar) {
    let up = Upstream::echo();
    let to = |id: &str, token: &str| {
        connection(id)
            .allow("/{rest...}")
            .upstream(&up)
            .bearer(token)
    };
    let gone = to("gone", "gone").with_field("delete_time", json!("2026-01-02T03:04:05Z"));
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = to("off", "off").with_field("tool_configurations", tools);
    let erp = to("erp", "erp-token");
    let plan = Sidecar::with(to("crm", "crm-token"))
        .with_connection(erp)
        .with_connection(gone)
        .with_connection(off);
    (up, plan.start())
}

#[test]
fn an_id_is_a_whole_segment() {
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    for target in [
        // F-68
        "/crm@evil.com/x",
        "/crm.evil.com/x",
        "/crm:8443/x",
        // F-69
        "/crm2/x",
        "/cr/x",
        // F-70
        "/%63rm/x",
        "/CRM/x",
        "/crm;a/x",
        "/crm%20/x",
        "/nope",
        "/crm~/x",
        // An encoded slash is checked after the connection is found.
        "/crm%2Fx",
        "/crm%2F/x",
        "/crm%2f",
        "/%2Fcrm/x",
        "/nope/a%2F",
        "/nope/%2F",
    ] {
        let problem = agent.get(target).refused(404, "connection_not_found");
        assert_eq!(problem.connection, None, "{target}");
    }
    // F-70
    let reply =
        Agent::connect(&sidecar).exchange("GET / crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(reply.status, 400);
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_refusal_after_the_lookup_names_the_connection() {
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let pathless = agent.get("/crm").refused(403, "route_not_allowed");
    assert_eq!(pathless.connection.as_deref(), Some("crm"));
    assert_eq!(pathless.document["allowed_routes"], json!(["/{rest...}"]));
    assert!(pathless.detail.contains("`/crm/`"), "{}", pathless.detail);
    for target in ["/off", "/off/x", "/off/a%2Fb", "/off/a%2F"] {
        let problem = agent.get(target).refused(403, "connection_disabled");
        assert_eq!(problem.connection.as_deref(), Some("off"), "{target}");
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_path_is_checked_before_its_id() {
    // F-71
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    for target in [
        "/crm/../erp/x",
        "/./crm/x",
        "/nope/../crm/x",
        "/../crm/x",
        "/%2e%2e/crm/x",
    ] {
        let problem = agent.get(target).refused(400, "path_not_canonical");
        assert_eq!(problem.connection, None, "{target}");
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn no_other_name_and_no_header_selects() {
    // F-72
    let (up, sidecar) = world();
    for host in ["erp", "erp.example.localhost", "localhost"] {
        let request = format!(
            "GET /crm/x HTTP/1.1\r\nHost: {host}\r\nX-Connection: erp\r\nX-Egressd-Connection: erp\r\n\r\n"
        );
        let reply = Agent::connect(&sidecar).exchange(request);
        assert_eq!(
            reply.status,
            if host == "erp" { 421 } else { 200 },
            "{host}"
        );
    }
    let tokens: Vec<_> = up
        .requests()
        .iter()
        .map(|r| r.fields.all("authorization"))
        .collect();
    assert_eq!(tokens, [["Bearer crm-token"], ["Bearer crm-token"]]);
}

#[test]
fn unknown_and_deleted_ids_are_refused_in_the_same_way() {
    // F-73
    let (up, sidecar) = world();
    let ask = |id: &str| {
        let fields = [("X-Request-Id", "same")];
        let reply = Agent::connect(&sidecar).request("GET", &format!("/{id}/x"), &fields, b"");
        reply.refused(404, "connection_not_found");
        reply.text().replace(id, "ID")
    };
    let unknown = ask("nope");
    for id in ["gone", "nope-2", "a%41"] {
        assert_eq!(ask(id), unknown, "{id}");
    }
    let long = "a".repeat(8000);
    Agent::connect(&sidecar)
        .get(&format!("/{long}/x"))
        .refused(404, "connection_not_found");
    let longer = "a".repeat(10_240);
    Agent::connect(&sidecar)
        .get(&format!("/{longer}/x"))
        .refused(414, "target_too_long");
    for (target, status) in [
        ("/\0/x", 400),
        ("/%00/x", 400),
        ("/./x", 400),
        ("/../x", 400),
    ] {
        assert_eq!(
            Agent::connect(&sidecar).get(target).status,
            status,
            "{target:?}"
        );
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn sockets_are_not_shared_between_connections() {
    // F-74
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    for round in 0..10 {
        // F-75
        let id = if round % 2 == 0 { "crm" } else { "erp" };
        let echo = agent
            .get(&format!("/{id}/{round}"))
            .expect_status(200)
            .json();
        assert_eq!(echo["target"], format!("/{round}"));
        agent.get("/off/x").refused(403, "connection_disabled");
        agent.get("/nope/x").refused(404, "connection_not_found");
    }
    let mut sockets: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for arrived in up.requests() {
        let id = if arrived.target.ends_with(['0', '2', '4', '6', '8']) {
            "crm"
        } else {
            "erp"
        };
        let token = format!("Bearer {id}-token");
        assert_eq!(arrived.fields.all("authorization"), [token.as_str()]);
        sockets.entry(token).or_default().insert(arrived.socket);
    }
    let sockets: Vec<_> = sockets.into_values().collect();
    assert_eq!(sockets.len(), 2);
    assert!(sockets[0].is_disjoint(&sockets[1]), "{sockets:?}");
    assert_eq!(up.sockets(), 2, "one socket a connection was enough");
}

#[test]
fn the_list_of_connections_has_only_what_an_agent_may_see() {
    let up = Upstream::echo();
    let crm = connection("crm")
        .allow("GET /users/{id}")
        .upstream(&up)
        .bearer("canary-token");
    let crm = crm
        .with_field("display_name", json!("The CRM"))
        .with_field("description", json!("# All of it"));
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = connection("off")
        .allow("/")
        .upstream(&up)
        .with_field("tool_configurations", tools);
    let gone = connection("gone")
        .allow("/")
        .upstream(&up)
        .with_field("delete_time", json!("2026-01-02T03:04:05Z"));
    let crm = crm.header("X-Canary", "canary-header");
    let sidecar = Sidecar::with(crm)
        .with_connection(off)
        .with_connection(gone)
        .start();
    let mut agent = Agent::connect(&sidecar);
    let list = agent.get("/").expect_status(200).json();
    let only = json!({"id": "crm", "display_name": "The CRM", "description": "# All of it", "allowed_routes": ["GET /users/{id}"], "status": "connected"});
    assert_eq!(list, json!({"connections": [only]}));
    let markdown = agent.request("GET", "/", &[("Accept", "text/markdown")], b"");
    let text = markdown.expect_status(200).text();
    assert!(
        text.contains("The CRM") && text.contains("GET /users/{id}"),
        "{text}"
    );
    assert!(
        !text.contains("canary") && !text.contains("bearer"),
        "{text}"
    );
    // RFC 9110 §8.3.1: media types are case-insensitive.
    let again = agent.request("GET", "/", &[("Accept", "Text/Markdown; q=1")], b"");
    assert_eq!(again.expect_status(200).text(), text);
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_generation_shares_nothing_with_the_previous_one() {
    // F-76
    let files = tempfile::tempdir().unwrap();
    let load = |connections: &[Connection]| {
        let definitions: Vec<_> = connections.iter().map(Connection::definition).collect();
        let file = files.path().join("all.json");
        std::fs::write(&file, json!({"connections": definitions}).to_string()).unwrap();
        let loaded = load_paths(&[file], &Environment::default(), SecretValues::Read)
            .ok()
            .unwrap();
        loaded.connections
    };
    let crm = connection("crm")
        .allow("/")
        .base_url("https://api.example.com");
    let (same, gone) = (crm.clone().rename("same"), crm.clone().rename("gone"));
    let before = Snapshot::new(load(&[crm.clone().bearer("old"), gone, same.clone()]));
    let held = Arc::clone(before.find("gone").unwrap());
    let after = before.next_generation(load(&[same, crm.bearer("new")]));
    // Pools and credentials are kept under an entry's key.
    let key = |snapshot: &Snapshot, id| snapshot.find(id).unwrap().key;
    assert_ne!(key(&before, "crm"), key(&after, "crm"));
    assert_eq!(key(&before, "same"), key(&after, "same"));
    let (old, new) = (before.find("crm").unwrap(), after.find("crm").unwrap());
    assert!(old.created == new.created && old.updated < new.updated);
    let published = PublishedSnapshot::new(before);
    published.publish(after);
    let gone = Arc::clone(published.current().find("gone").unwrap());
    assert!(!gone.is_live() && gone.created == held.created && gone.key != held.key);
    // A request that found the entry before keeps it unchanged.
    assert_eq!(held.connection.id.as_str(), "gone");
    assert_eq!(held.connection.routes.patterns().len(), 1);
}
