//! Reloads of a running sidecar: changed connections change, unchanged ones keep their state, and
//! an invalid configuration changes nothing.

mod faults;
mod generations;
mod in_flight;
mod reports;
mod watching;

use serde_json::json;

use crate::support::{
    Agent, Program, Sidecar, TokenEndpoint, Upstream, connection, scrape_until_contains,
};

#[test]
fn a_reload_changes_what_changed_and_keeps_the_rest() {
    let up = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let billing = connection("billing").allow("GET /a").upstream(&up);
    let sidecar = Sidecar::with(crm.clone())
        .with_connection(billing.clone())
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect_status(200);
    agent.get("/billing/a").expect_status(200);
    agent.get("/crm/b").expect_status(403);
    let sockets = up.sockets();

    let wider = crm.clone().allow("GET /b");
    let reloaded = sidecar.reload(&[wider, billing.clone()]).unwrap();
    assert_eq!((reloaded.generation, reloaded.connections), (2, 2));
    agent.get("/crm/b").expect_status(200);
    // A connection that did not change keeps its sockets.
    agent.get("/billing/a").expect_status(200);
    assert!(up.sockets() <= sockets + 1);

    let broken = crm.clone().base_url("http://plain.example");
    let problems = sidecar.reload(&[broken, billing.clone()]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    agent.get("/crm/b").expect_status(200);

    let reloaded = sidecar.reload(&[billing]).unwrap();
    assert_eq!((reloaded.generation, reloaded.connections), (3, 1));
    agent.get("/crm/a").expect_status(404);
    sidecar.reload(&[crm]).unwrap();
    agent.get("/crm/a").expect_status(200);
    agent.get("/billing/a").expect_status(404);
}

#[test]
fn a_change_of_descriptions_keeps_sockets_and_tokens() {
    let up = Upstream::body("ok");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let crm = |text: &str| {
        let route = json!({"route": "GET /a", "name": text, "description": text});
        let crm = connection("crm").allow_described(route).upstream(&up);
        let crm = crm.oauth(&endpoint).with_field("description", json!(text));
        crm.with_field("display_name", json!(text))
    };
    let sidecar = Sidecar::with(crm("first")).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect_status(200);
    let sockets = up.sockets();
    let tool = |agent: &mut Agent| {
        agent.get("/v1/connections/crm").json()["connection"]["tools"][0].take()
    };
    let mut operator = Agent::connect_to(sidecar.management());
    assert_eq!(tool(&mut operator)["slug"], "crm_first");

    sidecar.reload(&[crm("second")]).unwrap();

    agent.get("/crm/a").expect_status(200);
    assert_eq!(up.sockets(), sockets);
    assert_eq!(endpoint.calls(), 1);
    assert_eq!(tool(&mut operator)["description"], "second");
    let list = agent.get("/").expect_status(200).json();
    assert_eq!(
        list["connections"][0]["allowed_routes"][0]["name"],
        "second"
    );
    // Any other change closes the sockets, as before.
    sidecar
        .reload(&[crm("second").http("timeout_seconds", json!(7))])
        .unwrap();
    agent.get("/crm/a").expect_status(200);
    assert_eq!(up.sockets(), sockets + 1);
}

#[test]
fn sighup_reloads_and_logs_the_outcome() {
    let up = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let program = Program::new(std::slice::from_ref(&crm), &json!({}));
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.get("/crm/b").expect_status(403);

    // The files are watched too, so another reload may be logged in addition to the requested one.
    let changed = "live connections 1; changed crm (allowed_routes)";
    program.define(&crm.clone().allow("GET /b"));
    running.hang_up();
    running.wait_for_line(changed);
    agent.get("/crm/b").expect_status(200);
    let [good, bad] = [1, 0].map(|value| format!("\negressd_config_reload_success {value}\n"));
    scrape_until_contains(operators, &good);

    program.define(&crm.clone().base_url("http://plain.example"));
    running.hang_up();
    assert_eq!(
        running.wait_for_line("not reloaded: "),
        "1 problem, logged before; the current configuration stays in use"
    );
    let told = running.heard.join("\n");
    assert!(told.contains("connection_details.http.base_url"), "{told}");
    agent.get("/crm/b").expect_status(200);
    scrape_until_contains(operators, &bad);

    program.define(&crm);
    running.hang_up();
    running.wait_for_line(changed);
    agent.get("/crm/b").expect_status(403);
    scrape_until_contains(operators, &good);
    running.hang_up();
    running.wait_for_line("live connections 1; nothing changed");
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}
