//! TLS sessions with upstreams: the sockets of one connection resume them, also after a reload, and
//! other connections never do.

use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// Answers one request on each socket with the kind of its TLS handshake.
fn upstream() -> Upstream {
    Upstream::script(|wire| {
        if wire.request().is_some() {
            let kind = if wire.is_resumed() { "resumed" } else { "full" };
            let length = kind.len();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{kind}"
            ));
        }
    })
}

fn crm(up: &Upstream, token: &str) -> Connection {
    connection("crm").allow("GET /a").upstream(up).bearer(token)
}

/// Sends a request on a socket of its own. Returns the kind of the TLS handshake.
fn handshake_kind(sidecar: &Sidecar, target: &str) -> String {
    let reply = Agent::connect(sidecar).get(target);
    reply.expect_status(200);
    reply.text().to_owned()
}

#[test]
fn sockets_of_a_process_with_two_workers_resume_the_sessions_of_their_connection() {
    // The kernel assigns each agent socket to one of the two workers.
    const SOCKETS: usize = 24;
    let up = upstream();
    let plan = Sidecar::with(crm(&up, "planted-token-1")).setting("proxy.workers", 2);
    let sidecar = plan.start();
    let kinds: Vec<_> = (0..SOCKETS)
        .map(|_| handshake_kind(&sidecar, "/crm/a"))
        .collect();
    assert_eq!(kinds[0], "full");
    let resumed = kinds.iter().filter(|kind| *kind == "resumed").count();
    assert_eq!(resumed, SOCKETS - 1, "{kinds:?}");
    assert_eq!(up.sockets(), SOCKETS);
}

#[test]
fn a_reload_keeps_the_sessions_of_the_connections_that_did_not_change() {
    let up = upstream();
    let sidecar = Sidecar::with(crm(&up, "planted-token-1")).start();
    let erp = || connection("erp").allow("GET /a").upstream(&up);
    assert_eq!(handshake_kind(&sidecar, "/crm/a"), "full");
    sidecar
        .reload(&[crm(&up, "planted-token-1"), erp().bearer("planted-token-2")])
        .unwrap();
    assert_eq!(handshake_kind(&sidecar, "/crm/a"), "resumed");
    // The same upstream with another connection.
    assert_eq!(handshake_kind(&sidecar, "/erp/a"), "full");
    assert_eq!(handshake_kind(&sidecar, "/erp/a"), "resumed");
    // The same connection with another credential.
    sidecar
        .reload(&[crm(&up, "planted-token-3"), erp().bearer("planted-token-2")])
        .unwrap();
    assert_eq!(handshake_kind(&sidecar, "/crm/a"), "full");
    assert_eq!(handshake_kind(&sidecar, "/crm/a"), "resumed");
    assert_eq!(handshake_kind(&sidecar, "/erp/a"), "resumed");
}
