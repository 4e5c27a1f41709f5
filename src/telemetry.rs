//! What the process tells of itself. Sees neither secrets nor bodies.

pub mod access_log;
pub mod connection_stats;
mod json;
mod log_writer;
pub mod metrics;
mod panics;
pub mod problem_log;

pub use access_log::{AccessFilter, AccessFormat, AccessLog, AccessRecord, RequestOutcome};
pub use connection_stats::{ConnectionStats, FaultStats};
pub use metrics::Metrics;
pub use panics::PanicNotice;
pub use problem_log::{Event, EventFormat, EventLevel, ProblemLog};

/// What the process writes while it runs.
#[derive(Clone)]
pub struct Logs {
    /// One line an exchange.
    pub access: AccessLog,
    /// Everything else.
    pub problems: ProblemLog,
}
