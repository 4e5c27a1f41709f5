//! What the process tells of itself. Sees neither secrets nor bodies.

pub mod access_log;
mod panics;

pub use access_log::{AccessLog, ExchangeRecord, Format, Outcome, Which};
pub use panics::PanicNotice;
