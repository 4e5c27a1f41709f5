//! What `egressd serve` tells operators on standard error: events, in the format and from the level that was asked for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;

use egressd::telemetry::{AccessLog, Level, Logs, Look, ProblemLog};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Program, Sidecar, TokenEndpoint, Upstream, connection};

const GET: &str = "GET /crm/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Each line as the object that it is.
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
    let name = |event: &'_ Value| -> &'static str {
        // For a readable comparison only.
        event["event"].as_str().unwrap().to_owned().leak()
    };
    events.iter().map(name).collect()
}

#[test]
fn every_line_is_an_event_where_nobody_looks_on() {
    let upstream = Upstream::echo();
    let endpoint = TokenEndpoint::script([Answer::status("503 Service Unavailable", "", "")]);
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
    let (exit, _, lines) = running.end();
    assert_eq!(exit, Some(0), "{lines:#?}");
    let mut events = objects(&lines);
    // Secrets stand in the file.
    events.retain(|event| event["event"] != "config_warning");
    assert_eq!(
        names(&events),
        [
            "listening",
            "listening",
            "ready",
            "upstream_dialled",
            "token_failed",
            "stopping",
            "stopped"
        ]
    );
    assert_eq!(events[0]["listener"], "proxy");
    assert_eq!(events[0]["address"], agents.to_string());
    assert_eq!(events[1]["listener"], "management");
    assert_eq!(events[2]["message"], "ready with 2 connections");
    assert_eq!(events[3]["connection"], "crm");
    assert_eq!(events[3]["protocol"], "http/1.1");
    assert_eq!(events[4]["connections"], json!(["erp"]));
    assert_eq!(events[4]["reason"], "token_endpoint_error");
    assert_eq!(events[4]["status"], 503);
    assert!(events[4]["retry_in_ms"].as_f64().unwrap() >= 1000.0);
    assert_eq!(events[6]["cut_off"], false);
}

#[test]
fn text_is_sentences() {
    let program = Program::new(
        &[connection("crm")
            .allow("GET /a")
            .base_url("https://crm.test")],
        &json!({}),
    );
    let mut running = program.start(&["--log-format", "text"]);
    let (agents, operators) = running.addresses();
    let (exit, _, lines) = running.end();
    assert_eq!(exit, Some(0));
    assert_eq!(
        lines,
        [
            &format!("egressd: agents connect to {agents}"),
            &format!("egressd: operators connect to {operators}"),
            "egressd: ready with 1 connection",
            "egressd: stopping; a second signal ends at once",
            "egressd: stopped",
        ]
    );
}

/// A configuration with a warning, and an address that is taken: an event of each of two levels.
#[test]
fn the_level_says_what_is_told() {
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

/// Neither exchanges nor the end wait for whoever does not read.
#[test]
fn a_stuck_stderr_holds_nobody_up() {
    // Dialled anew for each request, and each dial is told.
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
    assert_eq!(running.wait(), Some(0));
    let lines: Vec<String> = running.out.by_ref().lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 100, "the access log is whole");
    let rest = running.err.by_ref().lines().map(Result::unwrap);
    let told = rest
        .filter(|line| line.contains("upstream_dialled"))
        .count();
    assert!(told < 100, "it was never stuck");
}

/// What an upstream's failure is made of stays inside: addresses, certificates, names.
#[test]
fn a_failed_upstream_is_told_by_its_kind() {
    // F-201
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls = plain.local_addr().unwrap().port();
    let greeting = std::thread::Builder::new().name("world plain".into());
    let greeting = greeting.spawn(move || {
        use std::io::Write as _;
        let (mut socket, _) = plain.accept().unwrap();
        let _gone = socket.write_all(b"220 mail.secret-host.test ready for 10.1.2.3\r\n");
    });
    let (mut said, problems) = std::io::pipe().unwrap();
    let problems = ProblemLog::start(Level::Trace, Look::Json, problems).unwrap();
    let local = |id: &str, port| {
        connection(id)
            .allow("GET /a")
            .base_url(&format!("https://127.0.0.1:{port}"))
    };
    let untrusted = Upstream::untrusted();
    let sidecar = Sidecar::with(local("refused", closed))
        .and(local("no-tls", no_tls))
        .and(
            connection("private")
                .allow("GET /a")
                .base_url("https://localhost:1")
                .http("allowed_private_cidrs", json!([])),
        )
        .and(
            connection("no-name")
                .allow("GET /a")
                .base_url("https://nowhere.invalid"),
        )
        .and(connection("untrusted").allow("GET /a").upstream(&untrusted))
        .start_logging(Logs {
            access: AccessLog::off(),
            problems: problems.clone(),
        });
    let ids = ["refused", "no-tls", "private", "no-name", "untrusted"];
    for _ in 0..3 {
        for id in ids {
            let reply = Agent::connect(&sidecar).get(&format!("/{id}/a"));
            assert!(reply.status >= 500, "{reply:?}");
        }
    }
    drop(sidecar);
    greeting.unwrap().join().unwrap();
    drop(problems);
    let lines: Vec<String> = BufReader::new(&mut said)
        .lines()
        .map(Result::unwrap)
        .collect();
    let events: Vec<Value> = objects(&lines)
        .into_iter()
        .filter(|e| e["connection"].is_string())
        .collect();
    let told: Vec<(&Value, &Value)> = events
        .iter()
        .map(|event| {
            (
                &event["connection"],
                if event["fault"].is_null() {
                    &event["kind"]
                } else {
                    &event["fault"]
                },
            )
        })
        .collect();
    assert_eq!(told.len(), ids.len(), "once in a while each: {lines:#?}");
    assert_eq!(told[0], (&json!("refused"), &json!("connection_refused")));
    assert_eq!(told[1], (&json!("no-tls"), &json!("tls_protocol_error")));
    assert_eq!(told[2], (&json!("private"), &json!("loopback")));
    assert_eq!(told[3], (&json!("no-name"), &json!("dns_error")));
    assert_eq!(
        told[4],
        (&json!("untrusted"), &json!("tls_certificate_error"))
    );
    for hidden in [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "secret-host",
        "nowhere.invalid",
        "nobody",
    ] {
        assert!(
            lines.iter().all(|line| !line.contains(hidden)),
            "{hidden}: {lines:#?}"
        );
    }
}

/// A request is enough to see that the exchange that failed left an access line that says as little.
#[test]
fn an_access_line_says_no_more() {
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
    let (_, out, lines) = running.end();
    assert!(out.contains("\"code\":\"address_refused\""), "{out}");
    let told = lines
        .iter()
        .filter(|line| line.contains("address_refused"))
        .count();
    assert_eq!(told, 1, "{lines:#?}");
    assert!(!out.contains("localhost") && !lines.concat().contains("localhost"));
}
