//! Tests the text of problem log lines, and which events are written.

mod every_line;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{ConfigProblem, Event, EventFormat, EventLevel, ListenerKind, ProblemLog, TokenFault};
use crate::domain::changes::ChangedConnection;
use crate::domain::{Changes, ConnectionId};

/// A time limit that no step of these tests reaches.
const PATIENCE: Duration = Duration::from_secs(60);

struct ChannelWriter(Sender<Vec<u8>>);

impl std::io::Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _sent = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn start_log(level: EventLevel, format: EventFormat) -> (ProblemLog, Receiver<Vec<u8>>) {
    let (sender, receiver) = channel();
    let log = ProblemLog::start(level, format, ChannelWriter(sender)).unwrap();
    (log, receiver)
}

fn written_lines(log: &ProblemLog, writes: &Receiver<Vec<u8>>) -> String {
    assert!(log.flush(PATIENCE));
    String::from_utf8(writes.try_iter().flatten().collect()).unwrap()
}

fn id(id: &str) -> ConnectionId {
    ConnectionId::parse(id).unwrap()
}

fn ids<const N: usize>(ids: [&str; N]) -> Box<[ConnectionId]> {
    ids.map(id).into()
}

fn token_failed<const N: usize>(connections: [&str; N]) -> Event {
    Event::TokenFailed {
        connections: ids(connections),
        fault: TokenFault {
            reason: "token_refused",
            detail: Some("invalid_client"),
            status: None,
            remedy: Some("do this"),
        },
        retry_in: Duration::from_millis(3500),
        in_a_row: 2,
    }
}

fn unreachable(connection: &str) -> Event {
    Event::UpstreamUnreachable {
        connection: id(connection),
        fault: "dns_error",
    }
}

fn address_refused(connection: &str) -> Event {
    Event::AddressRefused {
        connection: id(connection),
        kind: "private",
    }
}

/// An event, its level, its sentence and its JSON fields.
type Row = (Event, &'static str, &'static str, Value);

fn reload_rows() -> Vec<Row> {
    let reloaded = |changes| Event::Reloaded {
        generation: 2,
        connections: 3,
        hash: "0123456789ab".into(),
        changes,
    };
    let changes = Changes {
        added: vec![id("a")],
        removed: ["b", "c", "d", "e"].map(id).into(),
        changed: vec![ChangedConnection {
            id: id("f"),
            fields: vec!["base_url", "bearer_token"],
        }],
    };
    let settings = vec!["proxy.listen", "log.level"];
    let restart = Event::RestartNeeded { settings };
    let file = "/a.yaml".into();
    let alone = Event::MountedAlone { file };
    #[rustfmt::skip] // one row a line
    let rows = vec![
        (reloaded(Changes::default()), "info", "configuration reloaded: generation 2, live connections 3; nothing changed",
            json!({"event": "reloaded", "generation": 2, "connections": 3, "hash": "0123456789ab", "added": [], "removed": [], "changed": []})),
        (reloaded(changes), "info", "configuration reloaded: generation 2, live connections 3; added a; removed b, c, d and 1 more; changed f (base_url, bearer_token)",
            json!({"event": "reloaded", "generation": 2, "connections": 3, "hash": "0123456789ab", "added": ["a"], "removed": ["b", "c", "d", "e"], "changed": ["f: base_url, bearer_token"]})),
        (Event::LoginChanged, "info", "management credentials replaced", json!({"event": "login_changed"})),
        (restart, "warn", "changed settings take effect only after a restart: proxy.listen, log.level", json!({"event": "restart_needed", "settings": ["proxy.listen", "log.level"]})),
        (alone, "warn", "/a.yaml is a mount of its own (a `subPath`, or a single file bound into a container), so a replacement of it will not be seen; mount its directory instead",
            json!({"event": "mounted_alone", "file": "/a.yaml"})),
        (Event::OutOfReach, "warn", "a configured file cannot be read: hardening limits this process to the directories that contained its files at the start; restart egressd to use a file elsewhere", json!({"event": "out_of_reach"})),
        (Event::StoreOutOfReach, "warn", "the token store cannot be written: hardening gives this process no access to a store that appeared after the start; restart egressd to use it", json!({"event": "out_of_reach"})),
        (Event::Unwatched { why: "no".into() }, "warn", "the system does not report file changes (no); egressd compares the files every 5 s instead", json!({"event": "unwatched"})),
        (Event::ReloadFailed { problems: 2 }, "error", "configuration not reloaded: 2 problems, logged before; the current configuration stays in use", json!({"event": "reload_failed", "problems": 2})),
    ];
    rows
}

fn hardened(succeeded: bool) -> Event {
    let measures = vec![("files", "held".into()), ("system_calls", "off".into())];
    Event::Hardened {
        succeeded,
        measures,
    }
}

fn shadowed_route() -> ConfigProblem {
    ConfigProblem {
        code: "shadowed_route",
        file: "a\u{1b}.yaml".into(),
        line: Some(3),
        field: "x[0]".into(),
        message: "never matches".into(),
        remedy: "take it out".into(),
    }
}

fn process_rows() -> Vec<Row> {
    let dialled = Event::UpstreamDialled {
        connection: id("a"),
        protocol: "h2",
        took: Duration::from_micros(1500),
    };
    let recovered = Event::TokenRecovered {
        connections: ids(["a"]),
        failures: 1,
    };
    let assumed = Event::TokenLifeAssumed {
        connections: ids(["a"]),
        field: "expires_in",
        life_s: 300,
    };
    let obtained = Event::TokenObtained {
        connections: ids(["a"]),
        life_s: None,
    };
    let listening = Event::Listening {
        listener: ListenerKind::Proxy,
        address: "127.0.0.1:1".into(),
        connection: None,
        connections: None,
    };
    let panicked = Event::Panicked {
        thread: "worker-0".into(),
        file: "src/a.rs".into(),
        line: 7,
    };
    let why = || "cannot listen on 127.0.0.1:1".into();
    #[rustfmt::skip] // one row a line
    let rows = vec![
        (listening, "info", "agents connect to 127.0.0.1:1", json!({"event": "listening", "listener": "proxy", "address": "127.0.0.1:1"})),
        (Event::Ready { connections: 1 }, "info", "ready with 1 configured connection", json!({"event": "ready", "connections": 1})),
        (Event::StartFailed { why: why() }, "error", "cannot listen on 127.0.0.1:1", json!({"event": "start_failed"})),
        (Event::Stopping, "info", "stopping after a signal, once the exchanges in flight have ended; a second signal ends the process at once", json!({"event": "stopping"})),
        (Event::Stopped { cut_off: 0 }, "info", "stopped", json!({"event": "stopped", "cut_off": 0})),
        (Event::Stopped { cut_off: 1 }, "warn", "stopped; 1 exchange was cut off at the end of the grace period", json!({"event": "stopped", "cut_off": 1})),
        (Event::Stopped { cut_off: 7 }, "warn", "stopped; 7 exchanges were cut off at the end of the grace period", json!({"event": "stopped", "cut_off": 7})),
        (Event::ConfigWarning { problem: Box::new(shadowed_route()) }, "warn", "a\u{1b}.yaml:3: x[0]: never matches", json!({"event": "config_warning", "code": "shadowed_route", "file": "a\u{1b}.yaml", "line": 3, "field": "x[0]", "remedy": "take it out"})),
        (Event::ReloadUnsupported, "warn", "SIGHUP ignored: there is no configuration file to reload", json!({"event": "reload_unsupported"})),
        (hardened(true), "info", "hardening: files held, system_calls off", json!({"event": "hardening", "files": "held", "system_calls": "off"})),
        (hardened(false), "warn", "hardening: files held, system_calls off", json!({"event": "hardening", "files": "held", "system_calls": "off"})),
        (Event::MemoryShort { used_bytes: 91, limit_bytes: 100 }, "warn", "memory is short (91 of 100 bytes in use): new requests are refused, except a few at a time", json!({"event": "memory_short", "used_bytes": 91, "limit_bytes": 100})),
        (Event::MemoryRecovered { used_bytes: 84, limit_bytes: 100 }, "info", "memory is no longer short: new requests are accepted again", json!({"event": "memory_recovered", "used_bytes": 84, "limit_bytes": 100})),
        (token_failed(["a", "b", "c", "d", "e"]), "warn", "could not obtain a token for connections a, b, c and 2 more: token_refused (invalid_client); next attempt in 4 s at the earliest; do this",
            json!({"event": "token_failed", "connections": ["a", "b", "c", "d", "e"], "reason": "token_refused", "detail": "invalid_client", "status": null, "remedy": "do this", "retry_in_ms": 3500.0, "in_a_row": 2})),
        (recovered, "info", "obtained a token for connection a after 1 failed attempt", json!({"event": "token_recovered", "connections": ["a"], "failures": 1})),
        (assumed, "warn", "the token endpoint of connection a sent an `expires_in` that is not a number of seconds; egressd assumes 300 s",
            json!({"event": "token_life_assumed", "connections": ["a"], "field": "expires_in", "life_s": 300})),
        (obtained, "debug", "obtained a token for connection a, usable only by the requests that waited for it", json!({"event": "token_obtained", "connections": ["a"], "life_s": null})),
        (dialled, "debug", "connected to the upstream of connection a over h2 in 1 ms", json!({"event": "upstream_dialled", "connection": "a", "protocol": "h2", "took_ms": 1.5})),
        (unreachable("a"), "warn", "the upstream of connection a cannot be reached (dns_error); `egressd probe a` shows the step that fails", json!({"event": "upstream_unreachable", "connection": "a", "fault": "dns_error"})),
        (address_refused("a"), "warn", "the upstream of connection a has a forbidden address (private); `allowed_private_cidrs` can allow most non-public addresses", json!({"event": "address_refused", "connection": "a", "kind": "private"})),
        (panicked, "error", "internal error, please report it: worker-0 panicked at src/a.rs:7 (the message is omitted, because it could contain a secret)",
            json!({"event": "panic", "thread": "worker-0", "file": "src/a.rs", "line": 7})),
    ];
    rows
}

#[test]
fn a_json_line_has_the_sentence_and_the_fields() {
    let (log, lines) = start_log(EventLevel::Trace, EventFormat::Json);
    for (event, level, message, fields) in process_rows().into_iter().chain(reload_rows()) {
        log.report(event);
        let line = written_lines(&log, &lines);
        let mut read: Value = serde_json::from_str(&line).unwrap();
        let object = read.as_object_mut().unwrap();
        assert!(
            object
                .remove("time")
                .unwrap()
                .as_str()
                .unwrap()
                .ends_with('Z')
        );
        assert_eq!(object.remove("level").unwrap(), level, "{line}");
        assert_eq!(object.remove("message").unwrap(), message);
        assert_eq!(read, fields);
    }
}

#[test]
fn a_text_line_has_the_severity_and_the_sentence() {
    for (colour, warning) in [
        (false, "warning: "),
        (true, "\u{1b}[1;33mwarning: \u{1b}[0m"),
    ] {
        let (log, lines) = start_log(EventLevel::Trace, EventFormat::Text { colour });
        for (event, level, message, _) in process_rows() {
            log.report(event);
            let message = message.replace('\u{1b}', "\\u{1b}");
            let line = written_lines(&log, &lines);
            match level {
                "error" => assert!(
                    line.contains("error: ") && line.contains(&message),
                    "{line}"
                ),
                "warn" => assert_eq!(line, format!("egressd: {warning}{message}\n")),
                _ => assert_eq!(line, format!("egressd: {message}\n")),
            }
        }
    }
}

#[test]
fn only_events_of_the_level_and_above_are_written() {
    for level in [
        EventLevel::Error,
        EventLevel::Warn,
        EventLevel::Info,
        EventLevel::Debug,
        EventLevel::Trace,
    ] {
        let (log, lines) = start_log(level, EventFormat::Json);
        let mut expected = Vec::new();
        for (event, ..) in process_rows() {
            assert_eq!(log.is_enabled(event.level()), event.level() <= level);
            if event.level() <= level {
                expected.push(event.name());
            }
            log.report(event);
        }
        let lines = written_lines(&log, &lines);
        let names: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| line["event"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, expected, "{level:?}");
    }
}

#[test]
fn events_that_requests_cause_are_rate_limited() {
    let (log, lines) = start_log(EventLevel::Info, EventFormat::Json);
    for _ in 0..1000 {
        log.report(unreachable("a"));
        log.report(unreachable("b"));
        log.report(address_refused("a"));
        log.report(token_failed(["a"]));
    }
    let lines = written_lines(&log, &lines);
    let count = |words: &str| lines.matches(words).count();
    assert_eq!(count("upstream_unreachable"), 2);
    assert_eq!(count("address_refused"), 1);
    assert_eq!(count("token_failed"), 1000, "the grant limits these itself");
}
