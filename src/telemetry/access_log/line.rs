//! An exchange as a line: JSON or text. Made on the log's own thread, into one buffer that is used over and over.

use std::io::Write as _;

use jiff::Timestamp;

use super::{AccessFormat, AccessRecord};
use crate::domain::ConnectionId;
use crate::telemetry::json::{JsonLine, TimeFormatter, millis};
use crate::telemetry::log_writer::LogFormatter;
use crate::telemetry::problem_log::{Event, LogStream, ProblemLog};

/// The most bytes of a path or of a method that a line shows.
const MAX_SHOWN: usize = 256;

/// Writes the lines of one log.
pub struct AccessLines {
    format: AccessFormat,
    clock: TimeFormatter,
    problems: ProblemLog,
}

impl AccessLines {
    /// Creates a formatter for this format. Lost lines are reported to `problems`.
    pub fn new(format: AccessFormat, problems: ProblemLog) -> Self {
        Self {
            format,
            clock: TimeFormatter::default(),
            problems,
        }
    }

    /// Appends the line of an exchange that ended at this time, line end included.
    pub fn line(&mut self, at: Timestamp, record: &AccessRecord, into: &mut Vec<u8>) {
        match self.format {
            AccessFormat::Json => self.json(at, record, into),
            AccessFormat::Text => self.text(at, record, into),
        }
    }

    fn json(&mut self, at: Timestamp, record: &AccessRecord, into: &mut Vec<u8>) {
        let mut line = JsonLine::begin(into);
        line.time("time", at, &mut self.clock);
        line.text("level", record.outcome.level());
        line.text("event", "exchange");
        line.text("request_id", &record.request_id);
        let connection = record.connection.as_ref().map(ConnectionId::as_str);
        line.text_or_null("connection", connection);
        line.text_or_null("route", record.route.as_deref());
        line.text_or_null("method", method(record));
        line.text_or_null("path", path(record));
        line.number_or_null("status", record.status.map(|status| status.as_u16().into()));
        line.text_or_null("code", record.code);
        line.text("outcome", record.outcome.as_str());
        line.number("request_bytes", record.request_bytes);
        line.number("response_bytes", record.response_bytes);
        line.millis("duration_ms", record.duration);
        match record.upstream {
            Some(upstream) => line.millis("upstream_ms", upstream),
            None => line.null("upstream_ms"),
        }
        line.number_or_null("token_age_s", record.token_age.map(|age| age.as_secs()));
        line.end();
    }

    fn text(&mut self, at: Timestamp, record: &AccessRecord, into: &mut Vec<u8>) {
        self.clock.write(at, into);
        match record.status {
            Some(status) => into.extend([b" ", status.as_str().as_bytes()].concat()),
            None => into.extend_from_slice(b" -"),
        }
        // Letters that are not ASCII are escaped too: right-to-left scripts change the order in
        // which a terminal shows the rest of the line, and some letters look like ASCII ones.
        // `write!` to a `Vec` cannot fail.
        let _written = write!(
            into,
            " {} {} {} {} {} ",
            method(record).unwrap_or("-").escape_default(),
            path(record).unwrap_or("-").escape_default(),
            record.connection.as_ref().map_or("-", ConnectionId::as_str),
            record.code.unwrap_or("-"),
            record.outcome.as_str(),
        );
        millis(record.duration, into);
        let _written = writeln!(
            into,
            " ms {} B up {} B down {}",
            record.request_bytes, record.response_bytes, record.request_id,
        );
    }
}

impl LogFormatter for AccessLines {
    type Item = (Timestamp, AccessRecord);

    fn append_item(&mut self, (at, record): &Self::Item, into: &mut Vec<u8>) {
        self.line(*at, record, into);
    }

    /// Whoever reads exchanges reads nothing else.
    fn report_lost(&mut self, lines: u64, _into: &mut Vec<u8>) {
        self.problems.report(Event::LinesLost {
            log: LogStream::Access,
            lines,
        });
    }
}

fn method(record: &AccessRecord) -> Option<&str> {
    record
        .method
        .as_ref()
        .map(|method| shortened(method.as_str()))
}

/// As sent, without its query.
fn path(record: &AccessRecord) -> Option<&str> {
    record.uri.as_ref().map(|uri| shortened(uri.path()))
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_SHOWN))
        .unwrap_or_default()
}
