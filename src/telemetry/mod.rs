//! What the process tells of itself. Sees neither secrets nor bodies.

pub mod access_log;
pub mod activity;
pub mod metrics;
mod panics;

pub use access_log::{AccessLog, ExchangeRecord, Format, Outcome, Which};
pub use activity::{Activity, Fault};
pub use metrics::Metrics;
pub use panics::PanicNotice;
