//! An event as a line.

use std::io::Write as _;

use jiff::Timestamp;

use super::event::{Event, Stream};
use super::{Level, Told};
use crate::telemetry::json::{Clock, Object};
use crate::telemetry::lines::Lines;

/// How lines look (`log.format`, decided).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
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
    look: Look,
    clock: Clock,
}

impl EventLines {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            clock: Clock::default(),
        }
    }

    fn json(&mut self, told: &Told, into: &mut Vec<u8>) {
        let mut object = Object::begin(into);
        object.time("time", told.at, &mut self.clock);
        object.text("level", told.event.level().word());
        object.text("event", told.event.name());
        object.text("message", &told.event.to_string());
        told.event.fields(&mut object);
        if told.left_out > 0 {
            object.number("left_out", told.left_out);
        }
        object.end();
    }
}

impl Lines for EventLines {
    type Item = Told;

    fn write(&mut self, told: &Told, into: &mut Vec<u8>) {
        match self.look {
            Look::Json => self.json(told, into),
            Look::Text { colour } => text(told, colour, into),
        }
    }

    fn lost(&mut self, lines: u64, into: &mut Vec<u8>) {
        let told = Told {
            at: Timestamp::now(),
            event: Event::LinesLost {
                log: Stream::Problems,
                lines,
            },
            left_out: 0,
        };
        self.write(&told, into);
    }
}

fn text(told: &Told, colour: bool, into: &mut Vec<u8>) {
    into.extend_from_slice(b"egressd: ");
    let (word, paint) = match told.event.level() {
        Level::Error => ("error: ", "\x1b[1;31m"),
        Level::Warn => ("warning: ", "\x1b[1;33m"),
        Level::Info | Level::Debug | Level::Trace => ("", ""),
    };
    let (paint, plain) = if colour && !word.is_empty() {
        (paint, "\x1b[0m")
    } else {
        ("", "")
    };
    into.extend([paint, word, plain].concat().into_bytes());
    for character in told.event.to_string().chars() {
        // As in the access log: no character that controls a terminal or changes the order of a
        // line.
        match character {
            ' '..='~' => into.push(character as u8),
            _ => into.extend(character.escape_default().map(|escape| escape as u8)),
        }
    }
    if told.left_out > 0 {
        // A vector takes everything.
        let _written = write!(into, " ({} more like it were left out)", told.left_out);
    }
    into.push(b'\n');
}

impl Level {
    /// As in `log.level`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
