//! The clock that measures exchanges.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A moment of `CLOCK_MONOTONIC`, the clock of `Instant`. Every exchange takes several of them and
/// compares them several times, which costs less with one number than with an `Instant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonotonicTime {
    /// The nanoseconds since the clock was first read.
    nanos: u64,
}

impl MonotonicTime {
    /// Returns the current time.
    pub fn now() -> Self {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        let elapsed = Instant::now().saturating_duration_since(*FIRST);
        // The sum exceeds 64 bits after 584 years.
        let (seconds, nanos) = (elapsed.as_secs(), u64::from(elapsed.subsec_nanos()));
        let nanos = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos);
        Self { nanos }
    }

    /// Returns the nanoseconds from an earlier moment to this one, or zero if `earlier` is later.
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.nanos.saturating_sub(earlier.nanos)
    }

    /// Returns the milliseconds from an earlier moment to this one, or zero if `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.nanos_since(earlier) / 1_000_000
    }

    /// Returns the time from an earlier moment to this one, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// Returns the moment this long after this one. The sum stops at the largest moment.
    pub fn saturating_add(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let nanos = self.nanos.saturating_add(nanos);
        Self { nanos }
    }
}
