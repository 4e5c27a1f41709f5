//! Clients that occupy all sockets of the management listener do not keep others out: the kubelet's
//! probes and operators are served.

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
