//! Tests the text of access lines, and that hostile requests cannot break it.

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::{AccessLines, AccessRecord, RequestOutcome};
use crate::telemetry::{LineFormat, ProblemLog};

fn record(path: &str) -> AccessRecord {
    AccessRecord {
        request_id: "r-1".to_owned(),
        upstream_request_id: None,
        listener: Some("127.0.0.1:0".into()),
        connection: None,
        route: None,
        via: None,
        method: Some(Method::GET),
        target: Some(PathAndQuery::try_from(path).unwrap()),
        status: Some(StatusCode::FORBIDDEN),
        code: Some("route_not_allowed"),
        outcome: RequestOutcome::Refused,
        request_bytes: 0,
        response_bytes: 12,
        duration: Duration::from_micros(1500),
        upstream: None,
        token_age: Some(Duration::from_millis(90_500)),
    }
}

fn format_line(format: LineFormat, record: &AccessRecord) -> String {
    let mut into = Vec::new();
    AccessLines::new(format, ProblemLog::off()).append_line(
        Timestamp::UNIX_EPOCH,
        record,
        &mut into,
    );
    String::from_utf8(into).unwrap()
}

fn json(record: &AccessRecord) -> Value {
    serde_json::from_str(&format_line(LineFormat::Json, record)).unwrap()
}

#[test]
fn a_line_has_every_key() {
    let mut record = record("/crm/a?api_key=secret");
    assert_eq!(
        format_line(LineFormat::Json, &record),
        "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"warn\",\"event\":\"exchange\",\
         \"request_id\":\"r-1\",\"upstream_request_id\":null,\"listener\":\"127.0.0.1:0\",\"connection\":null,\"route\":null,\"via\":null,\"method\":\"GET\",\"path\":\"/crm/a\",\
         \"status\":403,\"code\":\"route_not_allowed\",\"outcome\":\"refused\",\"request_bytes\":0,\
         \"response_bytes\":12,\"duration_ms\":1.500,\"upstream_ms\":null,\"token_age_s\":90}\n"
    );
    assert_eq!(
        format_line(LineFormat::Text, &record),
        "1970-01-01T00:00:00.000000Z 403 GET /crm/a - route_not_allowed refused 1.500 ms 0 B up 12 B down 127.0.0.1:0 - r-1 -\n"
    );
    record.status = None;
    record.upstream = Some(Duration::from_millis(2));
    record.upstream_request_id = Some("their own".into());
    record.via = Some("mcp");
    assert_eq!(json(&record)["status"], Value::Null);
    assert_eq!(json(&record)["upstream_ms"], 2.0);
    assert_eq!(json(&record)["via"], "mcp");
    assert_eq!(json(&record)["upstream_request_id"], "their own");
    let text = format_line(LineFormat::Text, &record);
    assert!(text.contains("Z - GET ") && text.ends_with(" mcp r-1 their own\n"));
}

#[test]
fn a_line_has_no_query_and_no_raw_control_character_and_shortens_long_paths() {
    // F-198, F-199, F-265
    let long = format!("/{}", "é".repeat(300));
    for (path, shown) in [
        ("/crm/a?api_key=secret", "/crm/a"),
        ("/crm/\"quoted\"", "/crm/\"quoted\""),
        (
            "/crm/\u{85}\u{9b}31m\u{202e}",
            "/crm/\u{85}\u{9b}31m\u{202e}",
        ),
        // A right-to-left letter, a letter that looks like an ASCII one, and an invisible one.
        ("/crm/\u{5d0}\u{430}\u{feff}", "/crm/\u{5d0}\u{430}\u{feff}"),
        (&long, long.get(..255).unwrap()),
    ] {
        let record = record(path);
        assert_eq!(json(&record)["path"], shown);
        for format in [LineFormat::Json, LineFormat::Text] {
            let line = format_line(format, &record);
            assert!(!line.contains("secret"), "{line:?}");
            assert_eq!(line.lines().count(), 1);
            let plain = |byte: u8| matches!(byte, b' '..=b'~');
            assert!(line.trim_end_matches('\n').bytes().all(plain), "{line:?}");
        }
    }
}

#[test]
fn long_methods_are_shortened() {
    let mut record = record("/");
    record.method = Method::from_bytes("M".repeat(8192).as_bytes()).ok();
    for format in [LineFormat::Json, LineFormat::Text] {
        assert!(format_line(format, &record).len() < 1024);
    }
}
