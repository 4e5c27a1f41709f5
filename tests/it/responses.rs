//! Responses of hostile or broken upstreams: the agent's view of them. A broken response never
//! looks complete.

mod bodies;
mod early;
mod early_http2;
mod heads;
mod reuse;
mod sockets;

use serde_json::json;

use crate::support::message::text;
use crate::support::reply::{Ending, Reply};
use crate::support::{Agent, Sidecar, Upstream, connection};

/// Starts a sidecar with one connection `crm` to `up` and a cap of 1000 bytes.
fn before(up: &Upstream) -> Sidecar {
    let crm = connection("crm").allow("/").upstream(up);
    Sidecar::with(crm.http("max_response_size_bytes", json!(1000))).start()
}

/// Returns the reply of an upstream that sends these bytes on each socket and closes it.
fn answer_to(bytes: impl AsRef<[u8]>) -> Reply {
    let up = Upstream::reply_then_close(bytes);
    let sidecar = before(&up);
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(
        up.requests().len(),
        1,
        "the request of a response that has begun was repeated"
    );
    reply
}

/// Checks that each of these responses causes a refusal with this code and RFC 9209 error type.
fn assert_all_refused(rows: &[&[u8]], code: &str, error: &str) {
    for bytes in rows {
        let reply = answer_to(bytes);
        assert_eq!(reply.status, 502, "{:?} got {reply:?}", text(bytes));
        let problem = reply.refused(502, code);
        assert_eq!(problem.error, error, "{:?}", text(bytes));
        assert_eq!(problem.blame, "upstream");
        assert_eq!(problem.connection.as_deref(), Some("crm"));
    }
}

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

const PROTOCOL: &str = "upstream_protocol_error";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Checks that a reply was aborted, or is a refusal because its head was not sent yet.
fn assert_not_whole(reply: &Reply, code: &str, row: &str) {
    if reply.status == 200 {
        assert_eq!(reply.ending, Ending::Aborted, "{row:?} got {reply:?}");
        assert!(reply.body.len() <= 1000, "{row:?}");
    } else {
        reply.refused(502, code);
    }
}
