//! An exchange as a line: JSON or text.

use std::borrow::Cow;
use std::time::Duration;

use http::{Method, Uri};
use jiff::Timestamp;
use serde::Serialize;

use super::ExchangeRecord;
use crate::domain::ConnectionId;

/// The most bytes of a path that a line shows.
const MAX_PATH: usize = 256;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    event: &'a str,
    request_id: &'a str,
    connection: Option<&'a str>,
    route: Option<&'a str>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
    code: Option<&'a str>,
    outcome: &'a str,
    request_bytes: u64,
    response_bytes: u64,
    duration_ms: f64,
    upstream_ms: Option<f64>,
    token_age_s: Option<u64>,
}

pub(super) fn json(time: Timestamp, record: &ExchangeRecord) -> String {
    let line = Line {
        time: time.to_string(),
        level: record.outcome.level(),
        event: "exchange",
        request_id: &record.request_id,
        connection: record.connection.as_ref().map(ConnectionId::as_str),
        route: record.route.as_deref(),
        method: record
            .method
            .as_ref()
            .map(|method| shortened(method.as_str())),
        path: record.uri.as_ref().map(|uri| shortened(uri.path())),
        status: record.status.map(|status| status.as_u16()),
        code: record.code,
        outcome: record.outcome.as_str(),
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
        duration_ms: millis(record.duration),
        upstream_ms: record.upstream.map(millis),
        token_age_s: record.token_age.map(|age| age.as_secs()),
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&line).unwrap_or_default()
}

pub(super) fn text(time: Timestamp, record: &ExchangeRecord) -> String {
    let connection = record.connection.as_ref().map_or("-", ConnectionId::as_str);
    let status = record.status.map_or(Cow::Borrowed("-"), |status| {
        status.as_u16().to_string().into()
    });
    format!(
        "{time} {} {} {} {connection} {} {} {:.1} ms {} B up {} B down {}",
        status,
        shortened(record.method.as_ref().map_or("-", Method::as_str)).escape_debug(),
        shortened(record.uri.as_ref().map_or("-", Uri::path)).escape_debug(),
        record.code.unwrap_or("-"),
        record.outcome.as_str(),
        millis(record.duration),
        record.request_bytes,
        record.response_bytes,
        record.request_id,
    )
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_PATH))
        .unwrap_or_default()
}
