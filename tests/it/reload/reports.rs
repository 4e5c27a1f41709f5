//! Reports of a reload to the log, to scrapers and to probes: names and numbers, never a value.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::program::RunningProgram;
use crate::support::{Agent, Program, Upstream, connection, scrape_until_contains};

const OLD: &str = "planted-token-old-0123456789";
const NEW: &str = "planted-token-new-0123456789";

/// Waits until this generation is in use, and returns its hash.
fn in_use(operators: SocketAddr, generation: u64) -> String {
    let number = format!("\negressd_config_generation {generation}\n");
    let metrics = scrape_until_contains(operators, &number);
    let words = "\negressd_config_info{hash=\"";
    let (_, rest) = metrics.split_once(words).expect(words);
    rest.split('"').next().unwrap().to_owned()
}

fn last_event(running: &RunningProgram) -> Value {
    serde_json::from_str(running.heard.last().unwrap()).unwrap()
}

#[test]
fn a_successful_reload_logs_its_number_its_hash_and_the_names_of_its_changes() {
    // F-179
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let crm = crm.auth("bearer_token", json!({"token": {"file": "../secret"}}));
    let crm = crm.header("X-Planted", "planted-header-value");
    let erp = connection("erp").allow("GET /a").upstream(&up);
    let program = Program::new(&[crm.clone(), erp], &json!({}));
    fs::write(program.path("secret"), OLD).unwrap();
    let mut running = program.start(&["--log-format", "json"]);
    let (_, operators) = running.addresses();
    let first = in_use(operators, 1);
    assert_eq!(first.len(), 12);
    assert!(first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");

    // A secret is not part of the hash, because readers of the hash could check guesses.
    fs::write(program.path("secret"), NEW).unwrap();
    running.wait_for_line("reloaded: generation 2");
    let event = last_event(&running);
    assert_eq!(event["changed"], json!(["crm: bearer_token"]));
    assert_eq!(event["hash"], json!(first));
    assert_eq!(in_use(operators, 2), first);

    program.define(
        &crm.clone()
            .allow("GET /b")
            .http("timeout_seconds", json!(7))
            .http("max_concurrent_requests", json!(3)),
    );
    running.wait_for_line("reloaded: generation 3");
    let event = last_event(&running);
    assert_eq!(event["event"], "reloaded");
    assert_eq!(
        (&event["added"], &event["removed"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(
        event["changed"],
        json!(["crm: timeout_seconds, max_concurrent_requests, allowed_routes"])
    );
    let second = in_use(operators, 3);
    assert_ne!(second, first);
    assert_eq!(event["hash"], json!(second));
    let ready = Agent::connect_to(operators).get("/readyz?verbose").text();
    let fact = format!("[i]configuration: hash {second}, since 20");
    assert!(ready.contains(&fact), "{ready}");
    assert!(!ready.contains("found problems"), "{ready}");

    // The same definitions have the same hash, whatever was loaded in between.
    program.define(&crm);
    running.wait_for_line("changed crm");
    assert_eq!(in_use(operators, 4), first);

    fs::write(program.path("secret"), "").unwrap();
    running.wait_for_line("not reloaded");
    let ready = Agent::connect_to(operators).get("/readyz?verbose").text();
    assert!(ready.contains("; the last reload failed"), "{ready}");
    let failed = scrape_until_contains(operators, "\negressd_config_reload_success 0\n");
    let kept = failed.contains("\negressd_config_generation 4\n");
    assert!(kept, "{failed}");
    let said = failed + &ready + &running.stop_and_collect().2.concat();
    for planted in [OLD, NEW, "planted-header-value"] {
        assert!(!said.contains(planted), "{said}");
    }
}

#[test]
fn settings_that_need_a_restart_are_named_once() {
    // F-178
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let program = Program::new(std::slice::from_ref(&crm), &json!({}));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let text = fs::read_to_string(program.path("egressd.yaml")).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    let mut write = |section: &str, value: Value| {
        settings[section] = value;
        fs::write(program.path("egressd.yaml"), settings.to_string()).unwrap();
    };
    write(
        "proxy",
        json!({"listen": ["127.0.0.1:1"], "max_in_flight": 7}),
    );
    let without_effect = "changed settings take effect only after a restart: ";
    assert_eq!(
        running.wait_for_line(without_effect),
        "proxy.listen, proxy.max_in_flight"
    );
    Agent::connect_to(agents).get("/crm/a").expect_status(200);
    program.define(&crm.clone().allow("GET /b"));
    running.wait_for_line("changed crm (allowed_routes)");
    write("log", json!({"level": "debug"}));
    assert_eq!(
        running.wait_for_line(without_effect),
        "proxy.listen, proxy.max_in_flight, log.level"
    );
    write("log", json!({}));
    assert_eq!(
        running.wait_for_line(without_effect),
        "proxy.listen, proxy.max_in_flight"
    );
    fs::write(program.path("egressd.yaml"), text).unwrap();
    running.wait_for_line("; nothing changed");
    program.define(&crm);
    running.wait_for_line("changed crm (allowed_routes)");
    let (_, _, heard) = running.stop_and_collect();
    let told = heard.iter().filter(|line| line.contains(without_effect));
    assert_eq!(told.count(), 3, "{heard:#?}");
}

#[test]
fn a_rotated_management_password_applies_at_once_and_a_removed_one_stays_required() {
    // F-174, F-178
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let login = json!({"username": "ops", "password": {"file": "password"}});
    let management = json!({"listen": ["127.0.0.1:0"], "basic_auth": login});
    let program = Program::new(&[crm], &json!({"management": management}));
    fs::write(program.path("password"), OLD).unwrap();
    let mut running = program.start(&[]);
    let (_, operators) = running.addresses();
    let status = |password: &str| {
        let mut operator = Agent::connect_to(operators);
        let headers = [("x-api-key", password)];
        operator
            .request("GET", "/v1/connections", &headers, b"")
            .status
    };
    assert_eq!((status(OLD), status(NEW)), (200, 401));
    fs::write(program.path("password"), NEW).unwrap();
    running.wait_for_line("management credentials replaced");
    running.wait_for_line("; nothing changed");
    assert_eq!((status(OLD), status(NEW)), (401, 200));

    // A login that was required at the start stays required.
    let text = fs::read_to_string(program.path("egressd.yaml")).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    settings["management"] = json!({"listen": ["127.0.0.1:0"]});
    fs::write(program.path("egressd.yaml"), settings.to_string()).unwrap();
    assert_eq!(
        running.wait_for_line("changed settings take effect only after a restart: "),
        "management.basic_auth"
    );
    assert_eq!((status(OLD), status(NEW)), (401, 200));
    let mut nobody = Agent::connect_to(operators);
    nobody.get("/v1/connections").expect_status(401);
}
