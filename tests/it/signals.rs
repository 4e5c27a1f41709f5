//! Signals: the ones that end the process, the ones that do not, and their effect at every stage.

use std::io::Read as _;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::support::program::RunningProgram;
use crate::support::{Agent, Gate, PATIENCE, Program, Upstream, connection, scrape_until_contains};

const HOLD: &str = "GET /crm/hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HUP: u32 = 1;
const INT: u32 = 2;
const PIPE: u32 = 13;
const TERM: u32 = 15;

/// Starts an upstream that answers only after the gate opens.
fn holding(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::answer(move |_| {
        gate.wait();
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
    })
}

/// A program with a grace period that no test reaches.
fn patient(up: &Upstream) -> Program {
    Program::new(
        &[connection("crm").allow("/").upstream(up)],
        &json!({"shutdown": {"grace_period_seconds": 3600}}),
    )
}

/// Returns whether the kernel has this signal in this set (`SigIgn`, `SigCgt`) of the process
/// (proc(5)).
fn has(process: u32, set: &str, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mut sets = status.lines().filter_map(|line| line.strip_prefix(set));
    let bits = sets.next().unwrap().trim_start_matches(':').trim();
    u64::from_str_radix(bits, 16).unwrap() & (1 << (signal - 1)) != 0
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    // F-182
    for (first, second) in [
        ("TERM", "TERM"),
        ("INT", "INT"),
        ("TERM", "INT"),
        ("INT", "TERM"),
    ] {
        let gate = Gate::new();
        let up = holding(&gate);
        let program = patient(&up);
        let mut running = program.start(&[]);
        let (agents, _) = running.addresses();
        let mut agent = Agent::connect_to(agents);
        agent.send(HOLD);
        up.wait_requests(1);
        running.signal(first);
        // Two equal signals that are pending at the same time are delivered once.
        running.wait_for_line("stopping");
        running.signal(second);
        agent.wait_close();
        assert!(agent.received().is_empty());
        assert_eq!(running.wait_for_exit(), Some(1), "{first} {second}");
        gate.open();
    }
}

#[test]
fn a_signal_before_readiness_is_not_lost() {
    // F-182, F-180: the warnings are written before anything else, and no reader takes them, so the
    // process cannot get beyond them.
    let crm = connection("crm").allow("/").base_url("https://crm.example");
    let many: Vec<_> = (0..200)
        .map(|n| {
            crm.clone()
                .rename(&format!("crm-{n}"))
                .bearer("a-literal-one-is-warned-of")
        })
        .collect();
    let program = Program::new(&many, &json!({"log": {"format": "text"}}));
    let mut running = program.start_with_narrow_stderr(&[]);
    for signal in [TERM, INT, HUP] {
        let begun = Instant::now();
        while !has(running.id(), "SigCgt", signal) {
            assert!(begun.elapsed() < PATIENCE, "{signal} is never caught");
        }
    }
    running.terminate();
    let mut stderr = String::new();
    running.err.read_to_string(&mut stderr).unwrap();
    assert_eq!(running.wait_for_exit(), Some(0), "{stderr}");
    assert!(stderr.contains("stopped"), "{stderr}");
}

#[test]
fn a_hangup_reloads_and_does_not_end_the_process_even_during_the_stop() {
    // F-185
    let gate = Gate::new();
    let up = holding(&gate);
    let program = patient(&up);
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    running.hang_up();
    assert_eq!(
        running.wait_for_line("reloaded: "),
        "generation 2, live connections 1; nothing changed"
    );
    let mut agent = Agent::connect_to(agents);
    agent.send(HOLD);
    up.wait_requests(1);
    running.terminate();
    running.wait_for_line("stopping");
    running.hang_up();
    gate.open();
    agent.reply().expect_status(200);
    assert_eq!(running.wait_for_exit(), Some(0));
}

#[test]
fn closed_pipes_and_sockets_do_not_end_the_process() {
    // F-185: the readers of its logs, and an agent in the middle of a response.
    let up = Upstream::body(vec![b'a'; 10_000_000]);
    let program = Program::new(&[connection("crm").allow("/").upstream(&up)], &json!({}));
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    assert!(has(running.id(), "SigIgn", PIPE));
    running.out = std::io::BufReader::new(Box::new(std::io::empty()));
    running.err = std::io::BufReader::new(Box::new(std::io::empty()));
    let mut agent = Agent::connect_narrow_to(agents);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("\r\n\r\n");
    agent.reset();
    scrape_until_contains(operators, "outcome=\"agent_cancelled\"");
    Agent::connect_to(agents)
        .get("/nope/x")
        .refused(404, "connection_not_found");
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}

/// A process that is PID 1 of its namespace receives only the signals that it has a handler for
/// (pid_namespaces(7)).
#[test]
fn signals_end_the_process_as_pid_1() {
    // F-182
    let by = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
    let tried = Command::new(by[0]).args(&by[1..]).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        use std::io::Write as _;
        let line = "skipped: PID namespaces are not allowed here, so PID 1 is not tested";
        writeln!(std::io::stderr(), "{line}").unwrap();
        return;
    }
    for signal in ["TERM", "INT"] {
        let up = Upstream::body("hi");
        let program = Program::new(&[connection("crm").allow("/").upstream(&up)], &json!({}));
        let mut running = program.start_via(&by, &[]);
        let (agents, _) = running.addresses();
        Agent::connect_to(agents).get("/crm/x").expect_status(200);
        let first = first_process(&running);
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh", signal, &first])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(running.wait_for_line("\"stopped"), "");
        // `unshare` exits with the status of its child.
        assert_eq!(running.wait_for_exit(), Some(0), "{signal}");
    }
}

/// Returns the process id, as seen from outside, of the process that is PID 1 inside.
fn first_process(running: &RunningProgram) -> String {
    let id = running.id();
    let children = format!("/proc/{id}/task/{id}/children");
    let first = std::fs::read_to_string(children).unwrap().trim().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    assert_eq!(ids.unwrap().split_whitespace().last(), Some("1"));
    first
}
