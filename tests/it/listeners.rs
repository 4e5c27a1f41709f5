//! The ways in which an agent addresses a connection: under `/<id>`, at the root of
//! `<id>.localhost`, or on a listener that serves only one or some of the connections.

mod process;
mod scopes;

use serde_json::{Value, json};

use crate::support::connection::Connection;
use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// Answers with a redirect and cookies, all below the base path `/api/v3`.
fn redirecting() -> Upstream {
    Upstream::answer(|request| {
        let echoed = format!("{} {}", request.method, request.target);
        format!(
            "HTTP/1.1 302 Found\r\nLocation: /api/v3/next?page=2\r\nContent-Location: /other\r\n\
             Set-Cookie: a=b; Path=/api/v3/repos; Domain=example.com\r\nSet-Cookie: c=d; Path=/\r\n\
             Set-Cookie: e=f\r\nContent-Length: {}\r\n\r\n{echoed}",
            echoed.len()
        )
    })
}

fn github(up: &Upstream) -> Connection {
    connection("github")
        .allow("GET /{$}")
        .allow("GET /user")
        .allow("POST /mcp")
        .http("allow_cookies", json!(true))
        .upstream_at(up, "/api/v3")
}

/// Sends a request with this `Host`.
fn ask(agent: &mut Agent, method: &str, host: &str, target: &str) -> Reply {
    agent.exchange(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    ))
}

/// Returns the names of a discovery document's connections.
fn listed(reply: &Reply) -> Vec<String> {
    let document = reply.expect_status(200).json();
    let connections = document["connections"].as_array().unwrap();
    let ids = connections.iter().map(|listed| listed["id"].as_str());
    ids.map(|id| id.unwrap().to_owned()).collect()
}

/// Starts egressd with a listener for every connection and, after it, with `listeners`.
fn with_listeners(connections: &[Connection], listeners: &Value) -> Sidecar {
    let (first, others) = connections.split_first().unwrap();
    let mut plan = Sidecar::with(first.clone());
    for connection in others {
        plan = plan.with_connection(connection.clone());
    }
    plan.setting("proxy.listeners", listeners.clone()).start()
}

/// Asserts that the references and cookies of a response are those of a connection at the root.
fn expect_root_references(reply: &Reply, up: &Upstream) {
    let authority = up.address();
    assert_eq!(
        reply.expect_status(302).fields.all("location"),
        ["/next?page=2"]
    );
    let outside = format!("https://{authority}/other");
    assert_eq!(reply.fields.all("content-location"), [outside]);
    assert_eq!(
        reply.fields.all("set-cookie"),
        ["a=b; Path=/repos", "c=d; Path=/", "e=f"]
    );
}

#[test]
fn a_host_of_an_id_addresses_the_connection_at_the_root() {
    let up = redirecting();
    let sidecar = Sidecar::with(github(&up))
        .with_connection(connection("crm").allow("/").upstream(&up))
        .start();
    let mut agent = Agent::connect(&sidecar);
    for host in [
        "github.localhost",
        "github.localhost:8080",
        "GitHub.LocalHost",
    ] {
        for (method, target) in [("GET", "/user?q=1"), ("GET", "/"), ("POST", "/mcp")] {
            let reply = ask(&mut agent, method, host, target);
            assert_eq!(reply.text(), format!("{method} /api/v3{target}"), "{host}");
            expect_root_references(&reply, &up);
        }
        // The whole path belongs to the connection, so no other one can be reached.
        let refused = ask(&mut agent, "GET", host, "/crm/x").refused(403, "route_not_allowed");
        assert_eq!(refused.connection.as_deref(), Some("github"), "{host}");
        let root = "Patterns are relative to `/`: the connection `github` is at the root";
        assert!(refused.detail.contains(root), "{}", refused.detail);
        ask(&mut agent, "GET", host, "/github/user").refused(403, "route_not_allowed");
        ask(&mut agent, "GET", host, "/a//b").refused(400, "path_not_canonical");
    }
    assert_eq!(up.requests().len(), 9);
    // Under the prefix, nothing changes.
    let reply = ask(&mut agent, "GET", "localhost", "/github/user");
    assert_eq!(reply.fields.all("location"), ["/github/next?page=2"]);
    assert_eq!(reply.fields.all("set-cookie")[0], "a=b; Path=/github/repos");
}

#[test]
fn names_below_localhost_that_are_no_ids_are_served_like_localhost() {
    let up = Upstream::echo();
    let gone = json!("2026-01-02T03:04:05Z");
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .with_connection(
            connection("gone")
                .allow("/")
                .upstream(&up)
                .with_field("delete_time", gone),
        )
        .start();
    let mut agent = Agent::connect(&sidecar);
    for host in [
        "nope.localhost",
        "gone.localhost",
        "a.crm.localhost",
        "crm.x.localhost:1",
        "localhost",
    ] {
        ask(&mut agent, "GET", host, "/crm/x").expect_status(200);
        assert_eq!(
            listed(&ask(&mut agent, "GET", host, "/")),
            ["crm"],
            "{host}"
        );
        ask(&mut agent, "GET", host, "/x").refused(404, "connection_not_found");
    }
    for foreign in ["crm.localhost.", "crm.localhost.example.com", "crm"] {
        ask(&mut agent, "GET", foreign, "/x").refused(421, "host_not_allowed");
    }
    assert_eq!(up.requests().len(), 5);
}

#[test]
fn a_disabled_connection_at_the_root_is_refused() {
    let up = Upstream::echo();
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let sidecar = Sidecar::with(
        connection("off")
            .allow("/")
            .upstream(&up)
            .with_field("tool_configurations", tools),
    )
    .start();
    let mut agent = Agent::connect(&sidecar);
    for target in ["/", "/x", "/a%2Fb"] {
        let refused = ask(&mut agent, "GET", "off.localhost", target);
        let refused = refused.refused(403, "connection_disabled");
        // `GET /` lists nothing here.
        assert!(!refused.detail.contains("GET /"), "{}", refused.detail);
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn an_encoded_slash_at_the_root_is_reported_where_the_agent_wrote_it() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    let mut detail = |host: &str, target: &str| {
        let refused = ask(&mut agent, "GET", host, target);
        refused.refused(400, "path_not_canonical").detail
    };
    assert_eq!(
        detail("crm.localhost", "/a/b%2Fc"),
        detail("localhost", "/crm/b%2Fc")
    );
    assert_eq!(
        detail("crm.localhost", "/a/%2F"),
        detail("localhost", "/crm/%2F")
    );
}

#[test]
fn browsers_are_refused_at_the_root_too() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    for sign in ["Origin: http://crm.localhost", "Sec-Fetch-Site: same-site"] {
        agent
            .exchange(format!(
                "GET /x HTTP/1.1\r\nHost: crm.localhost\r\n{sign}\r\n\r\n"
            ))
            .refused(403, "browser_request_refused");
    }
    assert_eq!(up.sockets(), 0);
}
