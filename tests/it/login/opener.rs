//! The program that opens a browser: its command line and its environment.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::{navigate, split_link};
use super::process::{Process, wait_for_file};
use super::world::LoginWorld;
use crate::support::connection;

/// Writes a program that records its arguments, one on each line, and then its environment.
fn recorder(world: &LoginWorld, name: &str) -> PathBuf {
    let program = world.program.path(name);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    let record = world.program.path("record");
    let record = record.display();
    let text = format!(
        "#!/bin/sh\n{{ printf '%s\\n' \"$@\" --; env; }} >{record}.next && mv {record}.next {record}\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Finishes the login with the link in the recorded command line. Returns the recorded environment.
fn finish(mut login: Process, record: &Path, before: &[&str]) -> String {
    let recorded = wait_for_file(record);
    let (arguments, environment) = recorded.split_once("--\n").unwrap();
    let arguments: Vec<&str> = arguments.lines().collect();
    let (link, others) = arguments.split_last().unwrap();
    assert_eq!(others, before);
    let (authority, start) = split_link(link);
    assert_eq!(navigate(authority, start, "").status, 302);
    login.wait_for_line("a browser opens; if it does not, open this link:");
    assert_eq!(login.wait_for_line("/start/"), *link);
    login.interrupt();
    environment.to_owned()
}

#[test]
fn the_browser_gets_the_start_link_and_no_secret() {
    let secret = json!({"env": "LOGIN_CLIENT_SECRET"});
    let world = LoginWorld::new(&json!({"client_secret": secret}));
    // Variables of a definition with problems are hidden as well.
    let other = connection("other")
        .allow("GET /")
        .http("base_url", json!(7));
    world
        .program
        .define(&other.auth("bearer_token", json!({"token": {"env": "OTHER_TOKEN"}})));
    let browser = recorder(&world, "browser");
    let mut command = world.command("login", &["api"]);
    command
        .env(
            "BROWSER",
            format!("/missing/program:{} --new-tab", browser.display()),
        )
        .env("LOGIN_CLIENT_SECRET", "planted-client-secret")
        .env("OTHER_TOKEN", "planted-token")
        .env("EGRESSD_LOG_LEVEL", "warn")
        .env("KEPT", "kept");
    let login = Process::on_terminal(&command);
    let environment = finish(login, &world.program.path("record"), &["--new-tab"]);
    assert!(environment.contains("KEPT=kept"), "{environment}");
    for hidden in ["planted", "LOGIN_CLIENT_SECRET", "OTHER_TOKEN", "EGRESSD_"] {
        assert!(!environment.contains(hidden), "{environment}");
    }
}

#[test]
fn without_a_variable_the_desktop_opens_the_link() {
    let world = LoginWorld::new(&json!({}));
    let program = recorder(&world, "bin/xdg-open");
    let path = std::env::var("PATH").unwrap();
    let mut command = world.command("login", &["api"]);
    let bin = program.parent().unwrap().display();
    command.env("PATH", format!("{bin}:{path}"));
    let login = Process::on_terminal(&command);
    finish(login, &world.program.path("record"), &[]);
}

#[test]
fn without_questions_no_program_gets_the_link() {
    // F-336: with --yes, no person would see the account of a program that opens the link first.
    let world = LoginWorld::new(&json!({}));
    let browser = recorder(&world, "browser");
    let mut command = world.command("login", &["--yes", "api"]);
    command.env("BROWSER", &browser);
    let mut login = Process::without_terminal(&command);
    assert_eq!(login.open().call_back("code=the-code"), 303);
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(!world.program.path("record").exists());
    assert!(!world.program.path("record.next").exists());
}
