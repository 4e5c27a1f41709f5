//! The management API over the wire: its responses to operators, and that no request changes
//! anything.

mod connectors;
mod consent;
mod document;
mod paths;
mod resources;
mod secrets;
mod status;
mod tools;

use serde_json::Value;

use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar, Upstream};

/// An upstream with empty responses. An echo would contain the credential, and be refused.
fn quiet() -> Upstream {
    Upstream::answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
}

/// Sends `GET target` on a new socket.
fn ask(sidecar: &Sidecar, target: &str) -> Reply {
    Agent::connect_to(sidecar.management()).get(target)
}

/// Returns the JSON of a response with status 200.
fn read(sidecar: &Sidecar, target: &str) -> Value {
    let reply = ask(sidecar, target);
    plain(reply.expect_status(200));
    reply.json()
}

/// Returns the connection with this id.
fn connection_of(sidecar: &Sidecar, id: &str) -> Value {
    let mut answer = read(sidecar, &format!("/v1/connections/{id}"));
    answer["connection"].take()
}

/// Checks the headers of every JSON response.
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

/// Checks that the response is a complete error in the format of AIP-193, and returns its message.
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
