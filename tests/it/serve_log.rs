//! The problem log of `egressd serve` on standard error: its events, formats and levels.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpListener;

use egressd::telemetry::{AccessLog, EventFormat, EventLevel, Logs, ProblemLog};
use serde_json::{Value, json};

use crate::support::{
    Agent, Confined, Program, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection,
};

const GET: &str = "GET /crm/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Parses each line as a JSON object with the keys that all events have.
fn objects(lines: &[String]) -> Vec<Value> {
    let read = |line: &String| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["time", "level", "event", "message"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
        object
    };
    lines.iter().map(read).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect()
}

#[test]
fn every_line_is_a_json_event_if_standard_error_is_not_a_terminal() {
    let upstream = Upstream::echo();
    let endpoint = TokenEndpoint::script([TokenAnswer::status("503 Service Unavailable", "", "")]);
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
    let mut running = program.start(&["--log-level", "debug"]);
    let (agents, _) = running.addresses();
    for id in ["crm", "erp"] {
        Agent::connect_to(agents).get(&format!("/{id}/a"));
    }
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0), "{lines:#?}");
    let mut events = objects(&lines);
    // The definitions contain secrets, which the loader warns of.
    events.retain(|event| event["event"] != "config_warning");
    assert_eq!(
        names(&events),
        [
            "hardening",
            "listening",
            "listening",
            "ready",
            "upstream_dialled",
            "token_failed",
            "stopping",
            "stopped"
        ]
    );
    assert_eq!(events[1]["listener"], "proxy");
    assert_eq!(events[1]["address"], agents.to_string());
    assert_eq!(events[2]["listener"], "management");
    assert_eq!(events[3]["message"], "ready with 2 configured connections");
    assert_eq!(events[4]["connection"], "crm");
    assert_eq!(events[4]["protocol"], "http/1.1");
    assert_eq!(events[5]["connections"], json!(["erp"]));
    assert_eq!(events[5]["reason"], "token_endpoint_error");
    assert_eq!(events[5]["status"], 503);
    assert!(events[5]["retry_in_ms"].as_f64().unwrap() >= 1000.0);
    assert_eq!(events[7]["cut_off"], 0);
}

#[test]
fn text_lines_are_sentences() {
    let program = Program::new(
        &[connection("crm")
            .allow("GET /a")
            .base_url("https://crm.test")],
        &json!({}),
    );
    let mut running = program.start(&["--log-format", "text"]);
    let (agents, operators) = running.addresses();
    let (exit, _, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0));
    assert_eq!(
        lines,
        [
            &format!(
                "egressd: hardening: {}",
                Confined::for_this_machine().hardening
            ),
            &format!("egressd: agents connect to {agents}"),
            &format!("egressd: operators connect to {operators}"),
            "egressd: ready with 1 configured connection",
            "egressd: stopping after a signal, once the exchanges in flight have ended; a second signal ends the process at once",
            "egressd: stopped",
        ]
    );
}

/// A configuration with a warning, and an address that is in use: one event of each of two levels.
#[test]
fn the_level_decides_which_events_are_written() {
    // F-19
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let inline = connection("crm").allow("GET /a").bearer("inline-secret");
    let inline = inline.base_url("https://crm.test");
    let program = Program::new(&[inline], &json!({}));
    let mut counted = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        let flags = ["--listen", &address, "--log-level", level];
        let (exit, out, err) = program.run(&flags);
        assert_eq!((exit, out.as_str()), (Some(69), ""), "{err}");
        let lines: Vec<String> = err.lines().map(str::to_owned).collect();
        let mut events = objects(&lines);
        let last = events.pop().unwrap();
        assert_eq!(
            (&last["event"], &last["level"]),
            (&json!("start_failed"), &json!("error"))
        );
        let message = last["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("cannot listen on {address}: ")),
            "{message}"
        );
        for event in &events {
            assert_eq!(
                (&event["event"], &event["level"]),
                (&json!("config_warning"), &json!("warn"))
            );
            assert!(
                event["code"].is_string() && event["file"].is_string(),
                "{event}"
            );
        }
        counted.push(events.len());
        let (exit, _, text) = program.run(&[&flags[..], &["--log-format", "text"]].concat());
        assert_eq!(exit, Some(69));
        assert!(
            text.contains(&format!("egressd: error: cannot listen on {address}: ")),
            "{text}"
        );
        assert_eq!(text.contains("warning"), !events.is_empty(), "{text}");
    }
    assert_eq!(counted[0], 0);
    assert!(
        counted[1] > 0 && counted[1..].iter().all(|n| *n == counted[1]),
        "{counted:?}"
    );
}

/// Neither exchanges nor the stop wait for a reader of the log.
#[test]
fn a_stuck_stderr_delays_neither_agents_nor_the_stop() {
    // Each request needs a new socket, and each dial is an event.
    let upstream = Upstream::script(|wire| {
        if wire.request().is_some() {
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let program = Program::new(
        &[connection("crm").allow("GET /a").upstream(&upstream)],
        &json!({}),
    );
    let mut running = program.start_with_narrow_stderr(&["--log-level", "debug"]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    for _ in 0..100 {
        assert_eq!(agent.get("/crm/a").status, 200);
    }
    drop(agent);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
    let lines: Vec<String> = running.out.by_ref().lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 100, "the access log is complete");
    let rest = running.err.by_ref().lines().map(Result::unwrap);
    let logged = rest
        .filter(|line| line.contains("upstream_dialled"))
        .count();
    assert!(logged < 100, "standard error was never stuck");
}

/// Returns the port of a server that sends a plain-text greeting instead of TLS to one caller.
fn greets_in_clear() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::Builder::new().name("world plain".into());
    let serving = thread.spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _gone = socket.write_all(b"220 mail.secret-host.test ready for 10.1.2.3\r\n");
    });
    drop(serving.unwrap());
    port
}

fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The details of a failed upstream (addresses, certificates, names) are in no event.
#[test]
fn a_failed_upstream_is_logged_by_the_kind_of_failure() {
    // F-201
    let untrusted = Upstream::untrusted();
    let one = |id: &str| connection(id).allow("GET /a");
    let at = |id: &str, host: &str, port| one(id).base_url(&format!("https://{host}:{port}"));
    let inside = at("inside", "localhost", 1).http("allowed_private_cidrs", json!([]));
    let (mut reader, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::start(EventLevel::Trace, EventFormat::Json, out).unwrap();
    let sidecar = Sidecar::with(at("refused", "127.0.0.1", closed_port()))
        .with_connection(at("no-tls", "127.0.0.1", greets_in_clear()))
        .with_connection(inside)
        .with_connection(at("no-name", "nowhere.invalid", 443))
        .with_connection(one("untrusted").upstream(&untrusted))
        .start_logging(Logs {
            access: AccessLog::off(),
            problems,
        });
    let expected = [
        ("refused", "connection_refused"),
        ("no-tls", "tls_protocol_error"),
        ("inside", "loopback"),
        ("no-name", "dns_error"),
        ("untrusted", "tls_certificate_error"),
    ];
    for _ in 0..3 {
        for (id, _) in expected {
            let reply = Agent::connect(&sidecar).get(&format!("/{id}/a"));
            assert_eq!(reply.status, 502, "{reply:?}");
        }
    }
    drop(sidecar);
    let mut lines = String::new();
    reader.read_to_string(&mut lines).unwrap();
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    let events = objects(&lines);
    let of_connections = events
        .iter()
        .filter(|event| event["connection"].is_string());
    let logged: Vec<(&str, &str)> = of_connections
        .map(|event| {
            let kind = event["fault"].as_str().or(event["kind"].as_str());
            (event["connection"].as_str().unwrap(), kind.unwrap())
        })
        .collect();
    assert_eq!(
        logged, expected,
        "each is logged once in a period: {lines:#?}"
    );
    for hidden in [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "secret-host",
        "invalid",
        "nobody",
    ] {
        let contains_hidden = |line: &&String| line.contains(hidden);
        assert_eq!(lines.iter().find(contains_hidden), None, "{hidden}");
    }
}

/// The access line of a failed exchange has no details either.
#[test]
fn the_access_line_of_a_failed_upstream_has_no_details() {
    // F-201
    let program = Program::new(
        &[connection("crm")
            .allow("GET /a")
            .base_url("https://localhost:1")
            .http("allowed_private_cidrs", json!([]))],
        &json!({}),
    );
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let mut agent = Agent::connect_to(agents);
    agent.send(GET);
    assert_eq!(agent.reply().status, 502);
    let (_, out, lines) = running.stop_and_collect();
    assert!(out.contains("\"code\":\"address_refused\""), "{out}");
    let logged = lines
        .iter()
        .filter(|line| line.contains("address_refused"))
        .count();
    assert_eq!(logged, 1, "{lines:#?}");
    assert!(!out.contains("localhost") && !lines.concat().contains("localhost"));
}
