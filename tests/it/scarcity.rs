//! Systems with few descriptors and threads: a process that has started continues, and a process
//! that cannot start reports the reason.

use std::time::Instant;

use serde_json::json;

use crate::support::program::RunningProgram;
use crate::support::{Agent, PATIENCE, Program, Upstream, connection};

fn program() -> Program {
    let crm = connection("crm").allow("GET /a");
    Program::new(
        &[crm.base_url("https://127.0.0.1:1")],
        &json!({"proxy": {
            "listen": ["127.0.0.1:0"],
            "workers": 2,
            // Silent agents stay as long as the test needs them.
            "header_read_timeout_seconds": 300,
        }}),
    )
}

/// The number of agents' sockets that there is room for, which is logged before the listeners.
fn room(running: &mut RunningProgram) -> usize {
    let room = running.wait_for_line("leaves room for");
    room.split(' ').next().unwrap().parse().unwrap()
}

/// Waits until this many sockets of agents are open.
fn wait_agents(operator: &mut Agent, sockets: usize) {
    let sample = format!("\negressd_agent_sockets {sockets}\n");
    let begun = Instant::now();
    loop {
        let metrics = operator.get("/metrics").expect_status(200).text();
        if metrics.contains(&sample) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "never {sockets}: {metrics}");
    }
}

#[test]
fn agents_beyond_the_slots_wait_and_are_served_later() {
    // F-163, F-264: twice, because a leak of the first round would show in the second.
    let program = program();
    let mut running = program.start_limited(&["--nofile=128:128"], &["--hardening", "off"]);
    let room = room(&mut running);
    let (agents, operators) = running.addresses();
    let mut known = Agent::connect_to(agents);
    known.get("/crm/b").refused(403, "route_not_allowed");
    let mut probe = Agent::connect_to(operators);
    probe.get("/livez").expect_status(200);
    for _ in 0..2 {
        let silent: Vec<Agent> = (0..room + 10).map(|_| Agent::connect_to(agents)).collect();
        wait_agents(&mut probe, room);
        // Connected agents are served, and there is a descriptor left to find out that the upstream
        // does not listen.
        known.get("/crm/b").refused(403, "route_not_allowed");
        let problem = known.get("/crm/a").refused(502, "upstream_unreachable");
        assert_eq!(problem.error, "connection_refused");
        Agent::connect_to(operators)
            .get("/livez")
            .expect_status(200);
        drop(silent);
        Agent::connect_to(agents)
            .get("/crm/b")
            .refused(403, "route_not_allowed");
    }
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0), "{lines:#?}");
    assert!(!lines.concat().contains("panic"), "{lines:#?}");
}

#[test]
fn agents_cannot_take_the_descriptors_of_management_dials_and_reloads() {
    // F-264
    let up = Upstream::body("hi");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let program = Program::new(std::slice::from_ref(&crm), &json!({}));
    let mut running = program.start_limited(&["--nofile=256:256"], &["--hardening", "off"]);
    let room = room(&mut running);
    let (agents, operators) = running.addresses();
    let mut known = Agent::connect_to(agents);
    known.get("/crm/b").refused(403, "route_not_allowed");
    let silent: Vec<Agent> = (0..240).map(|_| Agent::connect_to(agents)).collect();
    wait_agents(&mut Agent::connect_to(operators), room);
    let mut crowd: Vec<Agent> = (0..12).map(|_| Agent::connect_to(operators)).collect();
    for operator in &mut crowd {
        for target in ["/livez", "/readyz", "/metrics", "/v1/connections"] {
            operator.get(target).expect_status(200);
        }
    }
    known.get("/crm/a").expect_status(200);
    program.define(&crm.clone().rename("erp"));
    running.hang_up();
    running.wait_for_line("reloaded: generation 2");
    known.get("/erp/a").expect_status(200);
    let arrived = up.requests();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    drop((silent, crowd));
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0), "{lines:#?}");
    assert!(!lines.concat().contains("shortage"), "{lines:#?}");
}

#[test]
fn idle_upstream_sockets_make_room_for_a_dial() {
    // F-270: more connections than there are descriptors, each of which keeps a socket.
    let up = Upstream::body("hi");
    let ids: Vec<String> = (0..300).map(|number| format!("c{number}")).collect();
    let connections: Vec<_> = ids
        .iter()
        .map(|id| connection(id).allow("GET /a").upstream(&up))
        .collect();
    let program = Program::new(&connections, &json!({}));
    let mut running = program.start_limited(&["--nofile=256:256"], &["--hardening", "off"]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    for id in &ids {
        agent.get(&format!("/{id}/a")).expect_status(200);
    }
    // The descriptors that are reserved for agents are still free.
    let held = running.resources();
    assert!(held.descriptors < 256, "{held:?}");
    Agent::connect_to(operators)
        .get("/livez")
        .expect_status(200);
    Agent::connect_to(agents).get("/c0/a").expect_status(200);
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0), "{lines:#?}");
    assert!(lines.concat().contains("dial_shortage"), "{lines:#?}");
    assert!(!lines.concat().contains("unreachable"), "{lines:#?}");
}

#[test]
fn without_descriptors_neither_the_upstream_nor_the_configuration_is_blamed() {
    // F-270
    let up = Upstream::body("hi");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let program = Program::new(std::slice::from_ref(&crm), &json!({}));
    let mut running = program.start(&["--hardening", "off"]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.get("/crm/b").refused(403, "route_not_allowed");
    let mut probe = Agent::connect_to(operators);
    probe.get("/livez").expect_status(200);
    // The descriptors of the start are open, but the process gets no other.
    running.limit_descriptors(8);
    let reply = agent.get("/crm/a");
    let problem = reply.refused(503, "overloaded");
    assert_eq!(problem.blame, "proxy");
    assert!(problem.retryable);
    assert_eq!(problem.error, "connection_limit_reached");
    assert_eq!(problem.document["cause"], "shortage");
    assert!(reply.fields.single_value("retry-after").is_some());
    running.wait_for_line(
        "no file descriptor or memory is left for a socket to the upstream of connection crm",
    );
    assert_eq!(up.sockets(), 0);
    // A changed file and a signal: the files cannot be read, and neither is reported as faulty.
    program.define(&crm.clone().rename("erp"));
    running.hang_up();
    running.wait_for_line("the configuration cannot be read: no file descriptor or memory is left");
    let metrics = probe.get("/metrics").expect_status(200).text();
    assert!(
        metrics.contains("\negressd_config_reload_success 1\n"),
        "{metrics}"
    );
    agent.get("/erp/a").refused(404, "connection_not_found");
    // No further signal is sent: egressd tries again by itself.
    running.limit_descriptors(256);
    running.wait_for_line("reloaded: generation 2");
    agent.get("/erp/a").expect_status(200);
    agent.get("/crm/a").expect_status(200);
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0), "{lines:#?}");
    let stderr = lines.concat();
    for wrong in [
        "config_problem",
        "reload_failed",
        "upstream_unreachable",
        "panic",
    ] {
        assert!(!stderr.contains(wrong), "{lines:#?}");
    }
}

/// Returns whether the program starts with this limit. If it does not, asserts that it reports the
/// resource that is missing.
fn starts(program: &Program, limit: &str) -> bool {
    let mut running = program.start_limited(&[limit], &[]);
    let mut stderr = Vec::new();
    let ready = loop {
        match running.next_line() {
            Some(line) if line.contains("\"ready\"") => break true,
            Some(line) => stderr.push(line),
            None => break false,
        }
    };
    if ready {
        running.terminate();
    }
    let exit = running.wait_for_exit();
    while let Some(line) = running.next_line() {
        stderr.push(line);
    }
    assert_eq!(
        exit,
        Some(if ready { 0 } else { 69 }),
        "{limit}: {stderr:#?}"
    );
    let last = stderr.last().unwrap();
    if !ready {
        let reasons = ["Resource temporarily unavailable", "Too many open files"];
        assert!(
            reasons.iter().any(|reason| last.contains(reason)),
            "{limit}: {last}"
        );
    }
    assert!(!stderr.concat().contains("panic"), "{limit}: {stderr:#?}");
    ready
}

#[test]
fn with_few_threads_it_starts_or_reports_the_reason() {
    // F-163: two workers need nine threads.
    let program = program();
    let started: Vec<bool> = (1..=10)
        .map(|threads| starts(&program, &format!("--nproc={threads}:{threads}")))
        .collect();
    // The limit counts all threads of the user, of whom other threads come and go during the tests.
    assert!(!started[0], "one thread is not enough");
}

#[test]
fn with_few_descriptors_it_starts_or_reports_the_reason() {
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
