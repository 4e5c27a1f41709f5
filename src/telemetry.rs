//! Metrics, access log and problem log of the process. Sees neither secrets nor bodies.

pub mod access_log;
pub mod connection_stats;
mod json;
mod log_writer;
pub mod metrics;
mod panics;
pub mod problem_log;

pub use access_log::{AccessFilter, AccessLog, AccessRecord, RequestOutcome};
pub use connection_stats::{ConnectionStats, FaultStats};
pub use metrics::Metrics;
pub use panics::panic_notice;
pub use problem_log::{Event, EventFormat, EventLevel, ProblemLog};

/// How lines look (`log.format`, decided).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// For people.
    Text,
    /// JSON, one object a line.
    Json,
}

/// The two logs of the process.
#[derive(Clone)]
pub struct Logs {
    /// One line for each exchange.
    pub access: AccessLog,
    /// Everything else.
    pub problems: ProblemLog,
}
