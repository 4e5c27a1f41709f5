//! A system that gives few descriptors and few threads: what starts goes on, what cannot start says why.

use std::time::Instant;

use serde_json::json;

use crate::support::program::Running;
use crate::support::{Agent, PATIENCE, Program, connection};

fn program() -> Program {
    let crm = connection("crm").allow("GET /a");
    Program::new(
        &[crm.base_url("https://127.0.0.1:1")],
        &json!({"proxy": {
            "listen": ["127.0.0.1:0"],
            "workers": 2,
            "header_read_timeout_seconds": 1,
        }}),
    )
}

/// Waits until every descriptor that it may have is open.
fn use_up(running: &Running, descriptors: usize) {
    let begun = Instant::now();
    while running.held().descriptors < descriptors {
        assert!(begun.elapsed() < PATIENCE, "{:?}", running.held());
    }
}

#[test]
fn without_descriptors_it_waits_and_goes_on_when_there_are_some() {
    // F-163: twice, for what was left over the first time would show the second.
    let program = program();
    let mut running = program.start_limited(&["--nofile=64:64"], &["--hardening", "off"]);
    let (agents, operators) = running.addresses();
    let mut known = Agent::connect_to(agents);
    known.get("/crm/b").refused(403, "route_not_allowed");
    let mut probe = Agent::connect_to(operators);
    probe.get("/livez").expect(200);
    for _ in 0..2 {
        let mut silent: Vec<Agent> = (0..50).map(|_| Agent::connect_to(agents)).collect();
        use_up(&running, 64);
        let before = running.ticks();
        // Whoever is in is served; a request that needs a socket of its own is refused.
        known.get("/crm/b").refused(403, "route_not_allowed");
        let reply = known.get("/crm/a");
        assert_eq!(reply.status, 502, "{reply:?}");
        probe.get("/livez").expect(200);
        // A second passes until the first of them runs into its limit. Two workers that spin would take two seconds of processor time for it.
        silent[0].wait_close();
        let used = running.ticks() - before;
        assert!(used < 50, "{used} ticks of nothing");
        for agent in &mut silent {
            agent.expect_close();
        }
        Agent::connect_to(agents)
            .get("/crm/b")
            .refused(403, "route_not_allowed");
    }
    let (exit, _, lines) = running.end();
    assert_eq!(exit, Some(0), "{lines:#?}");
    assert!(!lines.concat().contains("panic"), "{lines:#?}");
}

/// Whether it started. If not, it said what there is too little of.
fn starts(program: &Program, limit: &str) -> bool {
    let mut running = program.start_limited(&[limit], &[]);
    let mut said = Vec::new();
    let ready = loop {
        match running.line() {
            Some(line) if line.contains("\"ready\"") => break true,
            Some(line) => said.push(line),
            None => break false,
        }
    };
    if ready {
        running.terminate();
    }
    let exit = running.wait();
    while let Some(line) = running.line() {
        said.push(line);
    }
    assert_eq!(exit, Some(if ready { 0 } else { 69 }), "{limit}: {said:#?}");
    let last = said.last().unwrap();
    if !ready {
        let reasons = ["Resource temporarily unavailable", "Too many open files"];
        assert!(
            reasons.iter().any(|reason| last.contains(reason)),
            "{limit}: {last}"
        );
    }
    assert!(!said.concat().contains("panic"), "{limit}: {said:#?}");
    ready
}

#[test]
fn with_few_threads_it_starts_or_says_why_not() {
    // F-163: two workers need nine threads.
    let program = program();
    let started: Vec<bool> = (1..=10)
        .map(|threads| starts(&program, &format!("--nproc={threads}:{threads}")))
        .collect();
    // Whoever runs these tests may have other threads that come and go.
    assert!(!started[0], "not a thread of its own");
}

#[test]
fn with_few_descriptors_it_starts_or_says_why_not() {
    // F-163
    let program = program();
    let started: Vec<bool> = (8..64)
        .step_by(4)
        .map(|descriptors| starts(&program, &format!("--nofile={descriptors}:{descriptors}")))
        .collect();
    assert!(started.is_sorted(), "{started:?}");
    assert_eq!(
        (started.first(), started.last()),
        (Some(&false), Some(&true))
    );
}
