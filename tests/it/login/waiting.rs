//! The end of the time that a person has.

use std::net::TcpStream;

use serde_json::json;

use super::client::split_link;
use super::world::LoginWorld;

#[test]
fn a_login_ends_after_its_timeout() {
    // F-337, F-339 (b): both wait for the shortest timeout at the same time.
    let [world, held_world] = [(); 2].map(|()| LoginWorld::new(&json!({})));
    let [mut login, mut held_login] =
        [&world, &held_world].map(|world| world.login(&["--timeout", "60"]));
    let link = login.wait_for_line("http://");
    let held_link = held_login.wait_for_line("http://");
    let (held_authority, _) = split_link(&held_link);
    let held: Vec<_> = (0..16)
        .map(|_| TcpStream::connect(held_authority).unwrap())
        .collect();
    let ended = login.end();
    let held_ended = held_login.end();
    drop(held);
    for (ended, world) in [(&ended, &world), (&held_ended, &held_world)] {
        assert_eq!(ended.exit, Some(1), "{ended:?}");
        assert!(ended.err.contains("timed out"), "{ended:?}");
        assert!(!world.file().exists());
        assert_eq!(world.provider.calls(), 0);
    }
    assert!(TcpStream::connect(split_link(&link).0).is_err());
    assert!(ended.err.contains("--timeout"), "{ended:?}");
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
