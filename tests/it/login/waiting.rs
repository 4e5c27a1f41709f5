//! The end of the time that a person has.

use std::net::TcpStream;

use serde_json::json;

use super::client::split_link;
use super::world::LoginWorld;

#[test]
fn a_login_ends_after_its_timeout() {
    // F-337, F-338, F-339 (b): all wait for the shortest timeout at the same time.
    let fields = [json!({}), json!({}), json!({"issuer": "https://as.test"})];
    let [world, held_world, issuer_world] = fields.map(|fields| LoginWorld::new(&fields));
    let worlds = [&world, &held_world, &issuer_world];
    let [mut login, mut held_login, mut issuer_login] =
        worlds.map(|world| world.login(&["--timeout", "60"]));
    let wrong_issuer = issuer_login.open();
    assert_eq!(wrong_issuer.call_back("code=c&iss=https://as.test/"), 400);
    let link = login.wait_for_line("/start/");
    let held_link = held_login.wait_for_line("/start/");
    let (held_authority, _) = split_link(&held_link);
    let held: Vec<_> = (0..16)
        .map(|_| TcpStream::connect(held_authority).unwrap())
        .collect();
    let ended = login.end();
    let held_ended = held_login.end();
    drop(held);
    let issuer_ended = issuer_login.end();
    for (ended, world) in [&ended, &held_ended, &issuer_ended].into_iter().zip(worlds) {
        assert_eq!(ended.exit, Some(1), "{ended:?}");
        assert!(ended.err.contains("timed out"), "{ended:?}");
        assert!(!world.file().exists());
        assert_eq!(world.provider.calls(), 0);
    }
    assert!(TcpStream::connect(split_link(&link).0).is_err());
    assert!(ended.err.contains("--timeout"), "{ended:?}");
    let callback = format!("with `http://{}/callback`", split_link(&link).0);
    assert!(ended.err.contains(&callback), "{ended:?}");
    let message = issuer_ended.err.lines().last().unwrap();
    assert!(message.contains("timed out; the answer"), "{message}");
    assert!(message.contains("correct `issuer`"), "{message}");
    assert!(held_ended.err.contains("use --paste"), "{held_ended:?}");
}

#[test]
fn a_login_that_waits_leaves_no_core_file() {
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    login.open();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", login.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let values: Vec<_> = core.unwrap().split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"]);
    login.interrupt();
}
