//! Starts the access log and the problem log according to the settings.

use std::io::{self, Write};

use crate::config::{self, LogFormat, LogSettings};
use crate::telemetry::{
    AccessFilter, AccessLog, EventFormat, EventLevel, LineFormat, Logs, ProblemLog,
};

/// A stream that the thread of a log writes to until the process ends. The stream must not hold a
/// lock that other threads may wait for, because a write may block forever.
pub struct Output {
    /// The stream.
    pub stream: Box<dyn Write + Send>,
    /// `true` if the stream is a terminal.
    pub is_terminal: bool,
    /// `true` if text may contain colour.
    pub colour: bool,
}

impl Output {
    /// Creates a stream that discards everything.
    pub fn discard() -> Self {
        Self {
            stream: Box::new(io::sink()),
            is_terminal: false,
            colour: false,
        }
    }
}

/// Starts both logs on these streams.
pub fn start_logs(settings: LogSettings, access: Output, problems: Output) -> io::Result<Logs> {
    let look = match log_format(settings, &problems) {
        LineFormat::Json => EventFormat::Json,
        LineFormat::Text => EventFormat::Text {
            colour: problems.colour,
        },
    };
    // The problem log is first: the access log reports to it the lines that it drops.
    let problems = ProblemLog::start(event_level(settings.level), look, problems.stream)?;
    let which = match settings.access {
        config::AccessFilter::All => AccessFilter::All,
        config::AccessFilter::Refused => AccessFilter::Refused,
        config::AccessFilter::Off => AccessFilter::Off,
    };
    let format = log_format(settings, &access);
    let access = AccessLog::start(which, format, access.stream, problems.clone())?;
    Ok(Logs { access, problems })
}

/// Returns the format of the log lines on this stream.
pub fn log_format(settings: LogSettings, output: &Output) -> LineFormat {
    // `auto`: text for a terminal, JSON for a log collector.
    match (settings.format, output.is_terminal) {
        (LogFormat::Text, _) | (LogFormat::Auto, true) => LineFormat::Text,
        (LogFormat::Json, _) | (LogFormat::Auto, false) => LineFormat::Json,
    }
}

fn event_level(level: config::EventLevel) -> EventLevel {
    match level {
        config::EventLevel::Error => EventLevel::Error,
        config::EventLevel::Warn => EventLevel::Warn,
        config::EventLevel::Info => EventLevel::Info,
        config::EventLevel::Debug => EventLevel::Debug,
        config::EventLevel::Trace => EventLevel::Trace,
    }
}
