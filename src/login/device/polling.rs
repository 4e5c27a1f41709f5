//! The times at which the token endpoint is polled.

use std::time::Duration;

/// The interval if the provider states none (RFC 8628 section 3.2), and the shortest one.
const MIN_INTERVAL: u64 = 5;
/// The longest interval that a provider can state.
const MAX_INTERVAL: u64 = 60;
/// The longest wait after network errors, unless the usual wait is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The time that `slow_down` adds (RFC 8628 section 3.5).
const SLOW_DOWN: u64 = 5;

/// The result of a poll that has not ended the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollOutcome {
    /// The person has not decided.
    Pending,
    /// The provider asks for fewer polls.
    SlowDown,
    /// There is no usable response.
    NetworkError,
}

/// The wait between polls.
pub(super) struct PollSchedule {
    interval: u64,
    /// The wait after network errors, which doubles.
    backoff: Option<Duration>,
}

impl PollSchedule {
    /// Creates the schedule for an interval in seconds, as the provider states it.
    pub(super) fn new(interval: Option<u64>) -> Self {
        Self {
            interval: interval
                .unwrap_or(MIN_INTERVAL)
                .clamp(MIN_INTERVAL, MAX_INTERVAL),
            backoff: None,
        }
    }

    /// Returns the wait before the next poll.
    pub(super) fn wait(&self) -> Duration {
        self.backoff.unwrap_or(self.usual_wait())
    }

    /// Records the result of a poll.
    pub(super) fn record(&mut self, outcome: PollOutcome) {
        match outcome {
            PollOutcome::Pending => self.backoff = None,
            PollOutcome::SlowDown => {
                self.backoff = None;
                self.interval = self.interval.saturating_add(SLOW_DOWN);
            }
            PollOutcome::NetworkError => {
                let limit = MAX_BACKOFF.max(self.usual_wait());
                self.backoff = Some((self.wait() * 2).min(limit));
            }
        }
    }

    /// Returns the wait unless an error has occurred: 1.2 times the interval. Clocks drift, and a
    /// poll that is early by the provider's clock is answered with `slow_down`.
    fn usual_wait(&self) -> Duration {
        Duration::from_millis(self.interval.saturating_mul(1200))
    }
}

#[cfg(test)]
mod tests {
    use super::{PollOutcome, PollSchedule};

    #[test]
    fn polls_are_never_closer_than_the_interval() {
        // F-348
        let wait = |schedule: &PollSchedule| schedule.wait().as_millis();
        assert_eq!(wait(&PollSchedule::new(None)), 6_000);
        assert_eq!(wait(&PollSchedule::new(Some(0))), 6_000);
        assert_eq!(wait(&PollSchedule::new(Some(1_000_000_000))), 72_000);
        let mut schedule = PollSchedule::new(Some(10));
        schedule.record(PollOutcome::SlowDown);
        schedule.record(PollOutcome::SlowDown);
        assert_eq!(wait(&schedule), 24_000);
        schedule.record(PollOutcome::NetworkError);
        assert_eq!(wait(&schedule), 48_000);
        for _ in 0..10 {
            schedule.record(PollOutcome::NetworkError);
        }
        assert_eq!(wait(&schedule), 60_000);
        schedule.record(PollOutcome::Pending);
        assert_eq!(wait(&schedule), 24_000);
    }
}
