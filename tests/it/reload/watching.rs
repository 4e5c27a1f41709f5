//! Changed files are found without a request, however they are changed, and each change is loaded
//! once.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use egressd::reload::ReloadWatcher;
use serde_json::{Value, json};

use crate::support::program::RunningProgram;
use crate::support::{Agent, PATIENCE, Program, Sidecar, Upstream, connection};

fn write_by_rename(program: &Program, name: &str, text: &str) {
    let next = program.path("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, program.path(name)).unwrap();
}

/// Starts a program with one connection whose token is in the file `secret`.
fn with_secret(up: &Upstream) -> Program {
    let crm = connection("crm").allow("GET /a").upstream(up);
    let crm = crm.auth("bearer_token", json!({"token": {"file": "../secret"}}));
    let program = Program::new(&[crm], &json!({}));
    fs::write(program.path("secret"), "planted-token-0\n").unwrap();
    program
}

fn token_sent(up: &Upstream) -> String {
    let last = up.requests().pop().unwrap();
    last.fields.single_value("authorization").unwrap()
}

#[test]
fn a_changed_secret_is_reloaded_however_it_is_written() {
    // F-174
    let up = Upstream::body("ok");
    let program = with_secret(&up);
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    let mut takes_up = |running: &mut RunningProgram, token: &str| {
        running.wait_for_line("changed crm (bearer_token)");
        agent.get("/crm/a").expect_status(200);
        assert_eq!(token_sent(&up), format!("Bearer {token}"));
    };
    fs::write(program.path("secret"), "planted-token-1\n").unwrap();
    takes_up(&mut running, "planted-token-1");
    write_by_rename(&program, "secret", "planted-token-2");
    takes_up(&mut running, "planted-token-2");
    fs::remove_file(program.path("secret")).unwrap();
    running.wait_for_line("not reloaded");
    fs::write(program.path("secret"), "planted-token-3").unwrap();
    takes_up(&mut running, "planted-token-3");
    // A link that is changed to another target, and then once more.
    for (directory, token) in [("one", "planted-token-4"), ("two", "planted-token-5")] {
        fs::create_dir(program.path(directory)).unwrap();
        fs::write(program.path(directory).join("secret"), token).unwrap();
    }
    symlink("one", program.path("current")).unwrap();
    symlink("current/secret", program.path("next")).unwrap();
    fs::rename(program.path("next"), program.path("secret")).unwrap();
    takes_up(&mut running, "planted-token-4");
    symlink("two", program.path("next")).unwrap();
    fs::rename(program.path("next"), program.path("current")).unwrap();
    takes_up(&mut running, "planted-token-5");
    // The target of the link.
    fs::write(program.path("two/secret"), "planted-token-6").unwrap();
    takes_up(&mut running, "planted-token-6");
}

#[test]
fn a_change_without_a_kernel_event_is_found_by_comparing() {
    // F-171
    let up = Upstream::body("ok");
    let program = with_secret(&up);
    fs::create_dir(program.path("outside")).unwrap();
    // Through another hard link of the file, so no event occurs in a watched directory.
    let other = program.path("outside/secret");
    fs::hard_link(program.path("secret"), &other).unwrap();
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    fs::write(&other, "planted-token-1").unwrap();
    running.wait_for_line("changed crm (bearer_token)");
    Agent::connect_to(agents).get("/crm/a").expect_status(200);
    assert_eq!(token_sent(&up), "Bearer planted-token-1");
}

#[test]
fn definitions_come_and_go_and_so_do_the_places_they_are_looked_for_in() {
    // F-177
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let erp = crm.clone().rename("erp");
    let program = Program::new(std::slice::from_ref(&crm), &json!({}));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    program.define(&erp);
    running.wait_for_line("live connections 2; added erp");
    agent.get("/erp/a").expect_status(200);
    fs::remove_file(program.path("connections/crm.json")).unwrap();
    running.wait_for_line("live connections 1; removed crm");
    agent.get("/crm/a").refused(404, "connection_not_found");
    agent.get("/erp/a").expect_status(200);

    let more = program.path("more");
    fs::create_dir(&more).unwrap();
    fs::write(more.join("crm.json"), crm.definition().to_string()).unwrap();
    let settings = fs::read_to_string(program.path("egressd.yaml")).unwrap();
    let mut settings: Value = serde_json::from_str(&settings).unwrap();
    settings["connections"] = json!(["connections", "more"]);
    write_by_rename(&program, "egressd.yaml", &settings.to_string());
    running.wait_for_line("live connections 2; added crm");
    agent.get("/crm/a").expect_status(200);
    // The new directory is watched like the old one.
    fs::write(
        more.join("crm.json"),
        crm.allow("GET /b").definition().to_string(),
    )
    .unwrap();
    running.wait_for_line("changed crm (allowed_routes)");
    agent.get("/crm/b").expect_status(200);
}

#[test]
fn a_change_between_load_and_watch_is_not_missed() {
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let sidecar = Sidecar::with(crm.clone()).start();
    let changed = crm.allow("GET /b").definition().to_string();
    fs::write(sidecar.path("connections/crm.json"), changed).unwrap();
    let (app, options) = sidecar.app();
    let sources = egressd::config::load(&options).ok().unwrap().sources;
    let watch = ReloadWatcher::new(&sources).unwrap();
    let _asking = watch.start(app.reload(options)).unwrap();
    let begun = Instant::now();
    let mut agent = Agent::connect(&sidecar);
    while agent.get("/crm/b").status != 200 {
        assert!(begun.elapsed() < PATIENCE, "the change was missed");
    }
}

/// Returns the numbers of open files and threads of a process.
fn kept(running: &RunningProgram) -> (usize, u64) {
    let held = running.resources();
    (held.descriptors, held.threads)
}

#[test]
fn hundreds_of_changes_per_second_are_loaded_together_and_the_last_one_wins() {
    // F-175
    const CHANGES: usize = 600;
    let up = Upstream::body("ok");
    let program = with_secret(&up);
    // A hardened process lets only root count its descriptors.
    let mut running = program.start(&["--hardening", "off"]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.get("/crm/a").expect_status(200);
    let before = kept(&running);
    let begun = Instant::now();
    for change in 1..=CHANGES {
        write_by_rename(&program, "secret", &format!("planted-token-{change}"));
    }
    fs::write(program.path("connections/done.json"), {
        let done = connection("done").allow("GET /a").upstream(&up);
        done.definition().to_string()
    })
    .unwrap();
    running.wait_for_line("; added done");
    let took = begun.elapsed();
    agent.get("/crm/a").expect_status(200);
    assert_eq!(token_sent(&up), format!("Bearer planted-token-{CHANGES}"));
    // The sockets of earlier generations are closed a moment later.
    let waiting = Instant::now();
    while kept(&running) != before {
        let now = kept(&running);
        assert!(waiting.elapsed() < PATIENCE, "{now:?}, before {before:?}");
    }
    let (_, _, heard) = running.stop_and_collect();
    let reloads = heard
        .iter()
        .filter(|line| line.contains("reloaded: generation"));
    // Two reloads are at least 200 ms apart.
    let most = took.as_millis() / 200 + 2;
    assert!((reloads.count() as u128) <= most, "{took:?} {heard:#?}");
}

#[test]
fn a_touched_file_reloads_nothing() {
    let up = Upstream::body("ok");
    let program = with_secret(&up);
    let mut running = program.start(&[]);
    running.addresses();
    for name in ["secret", "connections/crm.json", "egressd.yaml"] {
        let same = fs::read_to_string(program.path(name)).unwrap();
        write_by_rename(&program, name, &same);
    }
    fs::write(program.path("connections/.hidden.json"), "{").unwrap();
    fs::write(program.path("connections/notes.txt"), "{").unwrap();
    let (code, _, heard) = running.stop_and_collect();
    assert_eq!(code, Some(0));
    let told = heard.iter().any(|line| line.contains("reload"));
    assert!(!told, "{heard:#?}");
}
