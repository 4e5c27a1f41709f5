//! The memory of the process cannot be obtained: there is no core file, and no URL that shows its
//! contents.

use serde_json::json;

use crate::support::{Agent, Program, Upstream, connection};

/// Paths at which other servers expose memory and stacks.
const DEBUG_PATHS: &[&str] = &[
    "/debug",
    "/debug/pprof",
    "/debug/pprof/heap",
    "/debug/vars",
    "/pprof/heap",
    "/heap",
    "/heapdump",
    "/actuator/heapdump",
    "/actuator/env",
    "/jeprof",
    "/config_dump",
    "/server_info",
    "/env",
    "/stack",
];

#[test]
fn no_core_file_and_no_path_to_the_memory() {
    // F-203
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let program = Program::new(&[crm], &json!({}));
    for (flags, refuses) in [(&[][..], true), (&["--hardening", "off"], false)] {
        let mut running = program.start(flags);
        let (agents, operators) = running.addresses();
        let limits = format!("/proc/{}/limits", running.id());
        let limits = std::fs::read_to_string(limits).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let mut words = core.unwrap().split_whitespace().skip(4);
        let hard = words.nth(1);
        assert!(!refuses || hard == Some("0"), "{core:?}");
        for path in DEBUG_PATHS {
            Agent::connect_to(agents).get(path).expect_status(404);
            Agent::connect_to(operators).get(path).expect_status(404);
        }
        running.terminate();
        assert_eq!(running.wait_for_exit(), Some(0));
    }
}
