//! Request lines, heads and body framing: what an agent may write, what it gets for the rest, and what of it goes up.

mod bodies;
mod heads;
mod unread;

use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// One connection `crm` that allows everything, in front of an echo.
fn world() -> (Upstream, Sidecar) {
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").header("X-Tenant-ID", "acme");
    let sidecar = Sidecar::with(crm.upstream(&up).bearer("t")).start();
    (up, sidecar)
}

/// Sends each request on a socket of its own, and claims its status, that the socket closes, and that nothing went up.
fn refused_and_closed(rows: &[(&str, u16)]) {
    let (up, sidecar) = world();
    for (bytes, status) in rows {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(bytes);
        assert_eq!(reply.status, *status, "{bytes:?} got {reply:?}");
        refusal_is_well_made(&reply);
        agent.expect_close();
        assert_eq!(up.sockets(), 0, "{bytes:?}");
    }
}

/// What the parser itself refuses has no body; everything else is a problem document.
fn refusal_is_well_made(reply: &Reply) {
    if !reply.body.is_empty() {
        reply.problem();
    }
}

/// A POST with these fields, and then `rest`.
fn post(fields: &str, rest: &str) -> String {
    format!("POST /crm/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{rest}")
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
