//! One line an exchange, on a thread of its own (`log_writer`): a stuck stdout never holds a
//! request up.
//!
//! A line never holds a query, a header value, a body or a secret.

mod line;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use jiff::Timestamp;

use super::LineFormat;
use super::log_writer::LogQueue;
use super::problem_log::ProblemLog;
use crate::domain::ConnectionId;
pub use line::AccessLines;

/// Lines that may wait to be written.
const MAX_QUEUED: usize = 4096;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The upstream's response went to the agent whole.
    Forwarded,
    /// egressd answered in its own name, the agent or egressd being to blame.
    Refused,
    /// The agent hung up first.
    AgentCancelled,
    /// The upstream failed, before or within its response.
    UpstreamFailed,
}

/// Which exchanges are written down (`log.access`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessFilter {
    /// All.
    #[default]
    All,
    /// Those that did not end as [`RequestOutcome::Forwarded`].
    Refused,
    /// None.
    Off,
}

/// What is known of an exchange that has ended.
#[derive(Debug)]
pub struct AccessRecord {
    /// `X-Request-Id`
    pub request_id: String,
    /// The connection, where one was found.
    pub connection: Option<ConnectionId>,
    /// The pattern that admitted the request.
    pub route: Option<String>,
    /// The method as sent; none where there was no legal head.
    pub method: Option<Method>,
    /// The target as sent; its query is never written.
    pub uri: Option<Uri>,
    /// The status that the agent saw.
    pub status: Option<StatusCode>,
    /// The refusal's code.
    pub code: Option<&'static str>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// From the request's head to the response's last byte.
    pub duration: Duration,
    /// From the request's head to the response's.
    pub upstream: Option<Duration>,
    /// How long before it was sent the request's token was asked for, where it had one.
    pub token_age: Option<Duration>,
}

/// A handle on the log; clones share it.
#[derive(Clone)]
pub struct AccessLog(Option<Arc<RunningLog>>);

struct RunningLog {
    filter: AccessFilter,
    queue: LogQueue<(Timestamp, AccessRecord)>,
}

impl AccessLog {
    /// Writes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the thread that writes to `out`. It ends when the last handle is dropped. Lines that are lost are told of in `problems`.
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

    /// Whether any line may be written.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether an exchange that ended so is written down.
    pub fn should_record(&self, outcome: RequestOutcome) -> bool {
        match self.0.as_ref().map(|log| log.filter) {
            Some(AccessFilter::All) => true,
            Some(AccessFilter::Refused) => outcome != RequestOutcome::Forwarded,
            Some(AccessFilter::Off) | None => false,
        }
    }

    /// Queues a line; never waits.
    pub fn record(&self, record: AccessRecord) {
        if let Some(log) = &self.0 {
            log.queue.send((Timestamp::now(), record));
        }
    }

    /// Lines that found the queue full, or nobody to read them.
    pub fn dropped_lines(&self) -> u64 {
        self.0.as_ref().map_or(0, |log| log.queue.lost_lines())
    }

    /// Waits until what was recorded before is written; gives up once the stream has taken nothing for this long, and after ten times as long in any case.
    /// Whether it is written.
    pub fn flush(&self, stall_timeout: Duration) -> bool {
        self.0
            .as_ref()
            .is_none_or(|log| log.queue.flush(stall_timeout))
    }
}

impl RequestOutcome {
    /// As in logs and metrics.
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
