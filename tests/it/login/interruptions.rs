//! Signals at the moments at which they matter.

use std::fs;
use std::io::pipe;

use rustix::process::Signal;
use serde_json::json;

use super::process::{Process, wait_for_file};
use super::world::{LoginWorld, answer};
use crate::support::Gate;

#[test]
fn a_signal_after_the_grant_was_stored_changes_nothing() {
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    assert_eq!(login.open().call_back("code=the-code"), 303);
    login.reply("Store this grant?", "y");
    wait_for_file(&world.file());
    // The page after the callback is still served.
    login.signal(Signal::INT);
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.out.contains("stored the grant"), "{ended:?}");
    assert!(!ended.err.contains("interrupted"), "{ended:?}");
}

#[test]
fn a_signal_does_not_lose_a_refresh_token_that_is_being_spent() {
    let gate = Gate::new();
    let _opened = gate.open_on_drop();
    let held = gate.clone();
    let world = LoginWorld::with_provider(&json!({}), move |_| answer(&json!({})).once_open(&held));
    let import = world.program.path("import.json");
    fs::write(&import, r#"{"refresh_token": "refresh-0"}"#).unwrap();
    let arguments = ["--yes", "--import", import.to_str().unwrap(), "api"];
    let login = Process::without_terminal(&world.command("login", &arguments));
    world.provider.wait_for_calls(1);
    login.signal(Signal::TERM);
    gate.open();
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.stored()["refresh_token"], "refresh-1");
}

#[test]
fn a_signal_ends_a_process_that_reads_standard_input() {
    // F-339 (c)
    let world = LoginWorld::new(&json!({}));
    let (input, input_end) = pipe().unwrap();
    let command = world.command("login", &["--yes", "--paste", "api"]);
    let mut login = Process::with_input(&command, input);
    login.wait_for_line("the browser then ends at an address");
    login.interrupt();
    drop(input_end);
}
