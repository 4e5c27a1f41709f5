//! How much of the machine answers may take that cost something: a part of the time, however many ask.
//!
//! Whoever floods this API has the processor time of the whole process otherwise, and where a container has a quota agents pay for it. What is counted is the time
//! that answers really took, so that no rate has to be guessed for small and large configurations.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One second of answers is paid for with so many seconds: a twentieth of a core.
const PRICE: u32 = 20;
/// What may be owed: half a second of answers at once, after a pause.
const CREDIT: Duration = Duration::from_secs(10);
/// The shortest that a request waits that comes too early: refusing many costs something too.
pub(super) const REST: Duration = Duration::from_millis(50);
/// The longest that a request waits for its turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The time that answers of a kind take.
pub(super) struct Pace {
    epoch: Instant,
    /// Until when all is paid for that was answered, in nanoseconds since `epoch`.
    paid: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            paid: AtomicU64::new(0),
        }
    }

    /// How long until it is somebody's turn again; `None`: now.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait_at(self.epoch.elapsed())
    }

    /// Does this, which takes no rest, and counts the processor time that it takes.
    pub(super) async fn charge<T>(&self, answer: impl Future<Output = T>) -> T {
        let begun = used();
        let answer = answer.await;
        self.add(used().saturating_sub(begun), self.epoch.elapsed());
        answer
    }

    fn wait_at(&self, now: Duration) -> Option<Duration> {
        let paid = Duration::from_nanos(self.paid.load(Relaxed));
        paid.checked_sub(now + CREDIT)
            .filter(|wait| !wait.is_zero())
    }

    fn add(&self, took: Duration, now: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (price, now) = (nanos(took.saturating_mul(PRICE)), nanos(now));
        // One thread answers; where there were more, one would be let in too early.
        let paid = self.paid.load(Relaxed).max(now).saturating_add(price);
        self.paid.store(paid, Relaxed);
    }
}

/// The processor time that this thread has used.
fn used() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{CREDIT, PRICE, Pace, used};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_answers_take_is_a_twentieth_of_the_time() {
        // F-168
        let pace = Pace::new();
        let (mut now, mut answered) = (Duration::ZERO, 0);
        while now < 100 * Duration::from_secs(1) {
            match pace.wait_at(now) {
                Some(wait) => now += wait,
                None => {
                    pace.add(MS, now);
                    answered += 1;
                }
            }
        }
        // A twentieth of 100 s, and the credit.
        let most = (Duration::from_secs(100) + CREDIT).as_millis() / u128::from(PRICE);
        assert!((most..most + 2).contains(&answered), "{answered} of {most}");
        // After a pause there is credit again, and no more than that.
        now += 1000 * CREDIT;
        let mut at_once = 0;
        while pace.wait_at(now).is_none() {
            pace.add(MS, now);
            at_once += 1;
        }
        assert_eq!(at_once, CREDIT.as_millis() / u128::from(PRICE) + 1);
    }

    #[tokio::test]
    async fn the_time_that_is_counted_is_that_of_the_processor() {
        let pace = Pace::new();
        let until = used() + 2 * MS;
        pace.charge(async { while used() < until {} }).await;
        let paid = Duration::from_nanos(pace.paid.load(super::Relaxed));
        assert!(paid >= 2 * MS * PRICE, "{paid:?}");
    }
}
