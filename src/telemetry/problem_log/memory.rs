//! What is told of the process's memory limit.

use std::fmt;

use super::EventLevel;
use crate::telemetry::json::JsonLine;

/// Memory has become short, or is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEvent {
    /// New requests are refused, but for few at a time.
    pub is_short: bool,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be; 0 if there is no limit any more.
    pub limit: u64,
}

impl MemoryEvent {
    pub(super) fn level(self) -> EventLevel {
        if self.is_short {
            EventLevel::Warn
        } else {
            EventLevel::Info
        }
    }

    pub(super) fn name(self) -> &'static str {
        if self.is_short {
            "memory_short"
        } else {
            "memory_recovered"
        }
    }

    pub(super) fn fields(self, object: &mut JsonLine<'_>) {
        object.number("used_bytes", self.used);
        object.number("limit_bytes", self.limit);
    }
}

impl fmt::Display for MemoryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, limit, .. } = self;
        if self.is_short {
            write!(
                f,
                "memory is short ({used} of {limit} bytes): new requests are refused, but for a few"
            )
        } else {
            f.write_str("memory is no longer short: requests are taken as ever")
        }
    }
}
