//! The end of the process: exchanges in flight finish, new requests are refused as `draining`, what
//! takes too long is cut off, and no agent is left without an answer.

use std::io::{BufRead as _, Read as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::support::program::RunningProgram;
use crate::support::reply::{Ending, Reply};
use crate::support::{
    Agent, Gate, Program, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection,
    scrape_until_contains,
};

const HOLD: &str = "GET /crm/hold HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Starts an upstream that answers at once, except that `/hold` waits for the gate, and the event
/// stream at `/events` continues after the gate.
fn upstream(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::script(move |wire| {
        while let Some(request) = wire.request()
            && request.body.whole
        {
            if request.target == "/hold" {
                gate.wait();
            }
            if request.target == "/events" {
                wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nd\r\ndata: first\n\n\r\n");
                gate.wait();
                wire.send("e\r\ndata: second\n\n\r\n0\r\n\r\n");
            } else {
                wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
            }
        }
    })
}

fn readiness(operators: SocketAddr) -> u16 {
    Agent::connect_to(operators).get("/readyz").status
}

/// Blocks until this many exchanges are in flight.
fn under_way(operators: SocketAddr, exchanges: usize) {
    let line = format!("\negressd_in_flight_requests {exchanges}\n");
    scrape_until_contains(operators, &line);
}

/// Stops the process and blocks until it is not ready.
fn terminate(running: &RunningProgram, operators: SocketAddr) {
    running.terminate();
    while readiness(operators) == 200 {}
}

/// Blocks until new agents are refused.
fn wait_until_refused(agents: SocketAddr) {
    while TcpStream::connect(agents).is_ok() {}
}

fn says_close(reply: &Reply) -> bool {
    reply.fields.single_value("connection").as_deref() == Some("close")
}

/// Settings with a grace period that no test reaches.
fn patient() -> Value {
    json!({"shutdown": {"grace_period_seconds": 3600}})
}

#[test]
fn exchanges_in_flight_finish_and_new_requests_are_refused() {
    // F-183, F-184
    let gate = Gate::new();
    let up = upstream(&gate);
    let crm = connection("crm").allow("/").upstream(&up);
    let program = Program::new(&[crm], &patient());
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut kept: Vec<Agent> = (0..3).map(|_| Agent::connect_to(agents)).collect();
    for agent in &mut kept {
        // Until egressd receives a signal, it serves.
        let reply = agent.get("/crm/x");
        reply.expect_status(200);
        assert!(!says_close(&reply));
    }
    let (mut waiting, mut streaming) = (Agent::connect_to(agents), Agent::connect_to(agents));
    let mut uploading = Agent::connect_to(agents);
    waiting.send(HOLD);
    streaming.send("GET /crm/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    streaming.wait_for("data: first");
    uploading.send("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc");
    under_way(operators, 3);

    running.terminate();
    wait_until_refused(agents);
    // Readiness fails no later than new sockets are refused, so a load balancer notices the stop
    // in time.
    assert_eq!(readiness(operators), 503);
    assert_eq!(Agent::connect_to(operators).get("/livez").status, 200);
    let mut last = kept.pop().unwrap();
    let reply = last.get("/crm/x");
    let problem = reply.refused(503, "draining");
    assert!(problem.retryable && says_close(&reply));
    last.expect_close();
    let mut sent = kept.pop().unwrap();
    sent.request("POST", "/crm/x", &[], &[b'a'; 100_000])
        .refused(503, "draining");

    uploading.send("def");
    for agent in [&mut uploading, &mut waiting] {
        gate.open();
        let reply = agent.reply();
        reply.expect_status(200);
        assert!(
            says_close(&reply),
            "the last response on a socket closes it"
        );
        agent.expect_close();
    }
    let reply = streaming.reply();
    assert_eq!((reply.status, reply.ending), (200, Ending::Whole));
    assert!(reply.text().ends_with("data: second\n\n"));
    streaming.expect_close();
    for agent in &mut kept {
        agent.expect_close();
    }
    assert_eq!(running.wait_for_line("\"stopped"), "");
    let end = running.heard.last().unwrap();
    assert!(end.contains("\"cut_off\":0"), "{end}");
    assert_eq!(running.wait_for_exit(), Some(0));
}

#[test]
fn idle_sockets_are_closed_before_the_end() {
    // F-182
    let gate = Gate::new();
    let up = upstream(&gate);
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("shutdown.grace_period_seconds", 3600)
        .start();
    let mut holding = Agent::connect(&sidecar);
    holding.send(HOLD);
    let (mut idle, mut silent) = (Agent::connect(&sidecar), Agent::connect(&sidecar));
    idle.get("/crm/x").expect_status(200);
    up.wait_requests(2);
    let stopping = sidecar.stop();
    idle.expect_close();
    silent.expect_close();
    assert!(!stopping.is_finished());
    gate.open();
    holding.reply().expect_status(200);
    assert_eq!(stopping.join().unwrap(), 0);
}

#[test]
fn a_pipelined_request_after_the_last_response_is_not_processed() {
    // F-183: a request after the response with `Connection: close` is not processed, so an agent
    // may send it again (RFC 9112 section 9.6).
    let gate = Gate::new();
    let up = upstream(&gate);
    let crm = connection("crm").allow("/").upstream(&up);
    let program = Program::new(&[crm], &patient());
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.send([HOLD, "GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat());
    up.wait_requests(1);
    terminate(&running, operators);
    gate.open();
    let reply = agent.reply();
    reply.expect_status(200);
    assert!(says_close(&reply));
    agent.expect_close();
    assert_eq!(running.wait_for_exit(), Some(0));
    assert_eq!(up.requests().len(), 1);
}

#[test]
fn queued_sockets_get_a_draining_refusal() {
    // F-183
    let path = tempfile::tempdir().unwrap();
    let socket = path.path().join("agents.sock");
    let addresses = [
        "127.0.0.1:0".to_owned(),
        format!("unix:{}", socket.display()),
    ];
    for listen in addresses {
        let gate = Gate::new();
        let up = upstream(&gate);
        let proxy = json!({"listen": [listen], "workers": 1, "max_connections": 1});
        let mut settings = patient();
        settings["proxy"] = proxy;
        let crm = connection("crm").allow("/").upstream(&up);
        let program = Program::new(&[crm], &settings);
        let mut running = program.start(&[]);
        let agents = running.wait_for_line("agents connect to");
        let operators = running
            .wait_for_line("operators connect to")
            .parse()
            .unwrap();
        running.wait_for_line("ready with");
        let connect = || match agents.strip_prefix("unix:") {
            Some(path) => Agent::connect_unix(path.as_ref()),
            None => Agent::connect_to(agents.parse().unwrap()),
        };
        let mut holding = connect();
        holding.send(HOLD);
        up.wait_requests(1);
        // There is one slot, and it is taken. The worker holds one of these sockets, and the others
        // are in the queue of the kernel.
        let mut queue: Vec<Agent> = (0..20).map(|_| connect()).collect();
        for agent in &mut queue {
            agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        terminate(&running, operators);
        for agent in &mut queue {
            agent.reply().refused(503, "draining");
            agent.expect_close();
        }
        gate.open();
        holding.reply().expect_status(200);
        assert_eq!(running.wait_for_exit(), Some(0));
        assert_eq!(up.requests().len(), 1);
        assert!(!socket.exists());
    }
}

#[test]
fn exchanges_that_outlast_the_grace_period_are_cut_off_and_counted() {
    // F-182
    let gate = Gate::new();
    let up = upstream(&gate);
    let tokens = TokenEndpoint::script([TokenAnswer::token("late").once_open(&gate)]);
    let to = |id: &str| connection(id).allow("/").upstream(&up);
    let program = Program::new(
        &[to("crm"), to("erp").oauth(&tokens)],
        &json!({"shutdown": {"grace_period_seconds": 1}}),
    );
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut streaming = Agent::connect_to(agents);
    streaming.send("GET /crm/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    streaming.wait_for("data: first");
    let mut unanswered: Vec<Agent> = [
        HOLD,
        "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc",
        "GET /erp/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    .map(|request| {
        let mut agent = Agent::connect_to(agents);
        agent.send(request);
        agent
    })
    .into();
    under_way(operators, 4);
    running.terminate();
    for agent in &mut unanswered {
        let reply = agent.reply();
        reply.refused(503, "draining");
        assert!(says_close(&reply));
        agent.expect_close();
    }
    let reply = streaming.reply();
    assert_eq!((reply.status, reply.ending), (200, Ending::Aborted));
    let text = reply.text();
    let last = text.strip_prefix("data: first\n\nevent: error\ndata: {");
    assert!(
        last.is_some_and(|last| last.contains("\"code\":\"draining\"")),
        "{text}"
    );
    assert_eq!(
        running.wait_for_line("\"stopped; "),
        "4 exchanges were cut off at the end of the grace period"
    );
    assert_eq!(running.wait_for_exit(), Some(0));
    gate.open();
    let lines: Vec<Value> = (running.out.by_ref().lines())
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let draining = lines.iter().filter(|line| line["code"] == "draining");
    assert_eq!(draining.count(), 4, "{lines:#?}");
    assert!(lines.iter().all(|line| line["outcome"] == "refused"));
}

#[test]
fn a_response_that_the_agent_reads_slowly_arrives_complete() {
    // F-183
    let body = vec![b'a'; 8_000_000];
    let up = Upstream::body(&body);
    let crm = connection("crm").allow("/").upstream(&up);
    let program = Program::new(&[crm], &patient());
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_narrow_to(agents);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("\r\n\r\n");
    terminate(&running, operators);
    let reply = agent.reply();
    assert_eq!(
        (reply.ending, reply.body.len()),
        (Ending::Whole, body.len())
    );
    assert_eq!(running.wait_for_exit(), Some(0));
}
