//! Access lines of a running egressd: their fields, what they never contain, and that a slow reader
//! blocks nothing.

use std::io::{BufRead as _, BufReader, PipeReader};

use egressd::telemetry::{AccessFilter, AccessLog, LineFormat, Logs, ProblemLog};
use serde_json::{Value, json};

use crate::support::connection::Connection;
use crate::support::{Agent, Program, Sidecar, Upstream, connection};

const KEYS: [&str; 19] = [
    "time",
    "level",
    "event",
    "request_id",
    "upstream_request_id",
    "listener",
    "connection",
    "route",
    "via",
    "method",
    "path",
    "status",
    "code",
    "outcome",
    "request_bytes",
    "response_bytes",
    "duration_ms",
    "upstream_ms",
    "token_age_s",
];

fn nowhere() -> Connection {
    connection("crm")
        .allow("GET /a")
        .base_url("https://crm.test")
}

/// Starts a sidecar whose access lines can be read after it has ended.
fn logged(connection: Connection, format: LineFormat) -> (Sidecar, PipeReader) {
    let (lines, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::off();
    let access = AccessLog::start(AccessFilter::All, format, out, problems.clone()).unwrap();
    let logs = Logs { access, problems };
    (Sidecar::with(connection).start_logging(logs), lines)
}

fn lines(reader: PipeReader) -> Vec<String> {
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

#[test]
fn a_line_has_every_key_and_the_facts_of_its_exchange() {
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("POST /a/{id}").upstream(&upstream);
    let (sidecar, reader) = logged(crm, LineFormat::Json);
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.request("POST", "/crm/a/7?b=1", &[("X-Request-Id", "r-7")], b"hello");
    assert_eq!(reply.status, 200);
    assert_eq!(agent.get("/erp/a?token=planted").status, 404);
    drop((agent, sidecar));
    let lines = lines(reader);
    let read = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let [good, refused] = [read(&lines[0]), read(&lines[1])];
    for line in [&good, &refused] {
        let mut keys: Vec<&str> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut expected = KEYS.to_vec();
        keys.sort_unstable();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(line["event"], "exchange");
    }
    for (key, value) in [
        ("level", json!("info")),
        ("request_id", json!("r-7")),
        ("upstream_request_id", json!(null)),
        // The configured address, whatever port the system chose.
        ("listener", json!("127.0.0.1:0")),
        ("connection", json!("crm")),
        ("route", json!("POST /a/{id}")),
        ("method", json!("POST")),
        ("path", json!("/crm/a/7")),
        ("status", json!(200)),
        ("code", json!(null)),
        ("outcome", json!("forwarded")),
        ("request_bytes", json!(5)),
        ("response_bytes", json!(reply.body.len())),
        ("token_age_s", json!(null)),
    ] {
        assert_eq!(good[key], value, "{key}");
    }
    assert!(good["upstream_ms"].as_f64() <= good["duration_ms"].as_f64());
    assert_eq!(refused["code"], "connection_not_found");
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(
        (&refused["connection"], &refused["upstream_ms"]),
        (&json!(null), &json!(null))
    );
}

#[test]
fn a_line_names_the_configured_address_of_its_listener() {
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&upstream);
    let (lines_out, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::off();
    let access =
        AccessLog::start(AccessFilter::All, LineFormat::Json, out, problems.clone()).unwrap();
    let sidecar = Sidecar::with(crm)
        .setting(
            "proxy.listeners",
            json!([{"listen": ["unix:a b.sock"], "connection": "crm"}]),
        )
        .start_logging(Logs { access, problems });
    let path = sidecar.path("a b.sock");
    Agent::connect_unix(&path).get("/a").expect_status(200);
    // hyper rejects this head itself.
    Agent::connect_unix(&path)
        .exchange("GET /a HTTP/1.1\r\nno colon\r\n\r\n")
        .expect_status(400);
    drop(sidecar);
    let address = format!("unix:{}", path.display());
    let lines = lines(lines_out);
    let read = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let found: Vec<_> = lines.iter().map(read).collect();
    assert_eq!(found.len(), 2, "{lines:?}");
    for line in &found {
        assert_eq!(line["listener"], address, "{line}");
    }
}

#[test]
fn the_upstreams_request_id_is_logged_unless_it_may_hold_a_secret() {
    let long = "x".repeat(128);
    let too_long = "x".repeat(129);
    let secret = "token-0123456789abcdef";
    let open = || connection("crm").allow("/");
    let unguarded = |connection: Connection| connection.http("reflection_guard", json!(false));
    for (crm, theirs, logged_id) in [
        (open(), "req_1", Some("req_1")),
        (open(), "two \"words\"", Some("two \"words\"")),
        (open(), &long, Some(long.as_str())),
        (open(), &too_long, None),
        (open(), "caf\u{e9}", None),
        (open(), "", None),
        (open().bearer(secret), "req_1", Some("req_1")),
        (open().bearer(secret), secret, None),
        (unguarded(open().bearer(secret)), "req_1", None),
        (unguarded(open()), "req_1", Some("req_1")),
        // Secrets that are too short to be searched for.
        (open().bearer("short"), "req_short", None),
        (
            open().static_header("X-API-Key", "short"),
            "req_short",
            None,
        ),
    ] {
        let up = Upstream::reply(format!(
            "HTTP/1.1 200 OK\r\nX-Request-Id: {theirs}\r\nContent-Length: 0\r\n\r\n"
        ));
        let (sidecar, reader) = logged(crm.upstream(&up), LineFormat::Json);
        let reply = Agent::connect(&sidecar).get("/crm/x");
        let is_reflected = theirs == secret;
        assert_eq!(
            reply.status,
            if is_reflected { 502 } else { 200 },
            "{theirs}"
        );
        drop(sidecar);
        let line = lines(reader).remove(0);
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["upstream_request_id"], json!(logged_id), "{line}");
        assert!(!line.contains(secret), "{line}");
    }
}

/// Sends paths, queries, header values and methods that would colour, split or fill a log.
#[test]
fn nothing_that_an_agent_sends_breaks_a_line() {
    // F-198, F-199, F-265
    let long = "x".repeat(8192);
    let targets = [
        "/crm/a?api_key=planted-secret".to_owned(),
        "/crm/%1b[31mred%0d%0a{\"event\":\"exchange\"}".to_owned(),
        "/crm/\"quoted\"?token=planted-secret".to_owned(),
        "/crm/\u{9b}31m\u{202e}\u{2028}".to_owned(),
        "/crm/\u{1b}[31m\u{7f}".to_owned(),
        "/crm/\u{5d0}\u{5d1}/\u{430}/\u{ff0f}\u{e9}".to_owned(),
        format!("/crm/{long}?{long}planted-secret"),
        "http://crm.test/a?planted-secret#planted-secret".to_owned(),
        "*".to_owned(),
    ];
    for format in [LineFormat::Json, LineFormat::Text] {
        let (sidecar, reader) = logged(nowhere(), format);
        for target in &targets {
            for method in ["GET", &long] {
                let mut agent = Agent::connect(&sidecar);
                agent.send(format!(
                    "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                     User-Agent: \u{9b}31mplanted-secret\r\nX-Request-Id: \u{9b}2J\"planted-secret\r\n\r\n"
                ));
                agent.wait_close();
            }
        }
        let mut last = Agent::connect(&sidecar);
        assert_eq!(last.get("/crm/the-last").status, 403);
        drop((last, sidecar));
        let lines = lines(reader);
        assert!(lines.len() >= 8, "{lines:#?}");
        assert!(lines.last().unwrap().contains("/crm/the-last"));
        for line in &lines {
            let plain = |byte: u8| matches!(byte, b' '..=b'~');
            assert!(line.bytes().all(plain), "{line:?}");
            assert!(!line.contains("planted-secret"), "{line}");
            assert!(line.len() < 2000, "{} bytes", line.len());
            if format == LineFormat::Json {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(line["path"].as_str().is_none_or(|path| path.len() <= 256));
            }
        }
    }
}

#[test]
fn the_last_exchange_before_the_stop_has_its_line() {
    let program = Program::new(&[nowhere()], &json!({}));
    for format in ["json", "text"] {
        let mut running = program.start(&["--log-format", format]);
        let (agents, _) = running.addresses();
        let mut agent = Agent::connect_to(agents);
        // More than a pipe buffers: the rest waits until the test reads at the end.
        for number in 0..1000 {
            assert_eq!(agent.get(&format!("/crm/{number}")).status, 403);
        }
        let (exit, out, _) = running.stop_and_collect();
        assert_eq!(exit, Some(0));
        assert_eq!(out.lines().count(), 1000);
        assert!(out.lines().last().unwrap().contains("/crm/999"), "{out}");
    }
}

const MANY: usize = 20_000;

/// Sends [`MANY`] refused requests on one socket, in batches.
fn send_many(agents: std::net::SocketAddr) {
    let mut agent = Agent::connect_to(agents);
    let request = "GET /crm/b HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..MANY / 100 {
        agent.send(request.repeat(100));
        for _ in 0..100 {
            assert_eq!(agent.reply().status, 403);
        }
    }
}

/// A flood of refusals fills a bounded queue and not the memory; lines that do not fit are counted.
#[test]
fn a_stuck_stdout_delays_neither_agents_nor_the_other_log_nor_the_stop() {
    // F-167
    let program = Program::new(&[nowhere()], &json!({}));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    send_many(agents);
    running.terminate();
    running.wait_for_line("stopping");
    running.wait_for_line("stopped");
    assert_eq!(running.wait_for_exit(), Some(0));
}

#[test]
fn a_late_reader_finds_whole_lines_and_the_number_of_lost_ones_is_logged() {
    // F-167
    let program = Program::new(&[nowhere()], &json!({}));
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    send_many(agents);
    let (exit, out, lines) = running.stop_and_collect();
    assert_eq!(exit, Some(0));
    for line in out.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    let lost = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["event"] == "lines_lost").then(|| event["lines"].as_u64().unwrap())
    };
    let lost: Vec<u64> = lines.iter().filter_map(lost).collect();
    assert_eq!(lost.len(), 1, "the loss is reported once: {lines:#?}");
    assert_eq!(out.lines().count() as u64 + lost[0], MANY as u64);
}

#[test]
fn the_settings_refused_and_off_omit_lines() {
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&upstream);
    for (access, expected) in [("all", 2), ("refused", 1), ("off", 0)] {
        let program = Program::new(
            std::slice::from_ref(&crm),
            &json!({"log": {"access": access}}),
        );
        let mut running = program.start(&[]);
        let (agents, _) = running.addresses();
        let mut agent = Agent::connect_to(agents);
        assert_eq!(agent.get("/crm/a").status, 200);
        assert_eq!(agent.get("/crm/b").status, 403);
        let (exit, out, _) = running.stop_and_collect();
        assert_eq!(exit, Some(0));
        assert_eq!(out.lines().count(), expected, "{access}: {out}");
    }
}

/// The list of connections involves no upstream, so its line has no upstream time.
#[test]
fn a_response_of_egressd_itself_has_no_upstream_time() {
    let (sidecar, reader) = logged(nowhere(), LineFormat::Json);
    Agent::connect(&sidecar).get("/").expect_status(200);
    drop(sidecar);
    let line: Value = serde_json::from_str(&lines(reader)[0]).unwrap();
    for (key, value) in [
        ("status", json!(200)),
        ("outcome", json!("forwarded")),
        ("connection", json!(null)),
        ("upstream_ms", json!(null)),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
}
