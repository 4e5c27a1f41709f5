//! What lines look like, and which are written.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::MemoryEvent;
use super::{
    ConfigFinding, DialOutcome, Event, EventFormat, EventLevel, ListenerKind, ProblemLog,
    ReloadEvent, TokenEvent, TokenFault, TokenOutcome, UpstreamEvent,
};
use crate::domain::changes::Changed;
use crate::domain::{Changes, ConnectionId};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Said(Sender<Vec<u8>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _unheard = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log(level: EventLevel, look: EventFormat) -> (ProblemLog, Receiver<Vec<u8>>) {
    let (says, said) = channel();
    (ProblemLog::start(level, look, Said(says)).unwrap(), said)
}

fn said(log: &ProblemLog, said: &Receiver<Vec<u8>>) -> String {
    assert!(log.flush(PATIENCE));
    String::from_utf8(said.try_iter().flatten().collect()).unwrap()
}

fn id(id: &str) -> ConnectionId {
    ConnectionId::parse(id).unwrap()
}

fn failed(connections: &[&str]) -> Event {
    Event::Token(TokenEvent {
        connections: connections.iter().copied().map(id).collect(),
        outcome: TokenOutcome::Failed {
            fault: TokenFault {
                reason: "token_refused",
                detail: Some("invalid_client"),
                status: None,
                remedy: Some("do this"),
            },
            retry_in: Duration::from_millis(3500),
            in_a_row: 2,
        },
    })
}

fn of_token(outcome: TokenOutcome) -> Event {
    Event::Token(TokenEvent {
        connections: [id("a")].into(),
        outcome,
    })
}

fn assumed_life() -> TokenOutcome {
    TokenOutcome::LifeAssumed {
        life: Duration::from_secs(300),
    }
}

fn dial(connection: &str, outcome: DialOutcome) -> Event {
    Event::Upstream(UpstreamEvent {
        connection: id(connection),
        outcome,
    })
}

/// An event, its level, its sentence and its fields.
type Row = (Event, &'static str, &'static str, Value);

fn of_reloads() -> Vec<Row> {
    let reloaded = |changes| {
        Event::Reload(ReloadEvent::Done {
            generation: 2,
            connections: 3,
            hash: "0123456789ab".into(),
            changes,
        })
    };
    let changes = Changes {
        added: vec![id("a")],
        removed: ["b", "c", "d", "e"].map(id).into(),
        changed: vec![Changed {
            id: id("f"),
            fields: vec!["base_url", "bearer_token"],
        }],
    };
    let settings = vec!["proxy.listen", "log.level"];
    let restart = ReloadEvent::NeedsRestart { settings };
    let file = "/a.yaml".into();
    let alone = ReloadEvent::MountedAlone { file };
    #[rustfmt::skip] // one row a line
    let rows = vec![
        (reloaded(Changes::default()), "info", "reloaded: generation 2, live connections 3; nothing changed",
            json!({"event": "reloaded", "generation": 2, "connections": 3, "hash": "0123456789ab", "added": [], "removed": [], "changed": []})),
        (reloaded(changes), "info", "reloaded: generation 2, live connections 3; added a; removed b, c, d and 1 more; changed f (base_url, bearer_token)",
            json!({"event": "reloaded", "generation": 2, "connections": 3, "hash": "0123456789ab", "added": ["a"], "removed": ["b", "c", "d", "e"], "changed": ["f: base_url, bearer_token"]})),
        (Event::Reload(ReloadEvent::LoginChanged), "info", "the login of the management API is another one now", json!({"event": "login_changed"})),
        (Event::Reload(restart), "warn", "changed, and without effect until the next start: proxy.listen, log.level", json!({"event": "restart_needed", "settings": ["proxy.listen", "log.level"]})),
        (Event::Reload(alone), "warn", "/a.yaml is a mount of its own (a `subPath`, or a single file that a container was given): a new one will not be seen; mount its directory",
            json!({"event": "mounted_alone", "file": "/a.yaml"})),
        (Event::Reload(ReloadEvent::OutOfReach), "warn", "since its start this process reads only the directories that its files lay in then: a file elsewhere takes a restart", json!({"event": "out_of_reach"})),
        (Event::Reload(ReloadEvent::Unwatched { why: "no".into() }), "warn", "the system does not tell of changed files (no): they are compared every few seconds", json!({"event": "unwatched"})),
        (Event::Reload(ReloadEvent::Failed { problems: 2 }), "error", "not reloaded, problems 2: the configuration in use stays", json!({"event": "reload_failed", "problems": 2})),
    ];
    rows
}

/// One of each, with its fields.
fn hardened(whole: bool) -> Event {
    let measures = vec![("files", "held".into()), ("system_calls", "off".into())];
    Event::Hardened { whole, measures }
}

fn all() -> Vec<Row> {
    let refused = DialOutcome::AddressRefused { kind: "private" };
    let unreachable = DialOutcome::Unreachable { fault: "dns_error" };
    let dialled = DialOutcome::Dialled {
        protocol: "h2",
        took: Duration::from_micros(1500),
    };
    let recovered = TokenOutcome::Recovered { failures: 1 };
    let assumed = assumed_life();
    let obtained = TokenOutcome::Obtained { life: None };
    let warning = ConfigFinding {
        code: "shadowed_route",
        file: "a\u{1b}.yaml".into(),
        line: Some(3),
        field: "x[0]".into(),
        message: "never matches".into(),
        remedy: "take it out".into(),
    };
    let listening = Event::Listening {
        door: ListenerKind::Proxy,
        address: "127.0.0.1:1".into(),
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
        (Event::Ready { connections: 1 }, "info", "ready with 1 connection", json!({"event": "ready", "connections": 1})),
        (Event::StartFailed { why: why() }, "error", "cannot listen on 127.0.0.1:1", json!({"event": "start_failed"})),
        (Event::Stopping, "info", "stopping; a second signal ends at once", json!({"event": "stopping"})),
        (Event::Stopped { cut_off: 0 }, "info", "stopped", json!({"event": "stopped", "cut_off": 0})),
        (Event::Stopped { cut_off: 1 }, "warn", "stopped; 1 exchange was cut off", json!({"event": "stopped", "cut_off": 1})),
        (Event::Stopped { cut_off: 7 }, "warn", "stopped; 7 exchanges were cut off", json!({"event": "stopped", "cut_off": 7})),
        (Event::ConfigWarning(Box::new(warning)), "warn", "a\u{1b}.yaml:3: x[0]: never matches", json!({"event": "config_warning", "code": "shadowed_route", "file": "a\u{1b}.yaml", "line": 3, "field": "x[0]", "remedy": "take it out"})),
        (Event::ReloadUnsupported, "warn", "SIGHUP: there is no configuration to read anew", json!({"event": "reload_unsupported"})),
        (hardened(true), "info", "hardening: files held, system_calls off", json!({"event": "hardening", "files": "held", "system_calls": "off"})),
        (hardened(false), "warn", "hardening: files held, system_calls off", json!({"event": "hardening", "files": "held", "system_calls": "off"})),
        (Event::Memory(MemoryEvent { is_short: true, used: 91, limit: 100 }), "warn", "memory is short (91 of 100 bytes): new requests are refused, but for a few", json!({"event": "memory_short", "used_bytes": 91, "limit_bytes": 100})),
        (Event::Memory(MemoryEvent { is_short: false, used: 84, limit: 100 }), "info", "memory is no longer short: requests are taken as ever", json!({"event": "memory_recovered", "used_bytes": 84, "limit_bytes": 100})),
        (failed(&["a", "b", "c", "d", "e"]), "warn", "no token for a, b, c and 2 more: token_refused (invalid_client); asked again in 4 s at the earliest; do this",
            json!({"event": "token_failed", "connections": ["a", "b", "c", "d", "e"], "reason": "token_refused", "detail": "invalid_client", "status": null, "remedy": "do this", "retry_in_ms": 3500.0, "in_a_row": 2})),
        (of_token(recovered), "info", "a token for a again, after 1 failure", json!({"event": "token_recovered", "connections": ["a"], "failures": 1})),
        (of_token(assumed), "warn", "the token endpoint of a sends an `expires_in` that is not a number of seconds; 300 s are assumed",
            json!({"event": "token_life_assumed", "connections": ["a"], "field": "expires_in", "life_s": 300})),
        (of_token(obtained), "debug", "a token for a", json!({"event": "token_obtained", "connections": ["a"], "life_s": null})),
        (dial("a", dialled), "debug", "h2 with the upstream of a after 1 ms", json!({"event": "upstream_dialled", "connection": "a", "protocol": "h2", "took_ms": 1.5})),
        (dial("a", unreachable), "warn", "the upstream of a cannot be reached (dns_error)", json!({"event": "upstream_unreachable", "connection": "a", "fault": "dns_error"})),
        (dial("a", refused), "warn", "the upstream of a has a forbidden address (private)", json!({"event": "address_refused", "connection": "a", "kind": "private"})),
        (panicked, "error", "a bug: worker-0 panicked at src/a.rs:7 (the message is left out: it may hold anything)",
            json!({"event": "panic", "thread": "worker-0", "file": "src/a.rs", "line": 7})),
    ];
    rows
}

#[test]
fn a_json_line_has_the_sentence_and_the_fields() {
    let (log, lines) = log(EventLevel::Trace, EventFormat::Json);
    for (event, level, message, fields) in all().into_iter().chain(of_reloads()) {
        log.report(event);
        let line = said(&log, &lines);
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
fn a_text_line_has_the_sentence_and_a_word_for_what_is_bad() {
    for (colour, warning) in [
        (false, "warning: "),
        (true, "\u{1b}[1;33mwarning: \u{1b}[0m"),
    ] {
        let (log, lines) = log(EventLevel::Trace, EventFormat::Text { colour });
        for (event, level, message, _) in all() {
            log.report(event);
            let message = message.replace('\u{1b}', "\\u{1b}");
            let line = said(&log, &lines);
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
fn the_level_says_what_is_written() {
    for level in [
        EventLevel::Error,
        EventLevel::Warn,
        EventLevel::Info,
        EventLevel::Debug,
        EventLevel::Trace,
    ] {
        let (log, lines) = log(level, EventFormat::Json);
        let mut expected = Vec::new();
        for (event, ..) in all() {
            assert_eq!(log.is_enabled(event.level()), event.level() <= level);
            if event.level() <= level {
                expected.push(event.name());
            }
            log.report(event);
        }
        let lines = said(&log, &lines);
        let names: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| line["event"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, expected, "{level:?}");
    }
}

#[test]
fn what_requests_bring_about_does_not_flood() {
    let (log, lines) = log(EventLevel::Info, EventFormat::Json);
    let unreachable =
        |connection| dial(connection, DialOutcome::Unreachable { fault: "dns_error" });
    for _ in 0..1000 {
        log.report(unreachable("a"));
        log.report(unreachable("b"));
        log.report(dial("a", DialOutcome::AddressRefused { kind: "private" }));
        log.report(failed(&["a"]));
    }
    let lines = said(&log, &lines);
    let count = |words: &str| lines.matches(words).count();
    assert_eq!(count("upstream_unreachable"), 2);
    assert_eq!(count("address_refused"), 1);
    assert_eq!(
        count("token_failed"),
        1000,
        "its grant says it once a pause"
    );
}
