//! Metrics, the access log and the problem log of the process.
//!
//! No type here has a field for a secret or a body: metric labels come from closed lists and from
//! the configuration, and the two logs have fixed sets of fields (S14 in the crate's
//! documentation).

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

/// The format of log lines: the setting `log.format`, with `auto` resolved for the stream that the
/// log writes to. Both logs use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// A line of text, for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// Handles on the two logs of the process.
#[derive(Clone)]
pub struct Logs {
    /// A line for each exchange.
    pub access: AccessLog,
    /// Everything else that operators need to read about the process.
    pub problems: ProblemLog,
}
