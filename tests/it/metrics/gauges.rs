//! Values that are sampled at the moment of a scrape: open exchanges and sockets, tokens, and the
//! configuration.

use serde_json::json;

use super::{Scrape, text};
use crate::support::h2_echo::H2Echo;
use crate::support::{Agent, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

const GET: &str = "GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn exchanges_and_sockets_while_they_are_open() {
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let before = Scrape::fetch(&sidecar);
    assert_eq!(before.value("egressd_agent_sockets"), 0.0);
    let mut agents = [Agent::connect(&sidecar), Agent::connect(&sidecar)];
    for agent in &mut agents {
        agent.send(GET);
        agent.wait_for("first");
    }
    let during = Scrape::until(&sidecar, "under way", |scrape| {
        scrape.value("egressd_in_flight_requests") == 2.0
    });
    assert_eq!(during.value("egressd_agent_sockets"), 2.0);
    assert_eq!(during.sockets("crm"), (2.0, 0.0));
    gate.open();
    for agent in &mut agents {
        assert_eq!(agent.reply().status, 200);
    }
    // The script of the upstream has ended: its sockets are pooled, and the sweep removes them.
    Scrape::until(&sidecar, "closed", |scrape| {
        scrape.value("egressd_in_flight_requests") == 0.0 && scrape.sockets("crm") == (0.0, 0.0)
    });
    drop(agents);
    Scrape::until(&sidecar, "left", |scrape| {
        scrape.value("egressd_agent_sockets") == 0.0
    });
}

#[test]
fn a_pooled_socket_is_idle_and_is_used_again() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    for n in 1..=3 {
        agent.get("/crm/x").expect_status(200);
        let scrape = Scrape::after(&sidecar, n);
        assert_eq!(scrape.sockets("crm"), (0.0, 1.0));
    }
    assert_eq!(up.sockets(), 1);
    drop(up);
    Scrape::until(&sidecar, "swept", |scrape| {
        scrape.sockets("crm") == (0.0, 0.0)
    });
}

#[test]
fn a_session_of_http2_is_one_socket() {
    let up = H2Echo::start();
    let url = format!("https://{}", up.address);
    let sidecar = Sidecar::with(connection("crm").allow("/").base_url(&url)).start();
    let mut agent = Agent::connect(&sidecar);
    for n in 1..=2 {
        agent.get("/crm/x").expect_status(200);
        let scrape = Scrape::after(&sidecar, n);
        assert_eq!(scrape.sockets("crm"), (0.0, 1.0));
    }
    // An incomplete body keeps its stream open.
    agent.send("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab");
    Scrape::until(&sidecar, "active", |scrape| {
        scrape.sockets("crm") == (1.0, 0.0)
    });
    agent.send("c");
    assert_eq!(agent.reply().status, 200);
    let scrape = Scrape::after(&sidecar, 3);
    assert_eq!(scrape.sockets("crm"), (0.0, 1.0));
    agent.send("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab");
    Scrape::until(&sidecar, "active", |scrape| {
        scrape.sockets("crm") == (1.0, 0.0)
    });
    agent.reset();
    let scrape = Scrape::after(&sidecar, 4);
    assert_eq!(
        scrape.sockets("crm"),
        (0.0, 1.0),
        "the stream was reset, and the session stays open"
    );
    drop(up);
    Scrape::until(&sidecar, "ended", |scrape| {
        scrape.sockets("crm") == (0.0, 0.0)
    });
}

#[test]
fn the_number_of_connections_and_the_state_of_the_configuration() {
    let up = Upstream::echo();
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let to = |id: &str| connection(id).allow("/").upstream(&up);
    let sidecar = Sidecar::with(to("crm"))
        .with_connection(to("off").with_field("tool_configurations", tools))
        .with_connection(to("gone").with_field("delete_time", json!("2026-01-02T03:04:05Z")))
        .start();
    let scrape = Scrape::fetch(&sidecar);
    assert_eq!(scrape.value("egressd_connections"), 2.0);
    assert_eq!(scrape.value("egressd_config_reload_success"), 1.0);
    let year_2020 = 1_577_836_800.0;
    assert!(scrape.value("egressd_config_reload_timestamp_seconds") > year_2020);
}

#[test]
fn token_requests_and_the_life_of_a_token() {
    let up = Upstream::body("hello");
    let tokens = TokenEndpoint::script([TokenAnswer::bearer_expiring_in(
        "a-token-of-some-length",
        3600,
    )]);
    let broken = TokenEndpoint::script([TokenAnswer::error("400 Bad Request", "invalid_client")]);
    let to = |id: &str| connection(id).allow("/").upstream(&up);
    let sidecar = Sidecar::with(to("crm").oauth(&tokens))
        .with_connection(to("erp").oauth(&broken))
        .with_connection(to("open"))
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").expect_status(200);
    agent.get("/erp/x").refused(502, "credential_unavailable");
    let scrape = Scrape::after(&sidecar, 2);
    let asked = |id: &str, result: &str| {
        let labels = [("connection", id), ("result", result)];
        scrape
            .find("egressd_oauth_token_requests_total", &labels)
            .iter()
            .map(|(_, n)| *n)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (asked("crm", "ok"), asked("crm", "error")),
        (vec![1.0], vec![0.0])
    );
    assert_eq!(asked("erp", "ok"), [0.0]);
    assert!(asked("erp", "error")[0] >= 1.0);
    assert!(asked("open", "ok").is_empty());
    let expiry = "egressd_oauth_token_expiry_timestamp_seconds";
    let expires = scrape.find(expiry, &[]);
    assert_eq!(expires.len(), 1, "{expires:?}");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let left = scrape.value(&format!("{expiry}{{connection=\"crm\"}}")) - now.as_secs_f64();
    assert!((60.0..=3601.0).contains(&left), "{left}");
}

#[test]
fn signed_requests_that_were_sent() {
    let up = Upstream::echo();
    let to = |id: &str| {
        let signing = connection(id).allow("/").upstream(&up);
        // The upstream sends the signature back.
        let signing = signing.http("reflection_guard", json!(false));
        signing.http(
            "webhook_signing_secret",
            json!("a signing secret of some length"),
        )
    };
    let nowhere = to("nowhere").base_url("https://127.0.0.1:1");
    let sidecar = Sidecar::with(to("crm")).with_connection(nowhere).start();
    let mut agent = Agent::connect(&sidecar);
    agent
        .request("POST", "/crm/x", &[], b"body")
        .expect_status(200);
    agent.get("/crm/x").expect_status(200);
    agent
        .request("POST", "/nowhere/x", &[], b"body")
        .refused(502, "upstream_unreachable");
    let scrape = Scrape::after(&sidecar, 3);
    let signed = scrape.find("egressd_signed_requests_total", &[]);
    assert_eq!(
        signed,
        [("egressd_signed_requests_total{connection=\"crm\"}", 1.0)]
    );
}

#[test]
fn the_build_and_the_process() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let scrape = Scrape::fetch(&sidecar);
    let build = concat!(
        "egressd_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    );
    assert_eq!(scrape.value(build), 1.0);
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(scrape.value(name) > 0.0, "{name}");
    }
    assert!(text(&sidecar).ends_with('\n'));
}
