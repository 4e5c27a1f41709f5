//! The outcomes of exchanges, each in one series, and the other values that they change.

use serde_json::json;

use super::Scrape;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const REFUSALS: &str = "egressd_refusals_total";

#[test]
fn forwarded() {
    let up = Upstream::body("hello");
    let crm = connection("crm").allow("POST /notes/{id}").upstream(&up);
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    agent
        .request("POST", "/crm/notes/7", &[], b"abc")
        .expect_status(200);
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["crm", "POST /notes/{id}", "POST", "200", "forwarded"]);
    for (name, value) in [
        (
            "egressd_request_duration_seconds_count{connection=\"crm\"}",
            1.0,
        ),
        (
            "egressd_upstream_duration_seconds_count{connection=\"crm\"}",
            1.0,
        ),
        ("egressd_request_bytes_total", 3.0),
        ("egressd_response_bytes_total", 5.0),
        ("egressd_in_flight_requests", 0.0),
        ("egressd_panics_total", 0.0),
    ] {
        assert_eq!(scrape.value(name), value, "{name}");
    }
    let seconds = |of: &str| {
        scrape.value(&format!(
            "egressd_{of}_duration_seconds_sum{{connection=\"crm\"}}"
        ))
    };
    assert!(seconds("upstream") > 0.0 && seconds("upstream") <= seconds("request"));
    assert_eq!(scrape.find(REFUSALS, &[]), []);
}

#[test]
fn an_upstreams_own_error_is_forwarded() {
    let up = Upstream::reply("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    Agent::connect(&sidecar).get("/crm/x").expect_status(503);
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["crm", "/", "GET", "503", "forwarded"]);
    assert_eq!(scrape.find(REFUSALS, &[]), []);
}

#[test]
fn refused() {
    let up = Upstream::echo();
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = connection("off").allow("/").upstream(&up);
    let deleted = connection("deleted").allow("/").upstream(&up);
    let sidecar = Sidecar::with(connection("crm").allow("GET /a").upstream(&up))
        .with_connection(off.with_field("tool_configurations", tools))
        .with_connection(deleted.with_field("delete_time", json!("2026-01-02T03:04:05Z")))
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/b").refused(403, "route_not_allowed");
    agent
        .request("POST", "/crm/a", &[], b"")
        .refused(405, "method_not_allowed");
    agent.get("/off/a").refused(403, "connection_disabled");
    agent.get("/deleted/a").refused(404, "connection_not_found");
    agent.get("/nobody/a").refused(404, "connection_not_found");
    agent.get("/crm//a").refused(400, "path_not_canonical");
    let scrape = Scrape::after(&sidecar, 6);
    scrape.assert_only_request(["off", "unmatched", "GET", "403", "refused"]);
    let refused = |connection: &str, code: &str| {
        scrape.sum(REFUSALS, &[("connection", connection), ("code", code)])
    };
    for (connection, code, count) in [
        ("crm", "route_not_allowed", 1.0),
        ("crm", "method_not_allowed", 1.0),
        ("off", "connection_disabled", 1.0),
        ("unknown", "connection_not_found", 2.0),
        ("crm", "path_not_canonical", 1.0),
    ] {
        assert_eq!(refused(connection, code), count, "{connection} {code}");
    }
    let labels = [("connection", "crm"), ("method", "POST"), ("code", "405")];
    assert_eq!(scrape.sum("egressd_requests_total", &labels), 1.0);
    assert_eq!(scrape.sum(REFUSALS, &[]), 6.0);
    assert_eq!(
        scrape.find("egressd_upstream_duration_seconds_count", &[]),
        []
    );
    assert_eq!(scrape.find("egressd_upstream_sockets", &[]), []);
    assert_eq!(up.sockets(), 0);
}

#[test]
fn upstream_failed_before_its_answer() {
    let up = Upstream::script(|wire| {
        wire.request();
    });
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.get("/crm/x");
    reply.refused(502, "upstream_protocol_error");
    let scrape = Scrape::after(&sidecar, 1);
    let document = reply.body.len() as f64;
    assert_eq!(scrape.value("egressd_response_bytes_total"), document);
    scrape.assert_only_request(["crm", "/", "GET", "502", "upstream_failed"]);
    let labels = [("connection", "crm"), ("code", "upstream_protocol_error")];
    assert_eq!(scrape.sum(REFUSALS, &labels), 1.0);
    assert_eq!(scrape.sockets("crm"), (0.0, 0.0));
}

#[test]
fn upstream_failed_within_its_answer() {
    let up = Upstream::reply_then_close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(reply.text(), "abc");
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["crm", "/", "GET", "200", "upstream_failed"]);
    assert_eq!(
        scrape.find(REFUSALS, &[]),
        [],
        "a response that was cut off is not a refusal"
    );
    assert_eq!(scrape.value("egressd_response_bytes_total"), 3.0);
}

#[test]
fn an_agent_that_leaves_before_the_answer() {
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        waits.wait();
    });
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    up.wait_requests(1);
    agent.reset();
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["crm", "/", "GET", "none", "agent_cancelled"]);
    assert_eq!(scrape.find(REFUSALS, &[]), []);
    assert_eq!(scrape.sockets("crm"), (0.0, 0.0));
    gate.open();
}

#[test]
fn an_agent_that_leaves_within_its_body() {
    for resets in [true, false] {
        let up = Upstream::script(|wire| {
            wire.head();
            wire.wait_for_end();
        });
        let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        agent.send("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
        up.wait_requests(1);
        if resets {
            agent.reset();
        } else {
            agent.half_close();
            agent.wait_close();
        }
        let scrape = Scrape::after(&sidecar, 1);
        scrape.assert_only_request(["crm", "/", "POST", "none", "agent_cancelled"]);
        assert_eq!(scrape.find(REFUSALS, &[]), []);
        assert_eq!(scrape.value("egressd_request_bytes_total"), 3.0);
    }
}

#[test]
fn an_agent_that_leaves_within_the_answer() {
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("first");
    agent.reset();
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["crm", "/", "GET", "200", "agent_cancelled"]);
    assert_eq!(scrape.sockets("crm"), (0.0, 0.0));
    gate.open();
}

#[test]
fn the_list_of_connections_counts_as_forwarded_without_an_upstream() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    Agent::connect(&sidecar).get("/").expect_status(200);
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["unknown", "unmatched", "GET", "200", "forwarded"]);
    assert_eq!(
        scrape.find("egressd_upstream_duration_seconds_count", &[]),
        []
    );
    assert_eq!(scrape.find(REFUSALS, &[]), []);
}

/// The document of such a refusal names no connection. The metrics name the one that the target
/// names.
#[test]
fn a_refusal_before_the_lookup_is_counted_for_the_connection_that_the_target_names() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    for (target, field) in [
        ("/crm/../x", "Accept: a"),
        ("/crm/x", "Origin: http://page.example"),
        ("/crm/x", "Upgrade: websocket"),
        ("/nobody/../x", "Accept: a"),
        ("/crmx", "Origin: http://page.example"),
        ("*", "Accept: a"),
    ] {
        let mut agent = Agent::connect(&sidecar);
        agent.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n"
        ));
        assert_eq!(agent.reply().problem().connection, None);
    }
    let scrape = Scrape::after(&sidecar, 6);
    for (connection, count) in [("crm", 3.0), ("unknown", 3.0)] {
        let labels = [("connection", connection), ("route", "unmatched")];
        assert_eq!(scrape.sum("egressd_requests_total", &labels), count);
        assert_eq!(scrape.sum(REFUSALS, &labels[..1]), count);
    }
    assert_eq!(up.sockets(), 0);
}
