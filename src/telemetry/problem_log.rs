//! The problem log: events of the process other than exchanges, from a closed set ([`Event`]). A
//! thread of its own writes them (`log_writer`).
//!
//! An event is something that happened at one moment. It must not be confused with two other
//! things:
//!
//! - a `config::Problem` is a mistake in the configuration, as `egressd check` lists it. A start or
//!   a reload logs each one as [`Event::ConfigProblem`] or [`Event::ConfigWarning`].
//! - a finding of `egressd doctor` is about the sandbox around the agent, and is never logged.
//!
//! No event has a field for anything that an agent, an upstream or a token endpoint sent, so no
//! event can contain a secret. Reporting never waits. Events that requests can cause again and
//! again are logged once per subject and period, with the number of those that were left out.

mod changes;
#[macro_use]
mod event_macro;
mod event;
mod grant_event;
mod line;
mod parts;

use std::collections::HashMap;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::log_writer::LogQueue;
pub use event::Event;
pub use grant_event::GrantEvent;
pub use line::EventFormat;
use line::EventLines;
pub use parts::{ConfigProblem, ListenerKind, LogStream, ResponsePart, TokenFault};

/// The number of events that can wait for the thread. Further events are dropped and counted.
const MAX_QUEUED: usize = 1024;
/// The name of the writer's thread. The log cannot report a panic on this thread.
const THREAD: &str = "problem-log";
/// The time for which a panic on the main thread waits for its line to be written, because the
/// panic ends the process.
const PANIC_FLUSH: Duration = Duration::from_millis(100);

/// The severity of an event, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventLevel {
    /// Something failed, and an operator has to act.
    Error,
    /// Something fails, or may fail soon.
    Warn,
    /// A step in the life of the process.
    Info,
    /// Outbound activity: sessions with upstreams, tokens.
    Debug,
    /// No event has this level yet.
    Trace,
}

/// A handle on the problem log. Clones share one queue and one thread.
#[derive(Clone)]
pub struct ProblemLog(Option<Arc<RunningLog>>);

struct RunningLog {
    level: EventLevel,
    queue: LogQueue<QueuedEvent>,
    /// The rate-limited events that were logged, by name and subject. Both come from closed sets:
    /// the events above and the ids of the configuration.
    repetitions: Mutex<HashMap<(&'static str, Box<str>), Repetition>>,
}

/// An event in the queue.
struct QueuedEvent {
    at: Timestamp,
    event: Event,
    /// The number of events with the same name and subject that were left out since the last one.
    left_out: u64,
}

/// The last report of a rate-limited event, and the number of events that were left out since.
struct Repetition {
    reported_at: Instant,
    left_out: u64,
}

impl ProblemLog {
    /// Returns a handle that discards every event.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the thread that writes events of `level` and of more severe levels to `out`. The
    /// thread ends when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no thread can be started.
    pub fn start(
        level: EventLevel,
        format: EventFormat,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let queue = LogQueue::start(THREAD, MAX_QUEUED, EventLines(format), out)?;
        Ok(Self(Some(Arc::new(RunningLog {
            level,
            queue,
            repetitions: Mutex::default(),
        }))))
    }

    /// Returns whether events of this level are written, so that callers can skip making an
    /// expensive one.
    pub fn is_enabled(&self, level: EventLevel) -> bool {
        self.0.as_ref().is_some_and(|log| level <= log.level)
    }

    /// Logs an event. Never waits: if the queue is full, the event is dropped and counted.
    pub fn report(&self, event: Event) {
        if let Some(log) = self.0.as_ref()
            && event.level() <= log.level
            && let Some(left_out) = log.count_left_out(&event)
        {
            log.send(event, left_out);
        }
    }

    /// Logs a panic by its place, without its message. Returns `false` if this log cannot write it,
    /// so that the caller can write to standard error itself.
    pub fn report_panic(&self, panic: &PanicHookInfo<'_>) -> bool {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a thread");
        // The thread that panics would have to write the line itself.
        let Some(log) = self.0.as_ref().filter(|_| name != THREAD) else {
            return false;
        };
        let place = panic.location();
        let is_queued = log.send(
            Event::Panicked {
                thread: name.into(),
                file: place.map_or("", |place| place.file()).into(),
                line: place.map_or(0, std::panic::Location::line),
            },
            0,
        );
        if is_queued && name == "main" {
            self.flush(PANIC_FLUSH);
        }
        is_queued
    }

    /// Returns the number of lines that were lost because the queue was full or the stream failed.
    pub fn dropped_lines(&self) -> u64 {
        self.0.as_ref().map_or(0, |log| log.queue.lost_lines())
    }

    /// Waits until the events that were reported before are written, and returns whether they were.
    /// Returns `false` once the stream has accepted nothing for `stall_timeout`, and after ten
    /// times `stall_timeout` at the latest.
    pub fn flush(&self, stall_timeout: Duration) -> bool {
        self.0
            .as_ref()
            .is_none_or(|log| log.queue.flush(stall_timeout))
    }
}

impl RunningLog {
    fn send(&self, event: Event, left_out: u64) -> bool {
        self.queue.send(QueuedEvent {
            at: Timestamp::now(),
            event,
            left_out,
        })
    }

    /// Returns how many events like this one were left out since the last one was logged, or `None`
    /// if this one is left out too.
    fn count_left_out(&self, event: &Event) -> Option<u64> {
        let Some((subject, pause)) = event.rate_limit() else {
            return Some(0);
        };
        let mut repetitions = self.repetitions.lock();
        let key = (event.name(), subject.into());
        let Some(before) = repetitions.get_mut(&key) else {
            let reported_at = Instant::now();
            repetitions.insert(
                key,
                Repetition {
                    reported_at,
                    left_out: 0,
                },
            );
            return Some(0);
        };
        if before.reported_at.elapsed() < pause {
            before.left_out += 1;
            return None;
        }
        before.reported_at = Instant::now();
        Some(std::mem::take(&mut before.left_out))
    }
}

#[cfg(test)]
mod tests;
