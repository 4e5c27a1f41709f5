//! Clients that occupy all sockets of the management listener, or all places to wait, do not keep
//! others out: the kubelet's probes and operators are served, and each request gets a response.

use std::net::SocketAddr;

use egressd::server::MANAGEMENT_SOCKETS;

use crate::support::sidecar::Plan;
use crate::support::{Agent, Sidecar, connection};

fn sidecar(routes: usize) -> Sidecar {
    let crm = connection("crm").base_url("https://api.test");
    let crm = (0..routes).fold(crm, |crm, n| crm.allow(&format!("GET /{n}/{{id}}")));
    // The time limits are longer than a test, so only the lack of room can close a socket.
    let limits = [
        "header_read_timeout_seconds",
        "idle_timeout_seconds",
        "write_stall_timeout_seconds",
    ];
    let plan = Sidecar::with(crm);
    let patient = |plan: Plan, limit| plan.setting(&format!("proxy.{limit}"), 60);
    limits.into_iter().fold(plan, patient).start()
}

fn crowd(sidecar: &Sidecar, connect: fn(SocketAddr) -> Agent) -> Vec<Agent> {
    let connect = || connect(sidecar.management());
    std::iter::repeat_with(connect)
        .take(MANAGEMENT_SOCKETS)
        .collect()
}

#[test]
fn the_oldest_idle_socket_is_closed_for_a_new_one() {
    // F-196
    let sidecar = sidecar(1);
    let mut crowd = crowd(&sidecar, Agent::connect_to);
    for agent in &mut crowd {
        agent.get("/livez").expect_status(200);
    }
    Agent::connect_to(sidecar.management())
        .get("/readyz")
        .expect_status(200);
    crowd[0].expect_close();
    let mut last = crowd.pop().unwrap();
    last.get("/livez").expect_status(200);
}

#[test]
fn silent_sockets_are_closed_for_new_ones() {
    // F-196
    let sidecar = sidecar(1);
    let _silent = crowd(&sidecar, Agent::connect_to);
    for _ in 0..3 {
        Agent::connect_to(sidecar.management())
            .get("/livez")
            .expect_status(200);
    }
}

#[test]
fn sockets_that_read_nothing_are_closed_for_new_ones() {
    // F-196
    let sidecar = sidecar(2_000);
    let mut crowd = crowd(&sidecar, Agent::connect_narrow_to);
    for agent in &mut crowd {
        agent.send(b"GET /v1/connections HTTP/1.1\r\nHost: localhost\r\n\r\n");
        agent.wait_for("200 OK");
    }
    Agent::connect_to(sidecar.management())
        .get("/livez")
        .expect_status(200);
}

#[test]
fn requests_that_wait_are_answered_and_their_sockets_are_not_closed_for_new_ones() {
    // F-168, F-196
    let crm = connection("crm").allow("/").base_url("https://api.test");
    let sidecar = Sidecar::with(crm)
        // A request that waits is whole, so these limits do not concern it.
        .setting("proxy.header_read_timeout_seconds", 1)
        .setting("proxy.idle_timeout_seconds", 1)
        .start();
    let whole = "GET /v1/connection-types HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut first = Agent::connect_to(sidecar.management());
    first.send(whole.repeat(100));
    for _ in 0..100 {
        first.reply().expect_status(200);
    }
    // The requests that may be served without delay are used up, and more come than can wait.
    let mut waiting: Vec<Agent> = (0..2 * MANAGEMENT_SOCKETS)
        .map(|_| {
            let mut agent = Agent::connect_to(sidecar.management());
            // The beginning of another request must not start the limit of a head.
            agent.send(format!("{whole}GET /v"));
            agent
        })
        .collect();
    for target in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        Agent::connect_to(sidecar.management())
            .get(target)
            .expect_status(200);
    }
    let mut served = 0;
    for agent in &mut waiting {
        let reply = agent.reply();
        match reply.status {
            200 => served += 1,
            _ => {
                reply.expect_status(429);
                let after = reply.fields.single_value("retry-after");
                assert_eq!(after.as_deref(), Some("1"), "{reply:?}");
            }
        }
    }
    assert!(served > 0);
}
