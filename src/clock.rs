//! The clock by which tokens expire: one that also runs while the machine is suspended.
//!
//! `CLOCK_MONOTONIC`, and with it the `Instant` of `std` and `tokio`, stands still during suspension (clock_gettime(2)). A token that is counted on it looks valid
//! for hours after its end. `CLOCK_BOOTTIME` goes on, and like the monotonic clock it cannot be set.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment, as the time since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

/// A source of [`BootTime`]: the system's clock, or one that a test moves.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Duration + Send + Sync>>);

/// The moment from which on something is no longer valid, and the clock that it is counted on.
#[derive(Clone)]
pub struct Expiry {
    at: BootTime,
    clock: Clock,
}

impl BootTime {
    /// This moment and so much later; `None` beyond what can be counted.
    pub fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }

    /// The time from an earlier moment to this one; zero if the other is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Clock {
    /// The system's clock: `CLOCK_BOOTTIME`.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that reads what this function returns.
    pub fn from_fn(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// The moment that it is now.
    pub fn now(&self) -> BootTime {
        BootTime(match &self.0 {
            None => {
                let now = clock_gettime(ClockId::Boottime);
                // Since the start: neither is negative.
                let (seconds, nanos) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
                Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
            }
            Some(read) => read(),
        })
    }
}

impl Expiry {
    /// An expiry at this moment of this clock.
    pub fn new(at: BootTime, clock: Clock) -> Self {
        Self { at, clock }
    }

    /// The time that is left; `None` from the expiry on.
    pub fn left(&self) -> Option<Duration> {
        let left = self.at.saturating_since(self.clock.now());
        (!left.is_zero()).then_some(left)
    }

    /// Whether it is now, or past.
    pub fn is_over(&self) -> bool {
        self.left().is_none()
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
        assert_eq!(expiry.left(), Some(Duration::from_secs(60)));
        seconds.fetch_add(59, Relaxed);
        assert!(!expiry.is_over());
        seconds.fetch_add(1, Relaxed);
        assert!(expiry.is_over());
        assert_eq!(expiry.left(), None);
    }

    #[test]
    fn the_system_clock_counts_from_the_start_of_the_machine() {
        // F-253: /proc/uptime is the boot-time clock in hundredths of a second (proc_uptime(5)); the monotonic clock is behind it after each suspension.
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
