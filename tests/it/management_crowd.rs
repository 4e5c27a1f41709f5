//! Who holds the sockets of the management listener keeps nobody out: the kubelet's probe is answered, and so are people.

use std::net::SocketAddr;

use egressd::server::MANAGEMENT_SOCKETS;

use crate::support::sidecar::Plan;
use crate::support::{Agent, Sidecar, connection};

fn sidecar(routes: usize) -> Sidecar {
    let crm = connection("crm").base_url("https://api.test");
    let crm = (0..routes).fold(crm, |crm, n| crm.allow(&format!("GET /{n}/{{id}}")));
    // No limit ends within a test what is to end for want of room.
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
fn kept_sockets_make_room_the_oldest_first() {
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
fn silent_sockets_make_room() {
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
fn agents_that_take_no_answer_make_room() {
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
