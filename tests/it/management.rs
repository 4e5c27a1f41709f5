//! The management API from outside: what operators read, and that nobody changes anything.

mod document;
mod paths;
mod resources;
mod secrets;
mod status;
mod tools;

use serde_json::Value;

use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar, Upstream};

/// An upstream that gives nothing back: an echo of a credential would be refused.
fn quiet() -> Upstream {
    Upstream::answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
}

/// `GET target`, on a socket of its own.
fn ask(sidecar: &Sidecar, target: &str) -> Reply {
    Agent::connect_to(sidecar.management()).get(target)
}

/// The JSON of a good answer.
fn read(sidecar: &Sidecar, target: &str) -> Value {
    let reply = ask(sidecar, target);
    plain(reply.expect_status(200));
    reply.json()
}

/// The connection of this id.
fn connection_of(sidecar: &Sidecar, id: &str) -> Value {
    let mut answer = read(sidecar, &format!("/v1/connections/{id}"));
    answer["connection"].take()
}

/// What every JSON answer carries.
fn plain(reply: &Reply) {
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(
            reply.fields.single_value(name).as_deref(),
            Some(value),
            "{reply:?}"
        );
    }
}

/// Claims that the answer is an error after AIP-193 that is well made: its message.
fn refused(reply: &Reply, status: u16, name: &str) -> String {
    plain(reply.expect_status(status));
    let document = reply.json();
    let error = document["error"].as_object().expect("an error");
    assert_eq!(document.as_object().map(|members| members.len()), Some(1));
    assert_eq!(error["code"], status, "{document}");
    assert_eq!(error["status"], name, "{document}");
    assert!(error["details"].is_array(), "{document}");
    let message = error["message"].as_str().expect("a message");
    assert!((1..=512).contains(&message.len()), "{document}");
    message.to_owned()
}
