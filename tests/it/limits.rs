//! Limits and timeouts: requests that exceed one are refused or cut off, and their resources are
//! released.

use serde_json::json;

use crate::support::h2_echo::H2Echo;
use crate::support::message::{End, text};
use crate::support::reply::Ending;
use crate::support::{Agent, DEADLINE, Gate, Program, Sidecar, Upstream, connection};

/// An upstream that holds requests of `/hold` until the gate opens.
fn holding(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::answer(move |request| {
        if request.target == "/hold" {
            gate.wait();
        }
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    })
}

const HOLD: &str = "GET /crm/hold HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn more_requests_at_once_than_the_process_serves() {
    // F-161
    let gate = Gate::new();
    let up = holding(&gate);
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm).setting("proxy.max_in_flight", 2).start();
    let mut held = [Agent::connect(&sidecar), Agent::connect(&sidecar)];
    for (n, agent) in held.iter_mut().enumerate() {
        agent.send(HOLD);
        up.wait_requests(n + 1);
    }
    let mut third = Agent::connect(&sidecar);
    let reply = third.get("/crm/x");
    let problem = reply.refused(503, "overloaded");
    assert_eq!(problem.error, "connection_limit_reached");
    let limit = "`proxy.max_in_flight` is 2";
    assert!(problem.detail.contains(limit), "{}", problem.detail);
    assert!(reply.fields.single_value("retry-after").is_some());
    // An invalid request is refused as such, before the limit is checked.
    third.get("/crm/../x").refused(400, "path_not_canonical");
    third.get("/nope/x").refused(404, "connection_not_found");
    assert_eq!(up.requests().len(), 2);
    gate.open();
    for agent in &mut held {
        agent.reply().expect_status(200);
    }
    third.get("/crm/x").expect_status(200);
}

#[test]
fn more_requests_at_once_than_a_connection_allows() {
    // F-161
    let gate = Gate::new();
    let up = holding(&gate);
    let to = |id: &str| connection(id).allow("/").upstream(&up);
    let crm = to("crm").http("max_concurrent_requests", json!(1));
    let sidecar = Sidecar::with(crm)
        .with_connection(to("erp"))
        .setting("proxy.workers", 2)
        .start();
    let mut held = Agent::connect(&sidecar);
    held.send(HOLD);
    up.wait_requests(1);
    // All workers share the limit of a connection.
    for _ in 0..4 {
        let reply = Agent::connect(&sidecar).get("/crm/x");
        reply.refused(503, "overloaded");
        assert!(reply.fields.single_value("retry-after").is_some());
        Agent::connect(&sidecar).get("/erp/x").expect_status(200);
    }
    gate.open();
    held.reply().expect_status(200);
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
}

#[test]
fn a_waiting_request_takes_a_slot_that_becomes_free() {
    let gate = Gate::new();
    let up = holding(&gate);
    let crm = connection("crm")
        .allow("/")
        .upstream(&up)
        .http("max_concurrent_requests", json!(1));
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    gate.open();
    // Each of these releases its slot before its reply is read to the end.
    for _ in 0..50 {
        agent.get("/crm/x").expect_status(200);
    }
    assert_eq!(up.requests().len(), 50);
}

#[test]
fn more_sockets_than_the_process_accepts() {
    // F-157
    let up = Upstream::body("hi");
    let crm = connection("crm").allow("/").upstream(&up);
    let plan = Sidecar::with(crm).setting("proxy.max_connections", 2);
    let sidecar = plan.setting("proxy.workers", 1).start();
    let mut taken = vec![Agent::connect(&sidecar), Agent::connect(&sidecar)];
    for agent in &mut taken {
        agent.get("/crm/x").expect_status(200);
    }
    let mut third = Agent::connect(&sidecar);
    third.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    taken[0].get("/crm/x").expect_status(200);
    drop(taken.remove(1));
    // The request is refused at once, or served because a socket was closed. It is answered in any
    // case.
    let reply = third.reply();
    if reply.status == 503 {
        third.expect_close();
    } else {
        reply.expect_status(200);
    }
    taken[0].get("/crm/x").expect_status(200);
    // Any number of sockets can wait. All are served as others close, and so are later ones.
    let ask = "GET /crm/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut crowd: Vec<Agent> = (0..50).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut crowd {
        agent.send(ask);
    }
    taken[0].get("/crm/x").expect_status(200);
    drop((taken, third));
    for mut agent in crowd {
        agent.reply().expect_status(200);
    }
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
}

#[test]
fn unfinished_heads_and_silent_sockets_are_closed() {
    // F-158
    let up = Upstream::body("hi");
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("proxy.header_read_timeout_seconds", DEADLINE)
        .setting("proxy.idle_timeout_seconds", 1)
        .start();
    let mut half = Agent::connect(&sidecar);
    half.send("GET /crm/x HTTP/1.1\r\nHost: loc");
    let mut silent = Agent::connect(&sidecar);
    let mut idle = Agent::connect(&sidecar);
    idle.get("/crm/x").expect_status(200);
    let mut between = Agent::connect(&sidecar);
    between.get("/crm/x").expect_status(200);
    between.send("GET /crm/");
    for agent in [&mut half, &mut silent] {
        agent.wait_close();
        let seen = text(agent.received());
        assert!(
            seen.is_empty() || seen.starts_with("HTTP/1.1 408 "),
            "{seen:?}"
        );
    }
    idle.wait_close();
    between.wait_close();
    assert_eq!(up.requests().len(), 2);
}

#[test]
fn half_a_head_after_a_request_has_the_time_limit_of_a_head() {
    // F-273: the head is already in the parser's buffer when the socket becomes idle.
    let gate = Gate::new();
    let up = holding(&gate);
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("proxy.header_read_timeout_seconds", 1)
        .setting("proxy.idle_timeout_seconds", 3600)
        .start();
    let half = "GET /crm/y HTTP/1.1\r\nHost: loc";
    let mut together = Agent::connect(&sidecar);
    together.send(format!(
        "GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n{half}"
    ));
    // The same after a request that egressd answers itself, and in a later write after a slow
    // request.
    let mut refused = Agent::connect(&sidecar);
    refused.send(format!(
        "GET /crm//x HTTP/1.1\r\nHost: localhost\r\n\r\n{half}"
    ));
    let mut later = Agent::connect(&sidecar);
    later.send(HOLD);
    up.wait_requests(2);
    later.send(half);
    gate.open();
    together.reply().expect_status(200);
    refused.reply().refused(400, "path_not_canonical");
    later.reply().expect_status(200);
    for agent in [&mut together, &mut refused, &mut later] {
        agent.expect_close();
    }
    // A head that arrives in time is served.
    let mut whole = Agent::connect(&sidecar);
    whole.send(format!(
        "GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n{half}"
    ));
    whole.reply().expect_status(200);
    whole.exchange("alhost\r\n\r\n").expect_status(200);
    assert_eq!(up.requests().len(), 4);
}

#[test]
fn a_body_that_stalls() {
    // F-159
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("proxy.body_idle_timeout_seconds", 1)
        .start();
    let post = "POST /crm/x HTTP/1.1\r\nHost: localhost\r\n";
    let mut agents: Vec<Agent> = [
        "Content-Length: 3\r\n\r\na",
        "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ]
    .map(|rest| {
        let mut agent = Agent::connect(&sidecar);
        agent.send(format!("{post}{rest}"));
        agent
    })
    .into();
    for agent in &mut agents {
        agent.reply().refused(408, "request_timeout");
        agent.expect_close();
    }
    up.wait_closed(up.sockets());
    assert!(up.requests().iter().all(|arrived| !arrived.body.whole));
}

#[test]
fn the_deadline_blames_the_agent_for_an_incomplete_body() {
    // F-159
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.http("timeout_seconds", json!(DEADLINE))).start();
    let mut agent = Agent::connect(&sidecar);
    let reply =
        agent.exchange("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na");
    let problem = reply.refused(408, "request_timeout");
    let limit = format!("within {DEADLINE} s (the connection's `timeout_seconds`)");
    assert!(problem.detail.contains(&limit), "{}", problem.detail);
    up.wait_closed(up.sockets());
    assert!(up.requests().iter().all(|arrived| !arrived.body.whole));
}

#[test]
fn an_agent_that_does_not_read_is_cut() {
    // F-160
    let up = Upstream::body(vec![b'a'; 10_000_000]);
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("proxy.write_stall_timeout_seconds", 1)
        .start();
    let mut agent = Agent::connect_narrow(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // The agent reads nothing until egressd has closed the upstream's socket.
    up.wait_closed(1);
    let reply = agent.reply();
    assert_eq!((reply.status, reply.ending), (200, Ending::Aborted));
    assert_eq!(agent.wait_close(), End::Broken);
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
}

#[test]
fn the_deadline_cuts_an_agent_that_reads_too_slowly() {
    // F-160
    let up = Upstream::body(vec![b'a'; 10_000_000]);
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.http("timeout_seconds", json!(DEADLINE))).start();
    let mut agent = Agent::connect_narrow(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    up.wait_closed(1);
    let reply = agent.reply();
    assert_eq!((reply.status, reply.ending), (200, Ending::Aborted));
}

#[test]
fn the_limit_of_the_next_head_starts_when_the_response_is_written() {
    // F-160, F-273: the responses of more than 1 MB are complete at once. The kernel buffers 4 MB,
    // so one of them waits for the agent while the next head has arrived.
    let crm = connection("crm").base_url("https://api.test");
    let crm = (0..2_000).fold(crm, |crm, n| crm.allow(&format!("GET /{n}/{{id}}")));
    let sidecar = Sidecar::with(crm)
        .setting("proxy.header_read_timeout_seconds", 1)
        .setting("proxy.idle_timeout_seconds", 1)
        .start();
    let mut agent = Agent::connect_narrow_to(sidecar.management());
    agent.send("GET /v1/connections HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(6));
    agent.wait_for("200 OK");
    // The agent reads after the limits have passed, which a silent socket shows.
    for _ in 0..2 {
        Agent::connect_to(sidecar.management()).wait_close();
    }
    for _ in 0..6 {
        let reply = agent.reply();
        assert_eq!((reply.status, reply.ending), (200, Ending::Whole));
        assert!(reply.body.len() > 1_000_000, "{}", reply.body.len());
    }
}

/// More than the default ceiling of `max_response_size_bytes`.
const LARGE: usize = 11 * 1024 * 1024;

#[test]
fn a_response_above_the_default_ceiling_passes_through_a_raised_one() {
    // F-282
    let pieces = [vec![b'a'; LARGE - 1], b"z".to_vec()].concat();
    let whole = Upstream::body(&pieces);
    let chunked = Upstream::reply(
        [
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LARGE:x}\r\n")
                .as_bytes(),
            &pieces,
            b"\r\n0\r\n\r\n",
        ]
        .concat(),
    );
    let to = |id: &str, up: &Upstream, cap: usize| {
        let to = connection(id)
            .allow("/")
            .upstream(up)
            .bearer("planted-token-0123456789");
        to.http("max_response_size_bytes", json!(cap))
    };
    let sidecar = Sidecar::with(to("whole", &whole, LARGE))
        .with_connection(to("chunked", &chunked, LARGE))
        .with_connection(to("small", &chunked, LARGE - 1))
        .setting("limits.max_response_size_bytes", LARGE)
        .start();
    let mut agent = Agent::connect(&sidecar);
    for id in ["whole", "chunked"] {
        let reply = agent.get(&format!("/{id}/x"));
        assert!(reply.expect_status(200).body == pieces, "{id}");
        assert_eq!(reply.ending, Ending::Whole, "{id}");
    }
    // The cap of a connection still cuts.
    let cut = agent.get("/small/x");
    assert_eq!((cut.status, cut.ending), (200, Ending::Aborted));
}

#[test]
fn a_large_body_passes_through_the_windows_of_http2_in_both_directions() {
    // F-282: more than the window of a session, which is 16 MiB.
    const LARGER: usize = 20 * 1024 * 1024;
    let up = H2Echo::start();
    let crm = connection("crm")
        .allow("/")
        .base_url(&format!("https://{}", up.address));
    // A debug build on a busy machine takes long to search 20 MiB.
    let crm = crm
        .http("max_response_size_bytes", json!(2 * LARGER))
        .http("timeout_seconds", json!(300));
    let sidecar = Sidecar::with(crm)
        .setting("limits.max_response_size_bytes", 2 * LARGER)
        .setting("proxy.max_request_body_bytes", LARGER)
        .start();
    let body = vec![b'a'; LARGER];
    let reply = Agent::connect(&sidecar).request("POST", "/crm/x", &[], &body);
    let echoed = reply.expect_status(200).json();
    assert!(echoed["body"].as_str().unwrap().as_bytes() == body);
}

#[test]
fn ceilings_are_shown_and_apply_to_the_next_reload() {
    // F-281
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("/").upstream(&up);
    let slow = crm.clone().http("timeout_seconds", json!(301));
    let program = Program::new(
        std::slice::from_ref(&slow),
        &json!({"limits": {"max_timeout_seconds": 301}}),
    );
    let mut running = program.start(&[]);
    running.wait_for_line("limits.max_timeout_seconds: raises the ceiling");
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    let mut operator = Agent::connect_to(operators);
    agent.get("/crm/a").expect_status(200);
    let shown = operator.get("/v1/connections/crm").json();
    let http = &shown["connection"]["connectionDetails"]["http"];
    assert_eq!(http["timeoutSeconds"], 301);
    let ready = operator.get("/readyz?verbose").text();
    let fact = "[i]limits: max_response_size_bytes 10485760, max_timeout_seconds 301 (raised)\n";
    assert!(ready.contains(fact), "{ready}");
    let page = operator.get("/").text();
    let raised = "responses of at most 10.0 MiB, timeouts of at most 301 s.";
    assert!(page.contains(raised), "{page}");

    // A ceiling below a definition that is in use changes nothing.
    let path = program.path("egressd.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    settings["limits"] = json!({"max_timeout_seconds": 20});
    std::fs::write(&path, settings.to_string()).unwrap();
    running.wait_for_line("not reloaded: ");
    agent.get("/crm/a").expect_status(200);
    assert!(operator.get("/readyz?verbose").text().contains(fact));

    // It takes effect together with a definition below it, without a restart.
    program.define(&crm);
    running.wait_for_line("changed crm (timeout_seconds)");
    let shown = operator.get("/v1/connections/crm").json();
    let http = &shown["connection"]["connectionDetails"]["http"];
    assert_eq!(http["timeoutSeconds"], 20);
    let ready = operator.get("/readyz?verbose").text();
    let fact = "[i]limits: max_response_size_bytes 10485760, max_timeout_seconds 20\n";
    assert!(ready.contains(fact), "{ready}");
    agent.get("/crm/a").expect_status(200);
    let (_, _, heard) = running.stop_and_collect();
    assert!(
        !heard.iter().any(|line| line.contains("restart")),
        "{heard:#?}"
    );
}
