//! Listeners for one connection at its root, and for some connections.

use serde_json::json;

use super::{ask, expect_root_references, github, listed, redirecting, with_listeners};
use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, Upstream, connection, metrics};

fn crm(up: &Upstream) -> Connection {
    connection("crm").allow("/").upstream(up)
}

fn erp(up: &Upstream) -> Connection {
    connection("erp").allow("/").upstream(up)
}

#[test]
fn a_mounted_listener_serves_its_connection_at_the_root() {
    let up = redirecting();
    let listeners = json!([{"listen": ["127.0.0.1:0"], "connection": "github"}]);
    let sidecar = with_listeners(&[github(&up), crm(&up)], &listeners);
    let mut agent = Agent::connect_to(sidecar.addresses()[1]);
    // The connection does not serve names of others, so they are like localhost here.
    for host in [
        "localhost",
        "127.0.0.1:9001",
        "github.localhost",
        "crm.localhost",
    ] {
        for (method, target) in [("GET", "/user?q=1"), ("GET", "/"), ("POST", "/mcp")] {
            let reply = ask(&mut agent, method, host, target);
            assert_eq!(reply.text(), format!("{method} /api/v3{target}"), "{host}");
            expect_root_references(&reply, &up);
        }
        for other in ["/github/user", "/crm/x", "/other"] {
            let refused = ask(&mut agent, "GET", host, other).refused(403, "route_not_allowed");
            assert_eq!(
                refused.connection.as_deref(),
                Some("github"),
                "{host} {other}"
            );
        }
    }
    assert_eq!(up.requests().len(), 12);
    // The other listener is as without it.
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(listed(&agent.get("/")), ["crm", "github"]);
    let reply = agent.get("/github/user");
    assert_eq!(reply.fields.all("location"), ["/github/next?page=2"]);
}

#[test]
fn a_refusal_on_a_mounted_listener_counts_for_its_connection() {
    let up = Upstream::echo();
    let listeners = json!([{"listen": ["127.0.0.1:0"], "connection": "crm"}]);
    let sidecar = with_listeners(&[crm(&up)], &listeners);
    let mut agent = Agent::connect_to(sidecar.addresses()[1]);
    ask(&mut agent, "GET", "localhost", "/a//b").refused(400, "path_not_canonical");
    ask(&mut agent, "GET", "evil.example", "/a").refused(421, "host_not_allowed");
    drop(agent);
    let text = metrics(sidecar.management());
    for code in ["path_not_canonical", "host_not_allowed"] {
        let counted = text.lines().any(|line| {
            line.starts_with("egressd_refusals_total{")
                && line.contains("connection=\"crm\"")
                && line.contains(code)
                && line.ends_with(" 1")
        });
        assert!(counted, "{code}: {text}");
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_listener_with_some_connections_answers_404_for_the_others() {
    // F-284
    let up = Upstream::echo();
    let connections = [github(&up), crm(&up), erp(&up)];
    let listeners = json!([{"listen": ["127.0.0.1:0"], "connections": ["erp", "github"]}]);
    let sidecar = with_listeners(&connections, &listeners);
    let mut agent = Agent::connect_to(sidecar.addresses()[1]);
    for (target, sent) in [("/erp/x", "/x"), ("/github/user", "/api/v3/user")] {
        let reply = agent.get(target);
        assert_eq!(reply.expect_status(200).json()["target"], sent);
    }
    let reply = ask(&mut agent, "GET", "github.localhost", "/user");
    assert_eq!(reply.expect_status(200).json()["target"], "/api/v3/user");
    assert_eq!(listed(&agent.get("/")), ["erp", "github"]);
    let markdown = agent.request("GET", "/", &[("Accept", "text/markdown")], b"");
    let markdown = markdown.expect_status(200).text();
    assert!(
        markdown.contains("## erp") && !markdown.contains("crm"),
        "{markdown}"
    );

    // A connection of other listeners and one that does not exist are refused in the same way.
    let refused = |agent: &mut Agent, host: &str, target: &str| {
        let mut refused = ask(agent, "GET", host, target).refused(404, "connection_not_found");
        refused.document["request_id"].take();
        refused.document
    };
    let unknown = refused(&mut agent, "localhost", "/zzz/x");
    for target in ["/crm/x", "/crm", "/crmm/x"] {
        assert_eq!(
            refused(&mut agent, "localhost", target),
            unknown,
            "{target}"
        );
    }
    for host in ["crm.localhost", "zzz.localhost"] {
        assert_eq!(refused(&mut agent, host, "/x"), unknown, "{host}");
        ask(&mut agent, "GET", host, "/erp/x").expect_status(200);
    }
    // A name of the listener is still suggested.
    let near = refused(&mut agent, "localhost", "/gihtub/x");
    assert!(
        near["detail"].as_str().unwrap().contains("`github`"),
        "{near}"
    );
    assert_eq!(up.requests().len(), 5);
    assert_eq!(
        listed(&Agent::connect(&sidecar).get("/")),
        ["crm", "erp", "github"]
    );
}

#[test]
fn a_unix_socket_serves_its_own_connections() {
    let up = Upstream::echo();
    let listeners = json!([
        {"listen": ["unix:a.sock"], "connections": ["crm"]},
        {"listen": ["unix:b.sock", "127.0.0.1:0"], "connection": "erp"},
    ]);
    let sidecar = with_listeners(&[crm(&up), erp(&up)], &listeners);
    let mut some = Agent::connect_unix(&sidecar.path("a.sock"));
    some.get("/crm/x").expect_status(200);
    some.get("/erp/x").refused(404, "connection_not_found");
    assert_eq!(listed(&some.get("/")), ["crm"]);
    let mounted = Agent::connect_unix(&sidecar.path("b.sock"));
    for mut agent in [mounted, Agent::connect_to(sidecar.addresses()[1])] {
        assert_eq!(
            agent.get("/crm/x").expect_status(200).json()["target"],
            "/crm/x"
        );
    }
    assert_eq!(up.requests().len(), 3);
}

#[test]
fn a_listener_accepts_only_its_own_host_names() {
    let up = Upstream::echo();
    let listeners = json!([
        {"listen": ["127.0.0.1:0"], "connection": "crm", "allowed_hosts": ["box.internal"]},
        {"listen": ["127.0.0.1:0"], "connections": ["crm"]},
    ]);
    let sidecar = Sidecar::with(crm(&up))
        .setting("proxy.allowed_hosts", json!(["all.internal"]))
        .setting("proxy.listeners", listeners)
        .start();
    for (address, allowed) in sidecar
        .addresses()
        .iter()
        .zip(["all.internal", "box.internal", ""])
    {
        let mut agent = Agent::connect_to(*address);
        for host in ["all.internal", "box.internal"] {
            let reply = ask(&mut agent, "GET", host, "/crm/x");
            if host == allowed {
                reply.expect_status(200);
            } else {
                reply.refused(421, "host_not_allowed");
            }
        }
    }
    assert_eq!(up.requests().len(), 2);
}

#[test]
fn a_disabled_connection_of_a_listener_is_403_and_a_deleted_one_404() {
    let up = Upstream::echo();
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = crm(&up)
        .rename("off")
        .with_field("tool_configurations", tools);
    let deleted = json!("2026-01-02T03:04:05Z");
    let gone = crm(&up).rename("gone").with_field("delete_time", deleted);
    let listeners = json!([
        {"listen": ["127.0.0.1:0"], "connection": "off"},
        {"listen": ["127.0.0.1:0"], "connection": "gone"},
        {"listen": ["127.0.0.1:0"], "connections": ["off", "gone"]},
    ]);
    let sidecar = with_listeners(&[off, gone], &listeners);
    let [_, off, gone, some] = sidecar.addresses() else {
        panic!("four addresses")
    };
    let (mut off, mut gone) = (Agent::connect_to(*off), Agent::connect_to(*gone));
    for target in ["/", "/x", "/off/x"] {
        off.get(target).refused(403, "connection_disabled");
        let refused = gone.get(target).refused(404, "connection_not_found");
        assert!(refused.detail.contains("removed"), "{}", refused.detail);
    }
    let mut some = Agent::connect_to(*some);
    assert_eq!(listed(&some.get("/")), [""; 0]);
    some.get("/off/x").refused(403, "connection_disabled");
    some.get("/gone/x").refused(404, "connection_not_found");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_base_url_that_leads_to_a_listener_is_refused() {
    let up = Upstream::echo();
    let listeners = json!([{"listen": ["127.0.0.1:0"], "connection": "crm"}]);
    let sidecar = with_listeners(&[crm(&up)], &listeners);
    let mounted = sidecar.addresses()[1];
    let looped = connection("looped")
        .allow("/")
        .base_url(&format!("https://{mounted}"));
    sidecar.reload(&[crm(&up), looped]).unwrap();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/looped/x").refused(502, "address_refused");
}
