//! Formats an event as a line of JSON or text.

use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::event::Event;
use super::parts::LogStream;
use super::{EventLevel, QueuedEvent};
use crate::telemetry::json::{self, Time};
use crate::telemetry::log_writer::LogFormatter;

/// The format of the problem log on its stream: [`LineFormat`](crate::telemetry::LineFormat), with
/// the use of colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// `egressd: message`, for people.
    Text {
        /// The words `error:` and `warning:` are in colour.
        colour: bool,
    },
    /// A JSON object per line.
    Json,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: Time,
    level: &'static str,
    event: &'static str,
    message: String,
    #[serde(flatten)]
    fields: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

/// Formats the lines of one problem log.
pub(super) struct EventLines(pub(super) EventFormat);

impl LogFormatter for EventLines {
    type Item = QueuedEvent;

    fn append_item(&mut self, queued: &QueuedEvent, into: &mut Vec<u8>) {
        match self.0 {
            EventFormat::Json => append_json(queued, into),
            EventFormat::Text { colour } => append_text(queued, colour, into),
        }
    }

    fn report_lost(&mut self, lines: u64, into: &mut Vec<u8>) {
        let log = LogStream::Problem;
        let queued = QueuedEvent {
            at: Timestamp::now(),
            event: Event::LinesLost { log, lines },
            left_out: 0,
        };
        self.append_item(&queued, into);
    }
}

fn append_json(queued: &QueuedEvent, into: &mut Vec<u8>) {
    let QueuedEvent {
        at,
        event,
        left_out,
    } = queued;
    let line = JsonLine {
        time: Time(*at),
        level: event.level().as_str(),
        event: event.name(),
        message: event.to_string(),
        fields: event,
        left_out: Some(*left_out).filter(|left_out| *left_out > 0),
    };
    json::write_line(&line, into);
}

fn append_text(queued: &QueuedEvent, colour: bool, into: &mut Vec<u8>) {
    let (word, paint) = match queued.event.level() {
        EventLevel::Error => ("error: ", "\x1b[1;31m"),
        EventLevel::Warn => ("warning: ", "\x1b[1;33m"),
        EventLevel::Info | EventLevel::Debug | EventLevel::Trace => ("", ""),
    };
    let (paint, plain) = if colour && !word.is_empty() {
        (paint, "\x1b[0m")
    } else {
        ("", "")
    };
    into.extend_from_slice(["egressd: ", paint, word, plain].concat().as_bytes());
    for character in queued.event.to_string().chars() {
        // No character may control the terminal or change the order of a line, as in the access
        // log.
        match character {
            ' '..='~' => into.push(character as u8),
            _ => into.extend(character.escape_default().map(|escape| escape as u8)),
        }
    }
    if queued.left_out > 0 {
        // `write!` to a `Vec` cannot fail.
        let _written = write!(into, " (similar events left out: {})", queued.left_out);
    }
    into.push(b'\n');
}

impl EventLevel {
    /// Returns the name that the setting `log.level` and the lines use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
