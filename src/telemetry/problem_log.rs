//! What the process tells of itself beside exchanges: a closed set of events ([`Event`]), on a
//! thread of its own (`log_writer`).
//!
//! Nothing that an agent, an upstream or a token endpoint sent has a place in an event, so no secret has one either. Whoever tells never waits; what may
//! happen with every request is told at most once in a while, with the number of those that were left out.

mod changes;
mod event;
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
pub use line::EventFormat;
use line::EventLines;
pub use parts::{ConfigProblem, ListenerKind, LogStream, ResponsePart, TokenFault};

/// Events that may wait to be written.
const MAX_QUEUED: usize = 1024;
/// The writer's thread. A panic on it cannot be told by it.
const THREAD: &str = "problem-log";
/// A panic on the main thread ends the process: its line is waited for this long.
const PANIC_FLUSH: Duration = Duration::from_millis(100);

/// How much an event matters; the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventLevel {
    /// Something failed for good.
    Error,
    /// Something fails, or may soon.
    Warn,
    /// The life of the process.
    Info,
    /// What goes on outwards: sessions with upstreams, tokens.
    Debug,
    /// No event yet.
    Trace,
}

/// A handle on the log; clones share it.
#[derive(Clone)]
pub struct ProblemLog(Option<Arc<RunningLog>>);

struct RunningLog {
    level: EventLevel,
    queue: LogQueue<QueuedEvent>,
    /// Events that may come often, by name and subject.
    repetitions: Mutex<HashMap<(&'static str, Box<str>), Repetition>>,
}

/// An event on its way to the thread.
struct QueuedEvent {
    at: Timestamp,
    event: Event,
    /// Events of its kind that were left out since the last one.
    left_out: u64,
}

/// When an event was told, and how many were left out since.
struct Repetition {
    reported_at: Instant,
    left_out: u64,
}

impl ProblemLog {
    /// Tells nobody.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the thread that writes events of this level and worse to `out`. It ends when the last handle is dropped.
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

    /// Whether events of this level are written: to be asked before a costly one is made.
    pub fn is_enabled(&self, level: EventLevel) -> bool {
        self.0.as_ref().is_some_and(|log| level <= log.level)
    }

    /// Tells of an event; never waits.
    pub fn report(&self, event: Event) {
        if let Some(log) = self.0.as_ref()
            && event.level() <= log.level
            && let Some(left_out) = log.count_left_out(&event)
        {
            log.send(event, left_out);
        }
    }

    /// Tells of a panic, by its place alone. False if nobody would hear of it here.
    pub fn report_panic(&self, panic: &PanicHookInfo<'_>) -> bool {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a thread");
        let Some(log) = self.0.as_ref().filter(|_| name != THREAD) else {
            return false;
        };
        let place = panic.location();
        let heard = log.send(
            Event::Panicked {
                thread: name.into(),
                file: place.map_or("", |place| place.file()).into(),
                line: place.map_or(0, std::panic::Location::line),
            },
            0,
        );
        if heard && name == "main" {
            self.flush(PANIC_FLUSH);
        }
        heard
    }

    /// Lines that found the queue full, or nobody to read them.
    pub fn dropped_lines(&self) -> u64 {
        self.0.as_ref().map_or(0, |log| log.queue.lost_lines())
    }

    /// Waits until what was told before is written; gives up once the stream has taken nothing for this long, and after ten times as long in any case.
    /// Whether it is written.
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

    /// How many events like this one were left out since the last; `None` if this one is to be left out as well.
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
