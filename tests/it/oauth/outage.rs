//! A token endpoint that fails under load and recovers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{UNREACHABLE, ask_until, crm, pause, tokens, unavailable};
use crate::support::connection::Connection;
use crate::support::reply::Reply;
use crate::support::{Agent, PATIENCE, Sidecar, TokenEndpoint, Upstream};

/// Sends requests until it is stopped. Returns each reply with the instants before its request and
/// after its arrival.
fn load(sidecar: &Sidecar, target: &str, stop: &AtomicBool) -> Vec<(Instant, Instant, Reply)> {
    let mut agent = Agent::connect(sidecar);
    let mut replies = Vec::new();
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
        let asked = Instant::now();
        let reply = agent.get(target);
        replies.push((asked, Instant::now(), reply));
        pause();
    }
    replies
}

#[test]
fn killing_the_token_endpoint_under_load() {
    // F-138, F-148: no request fails before the token really expires, and then only this connection
    // fails. No restart is needed.
    let life = Duration::from_secs(5);
    let (up, other) = (Upstream::body("hi"), Upstream::body("hi"));
    let (dies, lives) = (
        TokenEndpoint::with_new_tokens(5),
        TokenEndpoint::with_new_tokens(5),
    );
    let erp: Connection = crm(&other, &lives).rename("erp");
    let sidecar = Sidecar::with(crm(&up, &dies)).with_connection(erp).start();
    let mut agent = Agent::connect(&sidecar);
    let asked = Instant::now();
    agent.get("/crm/x").expect_status(200);
    let got = Instant::now();
    dies.kill();
    let calls = dies.calls();
    let stop = AtomicBool::new(false);
    let (crm, erp, restarted) = std::thread::scope(|scope| {
        let loads = ["/crm/a", "/crm/b", "/erp/a", "/erp/b"].map(|target| {
            let (sidecar, stop) = (&sidecar, &stop);
            let thread = std::thread::Builder::new().name("world agent".to_owned());
            let asking = move || load(sidecar, target, stop);
            thread.spawn_scoped(scope, asking).unwrap()
        });
        let refused = ask_until(&mut agent, "/crm/x", 502);
        unavailable(&refused.last().expect("one").1, &[UNREACHABLE]);
        let restarted = Instant::now();
        dies.restart();
        ask_until(&mut agent, "/crm/x", 200);
        stop.store(true, Ordering::Relaxed);
        let [a, b, c, d] = loads.map(|load| load.join().unwrap());
        ([a, b].concat(), [c, d].concat(), restarted)
    });
    for (before, after, reply) in &crm {
        if reply.status == 200 {
            // During the outage, only with a token that was valid when the request arrived.
            let late = *before > got + life && *after < restarted;
            assert!(!late, "served {:?} after the end", *before - (got + life));
        } else {
            unavailable(reply, &[UNREACHABLE]);
            assert!(
                *after >= asked + life,
                "refused {:?} before the end",
                asked + life - *after
            );
        }
    }
    assert!(crm.iter().any(|(_, _, reply)| reply.status == 200));
    assert!(erp.len() > 10 && erp.iter().all(|(_, _, reply)| reply.status == 200));
    assert!(dies.calls() > calls && lives.calls() >= 2);
    assert_eq!(other.requests().len(), erp.len());
    let served = crm
        .iter()
        .filter(|(_, _, reply)| reply.status == 200)
        .count();
    // Refusals of the agent's own requests: one at the start, those before the end, one at the
    // recovery.
    assert!(tokens(&up).len() >= served + 2);
}
