//! `/livez` and `/readyz`, plain and with their checks.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::reply::Reply;
use crate::support::{
    Agent, Confined, Gate, Program, TokenAnswer, TokenEndpoint, Upstream, connection,
};

fn ask(operators: SocketAddr, target: &str) -> Reply {
    let reply = Agent::connect_to(operators).get(target);
    let kind = reply.fields.all("content-type");
    assert_eq!(kind, ["text/plain; charset=utf-8"], "{reply:?}");
    reply
}

/// Its lines but for that which is there where the machine has a memory limit.
fn but_memory(reply: &Reply) -> String {
    let text = reply.text();
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !line.starts_with("[i]memory: "))
        .collect()
}

#[test]
fn checks_are_listed_where_that_is_asked_for_and_nothing_that_others_do_fails_them() {
    let upstream = Upstream::echo();
    let endpoint =
        TokenEndpoint::script([TokenAnswer::error("401 Unauthorized", "invalid_client")]);
    let program = Program::new(
        &[
            connection("crm").allow("GET /a").upstream(&upstream),
            connection("erp")
                .allow("GET /a")
                .upstream(&upstream)
                .oauth(&endpoint),
        ],
        &json!({}),
    );
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    for plain in [
        "/readyz",
        "/readyz?",
        "/readyz?verbos=1&x",
        "/livez",
        "/livez?a=verbose",
    ] {
        let reply = ask(operators, plain);
        let answer = (reply.status, reply.text());
        assert_eq!(answer, (200, "ok\n".to_owned()), "{plain}");
    }
    assert_eq!(Agent::connect_to(agents).get("/erp/a").status, 502);
    for verbose in [
        "/readyz?verbose",
        "/readyz?verbose=",
        "/readyz?x=1&verbose=yes",
    ] {
        let reply = ask(operators, verbose);
        assert_eq!(reply.status, 200);
        let text = but_memory(&reply);
        let told: Vec<_> = text.lines().collect();
        assert!(told[3].starts_with("[i]configuration: hash "), "{text}");
        assert_eq!(
            text.replace(&format!("{}\n", told[3]), ""),
            format!(
                "[+]configuration ok: generation 1, connections 2\n\
                 [+]listeners ok\n\
                 [+]shutdown ok\n\
                 [i]limits: max_response_size_bytes 10485760, max_timeout_seconds 300\n\
                 [i]credentials: tokens 1, failing 1: erp\n\
                 [i]hardening: {}\n\
                 [i]access log: dropped lines: 0\n\
                 [i]problem log: dropped lines: 0\n\
                 readyz check passed\n",
                Confined::for_this_machine().hardening
            )
        );
    }
    let reply = ask(operators, "/livez?verbose");
    assert_eq!(reply.text(), "[+]ping ok\nlivez check passed\n");
    let head = Agent::connect_to(operators).request("HEAD", "/readyz?verbose", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let post = Agent::connect_to(operators).request("POST", "/readyz", &[], b"");
    assert_eq!(post.status, 405);
}

#[test]
fn a_process_that_drains_is_not_ready_and_says_why() {
    let gate = Gate::new();
    let upstream = Upstream::sse(&gate);
    let program = Program::new(
        &[connection("crm").allow("GET /a").upstream(&upstream)],
        &json!({}),
    );
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.send("GET /crm/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("data: first");
    assert_eq!(ask(operators, "/readyz").status, 200);
    running.terminate();
    while ask(operators, "/readyz").status == 200 {}
    let reply = ask(operators, "/readyz");
    assert_eq!((reply.status, reply.text().as_str()), (503, "draining\n"));
    let reply = ask(operators, "/readyz?verbose");
    assert_eq!(reply.status, 503);
    let text = reply.text();
    let expected = [
        "[+]configuration ok: generation 1, connections 1",
        "[-]listeners closed to agents",
        "[-]shutdown draining",
    ];
    assert_eq!(text.lines().take(3).collect::<Vec<_>>(), expected);
    assert_eq!(text.lines().last(), Some("readyz check failed"));
    assert_eq!(ask(operators, "/livez").status, 200);
    gate.open();
    agent.wait_for("data: second");
    assert_eq!(running.wait_for_exit(), Some(0));
}
