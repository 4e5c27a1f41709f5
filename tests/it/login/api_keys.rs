//! API keys: the values that a definition reads from files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::process::{Process, run};
use crate::support::{Program, connection};

fn program(kind: &str, credential: Value) -> Program {
    let api = connection("api")
        .allow("GET /v1")
        .base_url("https://api.test")
        .auth(kind, credential);
    Program::new(&[api], &json!({}))
}

fn command(program: &Program, arguments: &[&str]) -> Command {
    program.other_command("login", &[arguments, &["api"]].concat())
}

#[test]
fn a_key_is_written_after_a_question() {
    // F-359 (b)
    let program = program(
        "bearer_token",
        json!({"token": {"file": "../secrets/api-token"}}),
    );
    let mut login = Process::on_terminal(&command(&program, &[]));
    login.reply("bearer_token.token:", "two\nlines");
    login.reply("bearer_token.token:", "planted-key");
    login.reply("[y/N]", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(!format!("{ended:?}").contains("planted-key"));
    let file = program.path("secrets/api-token");
    assert_eq!(fs::read(&file).unwrap(), b"planted-key");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file), 0o600);
    assert_eq!(mode(program.path("secrets")), 0o700);
}

#[test]
fn other_sources_and_kinds_are_usage_errors() {
    // F-359 (a)
    for (kind, credential, named) in [
        (
            "bearer_token",
            json!({"token": "inline-0123456789-secret"}),
            "bearer_token.token",
        ),
        (
            "bearer_token",
            json!({"token": {"env": "TOKEN"}}),
            "env:TOKEN",
        ),
        ("no_auth", json!({}), "no_auth"),
    ] {
        let program = program(kind, credential);
        let ended = Process::without_terminal(&command(&program, &["--yes"])).end();
        assert_eq!(ended.exit, Some(64), "{ended:?}");
        assert!(ended.err.contains(named), "{ended:?}");
    }
}

#[test]
fn the_flows_of_consents_are_not_for_keys() {
    let program = program("bearer_token", json!({"token": {"file": "../key"}}));
    for flow in [&["--device"][..], &["--paste"], &["--import", "-"]] {
        let arguments = [&["--yes"], flow].concat();
        let ended = Process::without_terminal(&command(&program, &arguments)).end();
        assert_eq!(ended.exit, Some(64), "{ended:?}");
        assert!(ended.err.contains("oauth_user_consent"), "{ended:?}");
    }
}

#[test]
fn an_existing_file_stays_if_it_is_not_replaced() {
    // F-359 (c)
    let credential = json!({"username": {"file": "../key/user"}, "password": {"file": "../key"}});
    let program = program("basic_auth", credential);
    fs::write(program.path("key"), "old").unwrap();
    let ended = Process::without_terminal(&command(&program, &["--yes"])).end();
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    assert_eq!(fs::read(program.path("key")).unwrap(), b"old");
}

#[test]
fn a_logout_names_the_file_of_a_key() {
    let token = json!({"token": {"file": "../secrets/api-token"}});
    let program = program("bearer_token", token);
    fs::create_dir_all(program.path("secrets")).unwrap();
    fs::write(program.path("secrets/api-token"), "planted-key").unwrap();
    let ended = run(&mut program.other_command("logout", &["api"]));
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    assert!(ended.err.contains("secrets/api-token`"), "{ended:?}");
    assert!(
        ended.err.contains("revoke it on the provider's page"),
        "{ended:?}"
    );
    assert!(!ended.err.contains("planted-key"), "{ended:?}");
}
