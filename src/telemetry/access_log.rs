//! The access log: one line for each exchange.
//!
//! A thread of its own formats and writes the lines (`log_writer`), so a standard output that is
//! not read delays no request. A line has no field for a query, a body or a secret. Request ids are
//! the only header values in it.

mod line;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::LineFormat;
use super::log_writer::LogQueue;
use super::problem_log::ProblemLog;
use crate::domain::ConnectionId;
pub use line::AccessLines;

/// The number of lines that can wait for the thread. Further lines are dropped and counted.
const MAX_QUEUED: usize = 4096;

/// The end of an exchange, as logs and metrics report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The agent was sent a complete response: the upstream's, or one that egressd generates and
    /// that is not a refusal (the list of connections at `GET /`).
    Forwarded,
    /// egressd refused the request, and the upstream is not to blame.
    Refused,
    /// The agent closed its socket, or stopped reading, before the response was complete.
    AgentCancelled,
    /// The upstream failed, before or during its response.
    UpstreamFailed,
}

/// The exchanges that get a line (the setting `log.access`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessFilter {
    /// All exchanges.
    #[default]
    All,
    /// The exchanges that did not end as [`RequestOutcome::Forwarded`].
    Refused,
    /// No exchange.
    Off,
}

/// The facts about an ended exchange that its line reports.
#[derive(Debug)]
pub struct AccessRecord {
    /// The value of `X-Egressd-Request-Id`.
    pub request_id: String,
    /// The upstream's own `X-Request-Id`, if it is short, printable and certainly not a secret.
    pub upstream_request_id: Option<Box<str>>,
    /// The address of the listener, as the settings have it.
    pub listener: Option<Arc<str>>,
    /// The connection, if the request named an existing one.
    pub connection: Option<ConnectionId>,
    /// The pattern that allowed the request.
    pub route: Option<String>,
    /// `mcp` if a tool sent the request; `None` if the agent sent it itself.
    pub via: Option<&'static str>,
    /// The method as sent; `None` if the head could not be parsed.
    pub method: Option<Method>,
    /// The target as sent, without a scheme and a host; `None` if it has no path. Its query is
    /// never written.
    pub target: Option<PathAndQuery>,
    /// The status that was sent to the agent.
    pub status: Option<StatusCode>,
    /// The code of the refusal, or of the failure that cut the response off.
    pub code: Option<&'static str>,
    /// The end of the exchange.
    pub outcome: RequestOutcome,
    /// Body bytes that the agent sent.
    pub request_bytes: u64,
    /// Body bytes that were handed to the agent's socket.
    pub response_bytes: u64,
    /// The time from the end of the request's head to the end of the exchange.
    pub duration: Duration,
    /// The time from the end of the request's head to the head of the upstream's response.
    pub upstream: Option<Duration>,
    /// The age of the OAuth token when it was added to the request, counted from the start of its
    /// token request; `None` without a token.
    pub token_age: Option<Duration>,
}

/// A handle on the access log. Clones share one queue and one thread.
#[derive(Clone)]
pub struct AccessLog(Option<Arc<RunningLog>>);

struct RunningLog {
    filter: AccessFilter,
    queue: LogQueue<(Timestamp, AccessRecord)>,
}

impl AccessLog {
    /// Returns a handle that discards every record.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the thread that writes to `out`. The thread ends when the last handle is dropped.
    /// Lost lines are reported to `problems`.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no thread can be started.
    pub fn start(
        filter: AccessFilter,
        format: LineFormat,
        out: impl Write + Send + 'static,
        problems: ProblemLog,
    ) -> io::Result<Self> {
        if filter == AccessFilter::Off {
            return Ok(Self::off());
        }
        let lines = AccessLines::new(format, problems);
        let queue = LogQueue::start("access-log", MAX_QUEUED, lines, out)?;
        Ok(Self(Some(Arc::new(RunningLog { filter, queue }))))
    }

    /// Returns `false` if no exchange gets a line, so that callers can skip making records.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether an exchange with this outcome gets a line.
    pub fn should_record(&self, outcome: RequestOutcome) -> bool {
        match self.0.as_ref().map(|log| log.filter) {
            Some(AccessFilter::All) => true,
            Some(AccessFilter::Refused) => outcome != RequestOutcome::Forwarded,
            Some(AccessFilter::Off) | None => false,
        }
    }

    /// Queues a line. Never waits: if the queue is full, the line is dropped and counted.
    pub fn record(&self, record: AccessRecord) {
        if let Some(log) = &self.0 {
            // The time is taken here, because the thread may format the line much later.
            log.queue.send((Timestamp::now(), record));
        }
    }

    /// Returns the number of lines that were lost because the queue was full or the stream failed.
    pub fn dropped_lines(&self) -> u64 {
        self.0.as_ref().map_or(0, |log| log.queue.lost_lines())
    }

    /// Waits until the lines that were recorded before are written, and returns whether they were.
    /// Returns `false` once the stream has accepted nothing for `stall_timeout`, and after ten
    /// times `stall_timeout` at the latest.
    pub fn flush(&self, stall_timeout: Duration) -> bool {
        self.0
            .as_ref()
            .is_none_or(|log| log.queue.flush(stall_timeout))
    }
}

impl RequestOutcome {
    /// Returns the name that logs and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::AgentCancelled => "agent_cancelled",
            Self::UpstreamFailed => "upstream_failed",
        }
    }

    fn level(self) -> &'static str {
        match self {
            Self::Forwarded | Self::AgentCancelled => "info",
            Self::Refused | Self::UpstreamFailed => "warn",
        }
    }
}

#[cfg(test)]
mod tests;
