//! Invalid files: the last good generation stays in use, the problems are logged once, and the
//! reload succeeds when the files are valid again.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::support::connection::Connection;
use crate::support::{Agent, Program, Sidecar, Upstream, connection, scrape_until_contains};

#[test]
fn a_torn_file_changes_nothing_until_it_is_whole() {
    // F-170
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let of_file = json!({"token": {"file": "../secret"}});
    let erp = connection("erp").allow("GET /a").upstream(&up);
    let erp = erp.auth("bearer_token", of_file);
    let program = Program::new(&[crm, erp], &json!({}));
    fs::write(program.path("secret"), "planted-token-0123456789").unwrap();
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    for name in ["connections/crm.json", "secret", "egressd.yaml"] {
        let whole = fs::read_to_string(program.path(name)).unwrap();
        // A secret that is cut anywhere is still a valid secret.
        let cuts: &[usize] = match name {
            "secret" => &[0],
            _ => &[whole.len() - 1, whole.len() / 2, 1, 0],
        };
        for cut in cuts {
            fs::write(program.path(name), &whole.as_bytes()[..*cut]).unwrap();
            running.wait_for_line("not reloaded: ");
            agent.get("/crm/a").expect_status(200);
            agent.get("/erp/a").expect_status(200);
            scrape_until_contains(operators, "\negressd_config_reload_success 0\n");
        }
        fs::write(program.path(name), &whole).unwrap();
        running.wait_for_line("; nothing changed");
        scrape_until_contains(operators, "\negressd_config_reload_success 1\n");
    }
}

#[test]
fn a_file_that_vanishes_or_becomes_something_else_keeps_the_configuration() {
    // F-172
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let crm = crm.auth("bearer_token", json!({"token": {"file": "../secret"}}));
    let program = Program::new(&[crm], &json!({}));
    let (secret, folder) = (program.path("secret"), program.path("connections"));
    let aside = program.path("aside");
    fs::write(&secret, "planted-token-0123456789").unwrap();
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    let mut failed = |running: &mut crate::support::program::RunningProgram| {
        running.wait_for_line("not reloaded: 1 problem");
        agent.get("/crm/a").expect_status(200);
    };
    fs::remove_file(&secret).unwrap();
    failed(&mut running);
    fs::create_dir(&secret).unwrap();
    failed(&mut running);
    fs::remove_dir(&secret).unwrap();
    failed(&mut running);
    let socket = UnixListener::bind(&secret).unwrap();
    failed(&mut running);
    drop(socket);
    fs::remove_file(&secret).unwrap();
    fs::write(&secret, "planted-token-0123456789").unwrap();
    running.wait_for_line("; nothing changed");

    fs::rename(&folder, &aside).unwrap();
    failed(&mut running);
    fs::write(&folder, "").unwrap();
    failed(&mut running);
    fs::remove_file(&folder).unwrap();
    failed(&mut running);
    fs::rename(&aside, &folder).unwrap();
    running.wait_for_line("; nothing changed");
}

#[test]
fn one_bad_connection_among_fifty_keeps_all_fifty() {
    // F-173
    let up = Upstream::body("ok");
    let fifty = |route: &str| -> Vec<Connection> {
        let each = |number| connection(&format!("c{number}")).allow(route).upstream(&up);
        (0..50).map(each).collect()
    };
    let mut plan = Sidecar::with(connection("first").allow("/").upstream(&up));
    for one in fifty("GET /a") {
        plan = plan.with_connection(one);
    }
    let sidecar = plan.start();
    let mut agent = Agent::connect(&sidecar);
    let mut next = fifty("GET /b");
    next[37] = next[37].clone().base_url("http://plain.example");
    let problems = sidecar.reload(&next).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    agent.get("/first/").expect_status(200);
    for id in 0..50 {
        agent.get(&format!("/c{id}/a")).expect_status(200);
        agent
            .get(&format!("/c{id}/b"))
            .refused(403, "route_not_allowed");
    }
    let reloaded = sidecar.reload(&fifty("GET /b")).unwrap();
    assert_eq!((reloaded.generation, reloaded.connections), (2, 50));
    agent.get("/c37/b").expect_status(200);
    agent.get("/c37/a").refused(403, "route_not_allowed");
}

#[test]
fn the_same_problems_are_logged_once() {
    // F-170
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let program = Program::new(std::slice::from_ref(&crm), &json!({}));
    let mut running = program.start(&[]);
    running.addresses();
    program.define(&crm.clone().base_url("http://plain.example"));
    running.wait_for_line("not reloaded");
    // Different bytes, but the same problem.
    program.define(
        &crm.clone()
            .base_url("http://plain.example")
            .header("X-A", "1"),
    );
    fs::write(program.path("connections/other.json"), {
        let other = crm.clone().rename("other").base_url("http://plain.example");
        other.definition().to_string()
    })
    .unwrap();
    running.wait_for_line("not reloaded: 2 problems");
    fs::remove_file(program.path("connections/other.json")).unwrap();
    running.wait_for_line("not reloaded: 1 problem");
    program.define(&crm.allow("GET /b"));
    running.wait_for_line("changed crm (allowed_routes)");
    let (_, _, heard) = running.stop_and_collect();
    let told = heard.iter().filter(|line| line.contains("not reloaded"));
    assert_eq!(told.count(), 3, "{heard:#?}");
}
