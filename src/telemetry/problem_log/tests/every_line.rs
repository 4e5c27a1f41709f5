//! Compares every event in both formats with `every_line.txt`, byte for byte.

use std::time::Duration;

use super::{id, ids, process_rows, reload_rows, start_log, written_lines};
use crate::domain::changes::ChangedConnection;
use crate::domain::{Changes, ConnectionId};
use crate::telemetry::problem_log::{
    ConfigProblem, Event, EventFormat, EventLevel, GrantEvent, ListenerKind, LogStream,
    ResponsePart, TokenFault,
};

/// The length of the time of a JSON line, with its key.
const TIME: usize = r#""time":"1970-01-01T00:00:00.000000Z","#.len();

fn problem() -> Box<ConfigProblem> {
    Box::new(ConfigProblem {
        code: "c",
        file: "f".into(),
        line: None,
        field: String::new(),
        message: "m\n\u{7f}\u{e9}\"\\\t".into(),
        remedy: "r".into(),
    })
}

fn reflected(part: ResponsePart, header: Option<&str>, owner: Option<&str>) -> Event {
    Event::CredentialReflected {
        connection: id("a"),
        part,
        secret: "bearer_token",
        header: header.map(Into::into),
        owner: owner.map(id),
        closed: owner == Some("a"),
        guess: owner == Some("b"),
    }
}

fn token_failed(
    status: Option<u16>,
    detail: Option<&'static str>,
    remedy: Option<&'static str>,
) -> Event {
    Event::TokenFailed {
        connections: ids(["a", "b"]),
        fault: TokenFault {
            reason: "status",
            detail,
            status,
            remedy,
        },
        retry_in: Duration::from_nanos(1_500_999),
        in_a_row: 1,
    }
}

fn many_changes() -> Changes {
    let many: Vec<ConnectionId> = (0..150).map(|n| id(&format!("c{n}"))).collect();
    let changed = many.iter().map(|id| ChangedConnection {
        id: id.clone(),
        fields: vec!["x", "y"],
    });
    Changes {
        added: many.clone(),
        removed: many.clone(),
        changed: changed.collect(),
    }
}

/// Returns the events, and variants of events, that have no row of their own.
fn more_events() -> Vec<Event> {
    #[rustfmt::skip] // one event a line
    let events = vec![
        Event::Listening { listener: ListenerKind::Management, address: "unix:/x".into(), connection: None, connections: None },
        Event::Listening { listener: ListenerKind::Proxy, address: "unix:/x".into(), connection: None, connections: Some(ids(["a", "b"])) },
        Event::Listening { listener: ListenerKind::Proxy, address: "127.0.0.1:1".into(), connection: Some(id("a")), connections: None },
        Event::Ready { connections: 2 },
        Event::ConfigProblem { problem: problem() },
        Event::ConfigWarning { problem: problem() },
        Event::NoNameServers,
        Event::FewDescriptors { limit: 1, sockets: 2, wanted: 3 },
        Event::Hardened { succeeded: true, measures: Vec::new() },
        Event::UpstreamSurplus { connection: id("a") },
        Event::LoginFailed,
        Event::LinesLost { log: LogStream::Access, lines: 3 },
        Event::LinesLost { log: LogStream::Problem, lines: 4 },
        reflected(ResponsePart::Header, None, None),
        reflected(ResponsePart::Body, Some("x-key"), Some("a")),
        reflected(ResponsePart::Body, Some("x-key"), Some("b")),
        token_failed(Some(500), None, None),
        token_failed(None, Some("d"), Some("r")),
        token_failed(None, None, None),
        Event::TokenRecovered { connections: ids(["a"]), failures: 3 },
        Event::TokenObtained { connections: ids(["a"]), life_s: Some(1) },
        Event::DialResourcesExhausted { connection: id("a") },
        Event::ReloadPostponed,
        Event::Grant(GrantEvent::ConsentGiven { connections: ids(["a"]) }),
        Event::Grant(GrantEvent::ConsentNeeded { connections: ids(["a", "b"]), reason: "refresh_token_refused", may_have_copies: true }),
        Event::Grant(GrantEvent::GrantAdopted { connections: ids(["a"]) }),
        Event::Grant(GrantEvent::TokenFileUnusable { connections: ids(["a"]), file: "/t/a.json".into(), why: "is not a regular file".into() }),
        Event::Grant(GrantEvent::SecretReadable { connections: ids(["a"]), file: "/t/a.json".into() }),
        Event::Grant(GrantEvent::TokenRotated { connections: ids(["a"]) }),
        Event::Grant(GrantEvent::RefreshAmbiguous { connections: ids(["a"]), reason: "token_endpoint_timeout" }),
        Event::Grant(GrantEvent::TokenStoreFailed { connections: ids(["a"]), why: "disk full".into() }),
        Event::Grant(GrantEvent::RotationUnexpected { connections: ids(["a"]) }),
        Event::Reloaded { generation: 1, connections: 2, hash: "h".into(), changes: many_changes() },
    ];
    events
}

#[test]
fn every_line_stays_the_same() {
    let mut all = String::new();
    for format in [EventFormat::Json, EventFormat::Text { colour: true }] {
        let (log, lines) = start_log(EventLevel::Trace, format);
        let rows = process_rows().into_iter().chain(reload_rows());
        for event in rows.map(|row| row.0).chain(more_events()) {
            let limit = event.rate_limit();
            let limit = limit.map(|(subject, pause)| (subject.to_owned(), pause));
            all += &format!("{} {:?} {limit:?} ", event.name(), event.level());
            log.report(event);
            let mut line = written_lines(&log, &lines);
            if line.starts_with('{') {
                line.replace_range(1..=TIME, "");
            }
            all += &line;
        }
    }
    assert_eq!(all, include_str!("every_line.txt"));
}
