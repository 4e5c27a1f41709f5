//! `subscriptions/listen`: changes after a reload are announced.

use serde_json::{Value, json};

use super::client::{Client, OLDER};
use crate::support::message::text;
use crate::support::metrics::scrape_until_contains;
use crate::support::{Sidecar, connection};

fn listen() -> Value {
    json!({"notifications": {"toolsListChanged": true}})
}

/// Reads chunks until one contains a message with this method, which is returned.
fn next_message(client: &mut Client, method: &str) -> Value {
    loop {
        let chunk = client.agent.chunk().expect("the stream goes on");
        let data = text(&chunk);
        for line in data.lines().filter_map(|line| line.strip_prefix("data:")) {
            let message: Value = serde_json::from_str(line).unwrap();
            if message["method"] == method || (method.is_empty() && message["id"] == 7) {
                return message;
            }
        }
    }
}

#[test]
fn a_reload_is_announced_and_a_stop_ends_the_stream() {
    let with = |route: &str| connection("crm").allow(route).base_url("https://crm.test");
    let plan = Sidecar::with(with("GET /a"));
    let sidecar = plan.setting("shutdown.grace_period_seconds", 3600).start();
    let mut client = Client::connect(&sidecar);
    client.send("subscriptions/listen", listen());
    let reply = client.agent.open_reply();
    assert_eq!(reply.status, 200);
    let content_type = reply.fields.single_value("content-type");
    assert_eq!(content_type.as_deref(), Some("text/event-stream"));
    let begun = next_message(&mut client, "notifications/subscriptions/acknowledged");
    assert_eq!(begun["params"]["notifications"]["toolsListChanged"], true);
    // A subscription is not a request in flight.
    scrape_until_contains(sidecar.management(), "egressd_in_flight_requests 0");

    for route in ["GET /b", "GET /c"] {
        sidecar.reload(&[with(route)]).unwrap();
        next_message(&mut client, "notifications/tools/list_changed");
    }
    let stopping = sidecar.stop();
    next_message(&mut client, "");
    assert_eq!(client.agent.chunk().as_deref(), Some(&b""[..]));
    assert_eq!(stopping.join().unwrap(), 0);
}

#[test]
fn older_revisions_have_no_subscriptions() {
    let crm = connection("crm")
        .allow("GET /a")
        .base_url("https://crm.test");
    let sidecar = Sidecar::with(crm).start();
    let mut client = Client::with_revision(&sidecar, OLDER);
    let reply = client.post("subscriptions/listen", listen());
    assert_eq!(reply.json()["error"]["code"], -32601);
}
