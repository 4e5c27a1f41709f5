//! One line an exchange: written by a thread of its own, so that a stuck stdout never holds a request up. Lines that find the queue full are
//! dropped and counted.
//!
//! A line never holds a query, a header value, a body or a secret.

mod line;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use jiff::Timestamp;

use crate::domain::ConnectionId;
use line::{json, text};

/// Lines that may wait to be written.
const QUEUE: usize = 4096;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
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
pub enum Which {
    /// All.
    #[default]
    All,
    /// Those that did not end as [`Outcome::Forwarded`].
    Refused,
    /// None.
    Off,
}

/// How lines look (`log.format`, decided).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// JSON, one object a line.
    Json,
}

/// What is known of an exchange that has ended.
#[derive(Debug)]
pub struct ExchangeRecord {
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
    pub outcome: Outcome,
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
pub struct AccessLog(Option<Arc<Queue>>);

struct Queue {
    which: Which,
    lines: SyncSender<(Timestamp, ExchangeRecord)>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Writes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the thread that writes to `out`. It ends when the last handle is dropped.
    pub fn start(
        which: Which,
        format: Format,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<Self> {
        if which == Which::Off {
            return Ok(Self::off());
        }
        let (lines, waiting) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(&waiting, format, out))?;
        Ok(Self(Some(Arc::new(Queue {
            which,
            lines,
            dropped: AtomicU64::new(0),
        }))))
    }

    /// Whether any line may be written.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether an exchange that ended so is written down.
    pub fn wants(&self, outcome: Outcome) -> bool {
        match self.0.as_ref().map(|queue| queue.which) {
            Some(Which::All) => true,
            Some(Which::Refused) => outcome != Outcome::Forwarded,
            Some(Which::Off) | None => false,
        }
    }

    /// Queues a line; never waits.
    pub fn record(&self, record: ExchangeRecord) {
        if let Some(queue) = &self.0
            && queue.lines.try_send((Timestamp::now(), record)).is_err()
        {
            queue.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |queue| queue.dropped.load(Relaxed))
    }
}

fn write_all(waiting: &Receiver<(Timestamp, ExchangeRecord)>, format: Format, out: impl Write) {
    let mut out = std::io::BufWriter::new(out);
    while let Ok(first) = waiting.recv() {
        for (time, record) in std::iter::once(first).chain(waiting.try_iter()) {
            let line = match format {
                Format::Json => json(time, &record),
                Format::Text => text(time, &record),
            };
            // A stdout that is gone has no reader to tell.
            let _unread = writeln!(out, "{line}");
        }
        let _unread = out.flush();
    }
}

impl Outcome {
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
mod tests {
    use super::{AccessLog, ExchangeRecord, Format, Outcome, Which, json, text};
    use http::{Method, StatusCode, Uri};
    use std::time::Duration;

    fn record(path: &str) -> ExchangeRecord {
        ExchangeRecord {
            request_id: "r-1".to_owned(),
            connection: None,
            route: None,
            method: Some(Method::GET),
            uri: Some(Uri::try_from(path).unwrap()),
            status: Some(StatusCode::FORBIDDEN),
            code: Some("route_not_allowed"),
            outcome: Outcome::Refused,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::from_micros(1500),
            upstream: None,
            token_age: Some(Duration::from_millis(90_500)),
        }
    }

    #[test]
    fn lines_hold_no_query_and_no_raw_controls() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let line: serde_json::Value =
            serde_json::from_str(&json(now, &record("/crm/a?api_key=secret"))).unwrap();
        assert_eq!(line["path"], "/crm/a");
        assert_eq!(line["event"], "exchange");
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["token_age_s"], 90);
        assert!(!text(now, &record("/crm/a?api_key=secret")).contains("secret"));
        let long = format!("/{}", "é".repeat(300));
        let line: serde_json::Value = serde_json::from_str(&json(now, &record(&long))).unwrap();
        assert!(line["path"].as_str().unwrap().len() <= 256);
    }

    #[test]
    fn a_stuck_reader_holds_nobody_up() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl std::io::Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _released = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = std::sync::mpsc::channel();
        let log = AccessLog::start(Which::All, Format::Json, Stuck(stuck)).unwrap();
        for _ in 0..20_000 {
            log.record(record("/crm/a"));
        }
        assert!(log.dropped() > 0);
        drop(release);
    }
}
