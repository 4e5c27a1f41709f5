//! Formats an exchange as a line of JSON or text, on the log's own thread and into a buffer that is
//! reused for every line.

use std::io::Write as _;

use http::uri::PathAndQuery;
use jiff::Timestamp;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::AccessRecord;
use crate::domain::ConnectionId;
use crate::telemetry::LineFormat;
use crate::telemetry::json::{self, Millis, Time};
use crate::telemetry::log_writer::LogFormatter;
use crate::telemetry::problem_log::{Event, LogStream, ProblemLog};

/// The maximum number of bytes of a path or a method that a line shows.
const MAX_SHOWN: usize = 256;

/// Formats the lines of one access log.
pub struct AccessLines {
    format: LineFormat,
    problems: ProblemLog,
}

/// Serializes an exchange as the fields of a JSON line, in their documented order.
struct JsonLine<'a>(Timestamp, &'a AccessRecord);

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(at, record) = self;
        let mut line = serializer.serialize_struct("JsonLine", 19)?;
        line.serialize_field("time", &Time(*at))?;
        line.serialize_field("level", record.outcome.level())?;
        line.serialize_field("event", "exchange")?;
        line.serialize_field("request_id", &record.request_id)?;
        line.serialize_field("upstream_request_id", &record.upstream_request_id)?;
        line.serialize_field("listener", &record.listener.as_deref())?;
        line.serialize_field("connection", &record.connection)?;
        line.serialize_field("route", &record.route)?;
        line.serialize_field("via", &record.via)?;
        line.serialize_field("method", &shown_method(record))?;
        line.serialize_field("path", &shown_path(record))?;
        line.serialize_field("status", &record.status.map(|status| status.as_u16()))?;
        line.serialize_field("code", &record.code)?;
        line.serialize_field("outcome", record.outcome.as_str())?;
        line.serialize_field("request_bytes", &record.request_bytes)?;
        line.serialize_field("response_bytes", &record.response_bytes)?;
        line.serialize_field("duration_ms", &Millis(record.duration))?;
        line.serialize_field("upstream_ms", &record.upstream.map(Millis))?;
        line.serialize_field("token_age_s", &record.token_age.map(|age| age.as_secs()))?;
        line.end()
    }
}

impl AccessLines {
    /// Creates a formatter for this format. Lost lines are reported to `problems`.
    pub fn new(format: LineFormat, problems: ProblemLog) -> Self {
        Self { format, problems }
    }

    /// Appends the line of an exchange that ended at this time, with the line end.
    pub fn append_line(&self, at: Timestamp, record: &AccessRecord, into: &mut Vec<u8>) {
        match self.format {
            LineFormat::Json => json::write_line(&JsonLine(at, record), into),
            LineFormat::Text => append_text(at, record, into),
        }
    }
}

fn append_text(at: Timestamp, record: &AccessRecord, into: &mut Vec<u8>) {
    // Letters that are not ASCII are escaped too: right-to-left scripts change the order in which
    // a terminal shows the rest of the line, and some letters look like ASCII ones.
    // `write!` to a `Vec` cannot fail.
    let _written = writeln!(
        into,
        "{} {} {} {} {} {} {} {} ms {} B up {} B down {} {} {} {}",
        Time(at),
        record.status.as_ref().map_or("-", |status| status.as_str()),
        shown_method(record).unwrap_or("-").escape_default(),
        shown_path(record).unwrap_or("-").escape_default(),
        record.connection.as_ref().map_or("-", ConnectionId::as_str),
        record.code.unwrap_or("-"),
        record.outcome.as_str(),
        Millis(record.duration),
        record.request_bytes,
        record.response_bytes,
        record.listener.as_deref().unwrap_or("-").escape_default(),
        record.via.unwrap_or("-"),
        record.request_id,
        // Last, because it may contain spaces.
        record.upstream_request_id.as_deref().unwrap_or("-"),
    );
}

impl LogFormatter for AccessLines {
    type Item = (Timestamp, AccessRecord);

    fn append_item(&mut self, (at, record): &Self::Item, into: &mut Vec<u8>) {
        self.append_line(*at, record, into);
    }

    /// Reports to the problem log, because every line of the access log is an exchange.
    fn report_lost(&mut self, lines: u64, _into: &mut Vec<u8>) {
        self.problems.report(Event::LinesLost {
            log: LogStream::Access,
            lines,
        });
    }
}

fn shown_method(record: &AccessRecord) -> Option<&str> {
    let method = record.method.as_ref();
    method.map(|method| shorten_text(method.as_str()))
}

/// Returns the path as sent, without its query: queries often carry API keys.
fn shown_path(record: &AccessRecord) -> Option<&str> {
    let path = record.target.as_ref().map_or("", PathAndQuery::path);
    record.method.is_some().then(|| shorten_text(path))
}

fn shorten_text(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_SHOWN))
        .unwrap_or_default()
}
