//! The start of the process: readiness, a start without a token endpoint, and a start after a
//! crash.

use std::net::TcpListener;

use serde_json::json;

use crate::support::{Agent, Program, Sidecar, Upstream, connection};

#[test]
fn it_is_ready_only_once_it_serves() {
    // F-180: the first attempts are made before it listens. Each one that succeeds finds a process
    // that serves.
    let up = Upstream::body("hi");
    let crm = connection("crm").allow("/").upstream(&up);
    let program = Program::new(&[crm], &json!({}));
    let (agents, operators) = (program.path("agents.sock"), program.path("operators.sock"));
    let flag = |path: &std::path::Path| format!("unix:{}", path.display());
    let (listen, manage) = (flag(&agents), flag(&operators));
    let flags = ["--listen", &listen, "--management-listen", &manage];
    let unready = |path| std::os::unix::net::UnixStream::connect(path).is_err();
    assert!(unready(&operators), "a probe fails before the start");
    let mut running = program.start(&flags);
    while unready(&operators) {}
    // The response may take until everything has started. Agents are then served.
    Agent::connect_unix(&operators)
        .get("/readyz")
        .expect_status(200);
    Agent::connect_unix(&agents)
        .get("/crm/x")
        .expect_status(200);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
    assert!(unready(&operators) && unready(&agents));
}

#[test]
fn a_token_endpoint_that_is_down_is_reported_and_affects_no_other_connection() {
    // F-181
    let up = Upstream::body("hi");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}/token", closed.local_addr().unwrap());
    drop(closed);
    let to = |id: &str| connection(id).allow("/").upstream(&up);
    let sidecar = Sidecar::with(to("crm"))
        .with_connection(to("erp").oauth_at(&endpoint))
        .start();
    let mut operator = Agent::connect_to(sidecar.management());
    operator.get("/readyz").expect_status(200);
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
    Agent::connect(&sidecar)
        .get("/erp/x")
        .refused(502, "credential_unavailable");
    let verbose = operator.get("/readyz?verbose").expect_status(200).text();
    assert!(verbose.contains("failing 1: erp\n"), "{verbose}");
    let mut code = |id: &str| {
        let shown = operator
            .get(&format!("/v1/connections/{id}"))
            .expect_status(200)
            .json();
        shown["connection"]["connectionStatus"]["code"].as_i64()
    };
    assert_eq!(code("crm"), Some(0));
    assert!(code("erp").is_some_and(|code| code != 0));
}

#[test]
fn it_starts_again_after_it_was_killed() {
    // F-187
    let up = Upstream::body("hi");
    let program = Program::new(&[connection("crm").allow("/").upstream(&up)], &json!({}));
    let socket = program.path("agents.sock");
    let listen = format!("unix:{}", socket.display());
    let mut first = program.start(&["--listen", "127.0.0.1:0", "--listen", &listen]);
    let tcp = first.wait_for_line("agents connect to");
    let agents: std::net::SocketAddr = tcp.parse().unwrap();
    first.wait_for_line("ready with");
    // These sockets outlive the process, and the kernel keeps their ends of its port open.
    let mut kept = [Agent::connect_to(agents), Agent::connect_unix(&socket)];
    for agent in &mut kept {
        agent.get("/crm/x").expect_status(200);
    }
    first.signal("KILL");
    assert_eq!(first.wait_for_exit(), None);
    assert!(socket.exists());
    let mut second = program.start(&["--listen", &tcp, "--listen", &listen]);
    second.wait_for_line("ready with");
    Agent::connect_to(agents).get("/crm/x").expect_status(200);
    Agent::connect_unix(&socket)
        .get("/crm/x")
        .expect_status(200);
    second.terminate();
    assert_eq!(second.wait_for_exit(), Some(0));
    assert!(!socket.exists());
}
