//! An event as a line.

use std::io::Write as _;

use jiff::Timestamp;

use super::event::{Event, LogStream};
use super::{EventLevel, QueuedEvent};
use crate::telemetry::json::{JsonLine, TimeFormatter};
use crate::telemetry::log_writer::LogFormatter;

/// How lines look (`log.format`, decided).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// For people: `egressd: message`.
    Text {
        /// The level's word is in colour.
        colour: bool,
    },
    /// JSON, one object a line.
    Json,
}

/// Writes the lines of one log.
pub(super) struct EventLines {
    format: EventFormat,
    clock: TimeFormatter,
}

impl EventLines {
    pub(super) fn new(format: EventFormat) -> Self {
        Self {
            format,
            clock: TimeFormatter::default(),
        }
    }

    fn json(&mut self, queued: &QueuedEvent, into: &mut Vec<u8>) {
        let mut object = JsonLine::begin(into);
        object.time("time", queued.at, &mut self.clock);
        object.text("level", queued.event.level().as_str());
        object.text("event", queued.event.name());
        object.text("message", &queued.event.to_string());
        queued.event.fields(&mut object);
        if queued.left_out > 0 {
            object.number("left_out", queued.left_out);
        }
        object.end();
    }
}

impl LogFormatter for EventLines {
    type Item = QueuedEvent;

    fn append_item(&mut self, queued: &QueuedEvent, into: &mut Vec<u8>) {
        match self.format {
            EventFormat::Json => self.json(queued, into),
            EventFormat::Text { colour } => text(queued, colour, into),
        }
    }

    fn report_lost(&mut self, lines: u64, into: &mut Vec<u8>) {
        let queued = QueuedEvent {
            at: Timestamp::now(),
            event: Event::LinesLost {
                log: LogStream::Problems,
                lines,
            },
            left_out: 0,
        };
        self.append_item(&queued, into);
    }
}

fn text(queued: &QueuedEvent, colour: bool, into: &mut Vec<u8>) {
    into.extend_from_slice(b"egressd: ");
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
    into.extend([paint, word, plain].concat().into_bytes());
    for character in queued.event.to_string().chars() {
        // As in the access log: no character that controls a terminal or changes the order of a
        // line.
        match character {
            ' '..='~' => into.push(character as u8),
            _ => into.extend(character.escape_default().map(|escape| escape as u8)),
        }
    }
    if queued.left_out > 0 {
        // A vector takes everything.
        let _written = write!(into, " ({} more like it were left out)", queued.left_out);
    }
    into.push(b'\n');
}

impl EventLevel {
    /// As in `log.level`.
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
