//! Many requests share one token request, also if some of them are cancelled.

use serde_json::json;

use super::{INVALID, ask, ask_until, before, crm, tokens, unavailable};
use crate::support::token_endpoint::token;
use crate::support::{Agent, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream};

const GET: &str = "GET /crm/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Starts this many agents at the same time, and returns how many token requests they cause.
fn crowd(agents: usize) -> usize {
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let endpoint = TokenEndpoint::script([TokenAnswer::token(&token(1)).once_open(&gate)]);
    // Leaves time for the handshakes of all agents on a busy machine.
    let crm = crm(&up, &endpoint).http("max_concurrent_requests", json!(4096));
    let sidecar = Sidecar::with(crm.http("timeout_seconds", json!(300)))
        .setting("egress.connect_timeout_seconds", 300)
        .setting("proxy.max_in_flight", 4096)
        .setting("proxy.workers", 2)
        .start();
    let mut crowd: Vec<Agent> = (0..agents).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut crowd {
        agent.send(GET);
    }
    endpoint.wait_for_calls(1);
    gate.open();
    for agent in &mut crowd {
        agent.reply().expect_status(200);
    }
    assert_eq!(tokens(&up), vec![token(1); agents]);
    endpoint.calls()
}

#[test]
fn five_hundred_first_requests_make_one_call() {
    // F-147
    assert_eq!(crowd(500), 1);
}

#[test]
fn a_thousand_first_requests_make_one_call() {
    // F-147
    assert_eq!(crowd(1000), 1);
}

#[test]
fn a_crowd_shares_a_failure() {
    // F-147
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let endpoint = TokenEndpoint::script([TokenAnswer::body("{}").once_open(&gate)]);
    let crm = crm(&up, &endpoint).http("max_concurrent_requests", json!(4096));
    let sidecar = Sidecar::with(crm).start();
    let mut crowd: Vec<Agent> = (0..100).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut crowd {
        agent.send(GET);
    }
    endpoint.wait_for_calls(1);
    let began = std::time::Instant::now();
    gate.open();
    for agent in &mut crowd {
        unavailable(&agent.reply(), &[INVALID]);
    }
    // At most one per second, because of the backoff.
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(endpoint.calls() <= most, "{} calls", endpoint.calls());
    assert_eq!(up.sockets(), 0);
}

/// The agents that hang up while they wait for the token.
fn hangs_up(leaver: usize) {
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let endpoint = TokenEndpoint::with_script({
        let gate = gate.clone();
        move |_| TokenAnswer::token(&token(1)).once_open(&gate)
    });
    let sidecar = Sidecar::with(crm(&up, &endpoint))
        .setting("proxy.workers", 1)
        .start();
    let mut agents = Vec::new();
    for _ in 0..3 {
        let mut agent = Agent::connect(&sidecar);
        agent.send(GET);
        // The first request causes the token request.
        endpoint.wait_for_calls(1);
        settle(&sidecar);
        agents.push(agent);
    }
    agents.remove(leaver).reset();
    settle(&sidecar);
    let mut late = Agent::connect(&sidecar);
    late.send(GET);
    agents.push(late);
    settle(&sidecar);
    gate.open();
    for agent in &mut agents {
        agent.reply().expect_status(200);
    }
    // If the first request is cancelled, its token request may be cancelled too. The next request
    // then causes another.
    let calls = endpoint.calls();
    assert!(calls == 1 || (leaver == 0 && calls == 2), "{calls} calls");
    assert_eq!(tokens(&up), vec![token(1); 3]);
    ask(&sidecar).expect_status(200);
    assert_eq!(endpoint.calls(), calls);
}

/// There is one worker, so everything before this request was handled when its reply arrives.
fn settle(sidecar: &Sidecar) {
    let mut other = Agent::connect(sidecar);
    other.get("/nope").refused(404, "connection_not_found");
}

#[test]
fn the_leader_hangs_up() {
    // F-147
    hangs_up(0);
}

#[test]
fn a_waiter_hangs_up() {
    // F-147
    hangs_up(1);
    hangs_up(2);
}

#[test]
fn all_agents_hang_up() {
    // F-147
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let held = TokenAnswer::token(&token(1)).once_open(&gate);
    let endpoint = TokenEndpoint::script([held]);
    let sidecar = before(&up, &endpoint);
    for _ in 0..3 {
        let mut agent = Agent::connect(&sidecar);
        agent.send(GET);
        endpoint.wait_for_calls(1);
        agent.reset();
    }
    gate.open();
    ask_until(&mut Agent::connect(&sidecar), "/crm/x", 200);
    assert!(endpoint.calls() <= 2, "{} calls", endpoint.calls());
    assert_eq!(tokens(&up).last(), Some(&token(1)));
}

#[test]
fn a_stalled_endpoint_holds_no_other_connection() {
    // F-147
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let stalled = TokenEndpoint::script([TokenAnswer::token(&token(1)).once_open(&gate)]);
    let good = TokenEndpoint::with_new_tokens(3600);
    let sidecar = Sidecar::with(crm(&up, &stalled))
        .with_connection(crm(&up, &good).rename("erp"))
        .setting("proxy.workers", 1)
        .start();
    let mut waits = Agent::connect(&sidecar);
    waits.send(GET);
    stalled.wait_for_calls(1);
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..20 {
        agent.get("/erp/x").expect_status(200);
    }
    gate.open();
    waits.reply().expect_status(200);
    assert_eq!((stalled.calls(), good.calls()), (1, 1));
}
