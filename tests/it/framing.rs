//! Request lines, heads and body framing: what is accepted, how the rest is refused, and what
//! reaches the upstream.

mod bodies;
mod heads;
mod parser;
mod unread;

use crate::support::{Agent, Sidecar, Upstream, connection};

/// A sidecar with one connection `crm`, which allows everything, to an upstream that echoes.
fn world() -> (Upstream, Sidecar) {
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").header("X-Tenant-ID", "acme");
    let sidecar = Sidecar::with(crm.upstream(&up).bearer("t")).start();
    (up, sidecar)
}

/// Sends each request on a socket of its own. Asserts the status, that the socket closes, and that
/// nothing reaches the upstream.
fn refused_and_closed(rows: &[(&str, u16)]) {
    let (up, sidecar) = world();
    for (bytes, status) in rows {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(bytes);
        assert_eq!(reply.status, *status, "{bytes:?} got {reply:?}");
        reply.problem();
        agent.expect_close();
        assert_eq!(up.sockets(), 0, "{bytes:?}");
    }
}

/// Returns a POST with these fields, followed by `rest`.
fn post(fields: &str, rest: &str) -> String {
    format!("POST /crm/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{rest}")
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
