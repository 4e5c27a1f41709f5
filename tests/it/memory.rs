//! A memory limit that is nearly reached: new requests are refused first, and accepted again
//! without a restart.

use std::fs;
use std::io::{PipeReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use egressd::memory::MemoryMonitor;
use egressd::telemetry::{AccessLog, EventFormat, EventLevel, Logs, ProblemLog};
use serde_json::Value;

use crate::support::{Agent, Gate, Sidecar, Upstream, connection, scrape_until_contains};

const MIB: u64 = 1024 * 1024;

/// Writes the files of a control group that uses this much of 64 MiB, of which this much is for
/// files that were not used lately.
fn uses(group: &Path, all: u64, inactive: u64) {
    // The file is replaced in one write of the same length, so a concurrent reader sees either the
    // old or the new content.
    for (name, text) in [
        ("memory.max", format!("{:020}\n", 64 * MIB)),
        (
            "memory.stat",
            format!("inactive_file {:020}\n", inactive * MIB),
        ),
        ("memory.current", format!("{:020}\n", all * MIB)),
    ] {
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create(true).truncate(false);
        let file = file.open(group.join(name)).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
    }
}

fn of_operators(sidecar: &Sidecar, target: &str) -> String {
    let reply = Agent::connect_to(sidecar.management()).get(target);
    reply.expect_status(200).text()
}

/// Waits until the program has noticed.
fn wait_for(sidecar: &Sidecar, gauge: &str) {
    scrape_until_contains(sidecar.management(), gauge);
}

#[test]
fn new_requests_are_refused_first_and_accepted_again_when_there_is_memory() {
    // F-164
    let group = tempfile::tempdir().unwrap();
    uses(group.path(), 32, 0);
    let gate = Gate::new();
    let held = gate.clone();
    let up = Upstream::answer(move |request| {
        if request.target == "/hold" {
            held.wait();
        }
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    });
    let erp = connection("erp").allow("/").upstream(&up);
    let erp = erp.http("webhook_signing_secret", "0123456789abcdef".into());
    let (said, out) = std::io::pipe().unwrap();
    let logs = Logs {
        access: AccessLog::off(),
        problems: ProblemLog::start(EventLevel::Info, EventFormat::Json, out).unwrap(),
    };
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .with_connection(erp)
        .start_within(MemoryMonitor::from_directory(group.path()), logs);
    let mut busy: Vec<Agent> = (0..6).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut busy {
        agent.send("GET /crm/hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    up.wait_requests(6);
    let verbose = of_operators(&sidecar, "/readyz?verbose");
    assert!(verbose.contains("[i]memory: 32 of 64 MiB\n"), "{verbose}");

    // 95 % in total, of which 23 % are file pages.
    uses(group.path(), 61, 15);
    let mut newcomer = Agent::connect(&sidecar);
    newcomer.get("/crm/x").expect_status(200);
    uses(group.path(), 61, 1);
    wait_for(&sidecar, "\negressd_memory_short 1\n");
    is_shed(&mut newcomer, "/crm/x");
    is_shed(&mut newcomer, "/");
    let verbose = of_operators(&sidecar, "/readyz?verbose");
    let line = "[i]memory: 60 of 64 MiB, short: most new requests are refused\n";
    assert!(verbose.contains(line), "{verbose}");

    // Running requests finish, and a few new ones are served, except those whose body would be
    // held.
    gate.open();
    for agent in &mut busy {
        agent.reply().expect_status(200);
    }
    wait_for(&sidecar, "\negressd_in_flight_requests 0\n");
    newcomer.get("/crm/x").expect_status(200);
    let signed = newcomer.request("POST", "/erp/x", &[], b"hello");
    signed.refused(503, "overloaded");

    uses(group.path(), 40, 0);
    wait_for(&sidecar, "\negressd_memory_short 0\n");
    newcomer
        .request("POST", "/erp/x", &[], b"hello")
        .expect_status(200);
    drop((newcomer, busy, sidecar));
    assert_events(
        said,
        [("memory_short", 60 * MIB), ("memory_recovered", 40 * MIB)],
    );
}

/// Asserts that the log has exactly these events.
fn assert_events(mut log: PipeReader, expected: [(&str, u64); 2]) {
    let mut lines = String::new();
    log.read_to_string(&mut lines).unwrap();
    let events = lines.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["event"].clone(), event["used_bytes"].clone())
    });
    let expected = expected.map(|(name, used)| (Value::from(name), Value::from(used)));
    assert_eq!(events.collect::<Vec<_>>(), expected, "{lines}");
}

/// Asserts that this request is refused for lack of memory.
fn is_shed(agent: &mut Agent, target: &str) {
    let reply = agent.get(target);
    let problem = reply.refused(503, "overloaded");
    assert_eq!((problem.blame.as_str(), problem.retryable), ("proxy", true));
    assert!(reply.fields.single_value("retry-after").is_some());
    assert!(reply.text().contains("short of memory"), "{}", reply.text());
}

#[test]
fn a_slow_head_is_allowed_while_there_is_memory() {
    // F-164
    let group = tempfile::tempdir().unwrap();
    uses(group.path(), 32, 0);
    let up = Upstream::body("hi");
    let logs = Logs {
        access: AccessLog::off(),
        problems: ProblemLog::off(),
    };
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("proxy.header_read_timeout_seconds", 300)
        .start_within(MemoryMonitor::from_directory(group.path()), logs);
    let mut slow: Vec<Agent> = (0..8).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut slow {
        agent.send("GET /crm/x HTTP/1.1\r\nHost: ");
    }
    let mut whole = Agent::connect(&sidecar);
    whole.get("/crm/x").expect_status(200);
    uses(group.path(), 62, 0);
    for agent in &mut slow {
        agent.wait_close();
    }
    // A socket that waits for its next request is not affected.
    whole.get("/crm/x").expect_status(200);
    uses(group.path(), 32, 0);
    wait_for(&sidecar, "\negressd_memory_short 0\n");
    let mut slow = Agent::connect(&sidecar);
    slow.send("GET /crm/x HTTP/1.1\r\nHost: ");
    whole.get("/crm/x").expect_status(200);
    slow.send("localhost\r\n\r\n");
    slow.reply().expect_status(200);
}

#[test]
fn without_a_limit_no_memory_limit_is_reported() {
    let up = Upstream::body("hi");
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let verbose = of_operators(&sidecar, "/readyz?verbose");
    assert!(!verbose.contains("[i]memory: "), "{verbose}");
    assert!(of_operators(&sidecar, "/metrics").contains("\negressd_memory_short 0\n"));
}
