//! The clock that decides when tokens expire, and the one that measures exchanges.
//!
//! Tokens need a clock that also runs while the machine is suspended. `CLOCK_MONOTONIC`, and with
//! it the `Instant` of `std` and `tokio`, stops during suspension (clock_gettime(2)), so a token
//! that is measured on it would look valid for hours after its expiry. `CLOCK_BOOTTIME` keeps
//! running, and like the monotonic clock it cannot be set.

mod monotonic;

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub use monotonic::MonotonicTime;

/// A moment, as the time since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

/// A source of [`BootTime`]: the system's clock, or one that a test moves.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Duration + Send + Sync>>);

/// The moment from which something is no longer valid, with the clock to compare it to.
#[derive(Clone)]
pub struct Expiry {
    at: BootTime,
    clock: Clock,
}

impl BootTime {
    /// Returns the moment this long after this one, or `None` on overflow.
    pub fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }

    /// Returns the time from an earlier moment to this one, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Clock {
    /// Returns the system's clock: `CLOCK_BOOTTIME`.
    pub fn system() -> Self {
        Self(None)
    }

    /// Returns a clock that takes its time from this function.
    pub fn from_fn(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Returns the current time of this clock.
    pub fn now(&self) -> BootTime {
        BootTime(match &self.0 {
            None => {
                let now = clock_gettime(ClockId::Boottime);
                // The time since the start, so neither part is negative.
                let (seconds, nanos) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
                Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
            }
            Some(read) => read(),
        })
    }
}

impl Expiry {
    /// Creates an expiry at this moment of this clock.
    pub fn new(at: BootTime, clock: Clock) -> Self {
        Self { at, clock }
    }

    /// Returns the time that is left, or `None` once the expiry is reached.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.at.saturating_since(self.clock.now());
        (!left.is_zero()).then_some(left)
    }

    /// Returns whether the expiry is reached.
    pub fn has_passed(&self) -> bool {
        self.remaining().is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;

    use super::{Clock, Expiry};

    #[test]
    fn an_expiry_follows_its_clock() {
        // F-253
        let seconds = Arc::new(AtomicU64::new(100));
        let read = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || Duration::from_secs(read.load(Relaxed)));
        let end = clock.now().checked_add(Duration::from_secs(60)).unwrap();
        let expiry = Expiry::new(end, clock);
        assert_eq!(expiry.remaining(), Some(Duration::from_secs(60)));
        seconds.fetch_add(59, Relaxed);
        assert!(!expiry.has_passed());
        seconds.fetch_add(1, Relaxed);
        assert!(expiry.has_passed());
        assert_eq!(expiry.remaining(), None);
    }

    #[test]
    fn the_system_clock_counts_from_the_start_of_the_machine() {
        // F-253: /proc/uptime is the boot-time clock in hundredths of a second (proc_uptime(5)).
        // The monotonic clock loses the time of each suspension.
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            let first = text.split(' ').next().unwrap();
            Duration::from_secs_f64(first.parse().unwrap())
        };
        let before = uptime();
        let now = Clock::system().now();
        let after = uptime() + Duration::from_millis(10);
        assert!(
            before <= now.0 && now.0 <= after,
            "{before:?} {now:?} {after:?}"
        );
    }
}
