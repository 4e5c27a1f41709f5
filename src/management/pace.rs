//! Limits the processor time that answers take, whatever the number of callers.
//!
//! A flood of requests would otherwise take the processor time of the whole process, at the expense
//! of agents if the container has a CPU quota. Requests take turns: a turn begins once the answers
//! before it have taken at most a twentieth of the time that has passed. The limit delays answers.
//! It refuses a request only if other requests keep it from its turn, so a caller that sends one
//! request after another is always answered, however slow the machine is.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

/// One second of answers is paid for with so many seconds: a twentieth of a core.
const PRICE: u32 = 20;
/// The largest debt: half a second of answers at once, after a pause.
const CREDIT: Duration = Duration::from_secs(10);
/// The longest time that a request waits for its turn, and the longest delay of a turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The queue for all requests that the limit applies to.
pub(super) struct Pace {
    epoch: Instant,
    turn: Mutex<PaidUntil>,
}

/// The time since the epoch up to which all earlier answers are paid for.
#[derive(Default)]
struct PaidUntil(Duration);

/// The permission to make one answer.
pub(super) struct Turn<'p> {
    epoch: Instant,
    paid: MutexGuard<'p, PaidUntil>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            turn: Mutex::default(),
        }
    }

    /// Returns a turn that begins now, or `None` if the request has to wait.
    pub(super) fn try_turn(&self) -> Option<Turn<'_>> {
        let paid = self.turn.try_lock().ok()?;
        let epoch = self.epoch;
        paid.debt(epoch.elapsed())
            .is_zero()
            .then_some(Turn { epoch, paid })
    }

    /// Waits for a turn. Returns `None` if other requests kept this one from it for [`PATIENCE`].
    pub(super) async fn turn(&self) -> Option<Turn<'_>> {
        let paid = timeout(PATIENCE, self.turn.lock()).await.ok()?;
        let epoch = self.epoch;
        sleep(paid.debt(epoch.elapsed()).min(PATIENCE)).await;
        Some(Turn { epoch, paid })
    }
}

impl Turn<'_> {
    /// Makes the answer and charges the processor time that it takes. The future must not wait for
    /// anything.
    pub(super) async fn charge<T>(mut self, answer: impl Future<Output = T>) -> T {
        let begun = used();
        let answer = answer.await;
        let took = used().saturating_sub(begun);
        self.paid.add(took, self.epoch.elapsed());
        answer
    }
}

impl PaidUntil {
    /// Returns the time that the next turn has to wait.
    fn debt(&self, now: Duration) -> Duration {
        self.0.saturating_sub(now + CREDIT)
    }

    /// Adds a charge. The debt is capped, so even an expensive answer is paid off after a while.
    fn add(&mut self, took: Duration, now: Duration) {
        let paid = self.0.max(now).saturating_add(took.saturating_mul(PRICE));
        self.0 = paid.min(now + 2 * CREDIT);
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
    use super::{CREDIT, Instant, PATIENCE, PRICE, Pace, PaidUntil, used};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_answers_take_is_a_twentieth_of_the_time() {
        // F-168
        let mut paid = PaidUntil::default();
        let (mut now, mut answered) = (Duration::ZERO, 0);
        while now < 100 * Duration::from_secs(1) {
            let wait = paid.debt(now);
            if wait.is_zero() {
                paid.add(MS, now);
                answered += 1;
            }
            now += wait;
        }
        // A twentieth of 100 s, and the credit.
        let most = (Duration::from_secs(100) + CREDIT).as_millis() / u128::from(PRICE);
        assert!((most..most + 2).contains(&answered), "{answered} of {most}");
        // After a pause there is credit again, and no more than that.
        now += 1000 * CREDIT;
        let mut at_once = 0;
        while paid.debt(now).is_zero() {
            paid.add(MS, now);
            at_once += 1;
        }
        assert_eq!(at_once, CREDIT.as_millis() / u128::from(PRICE) + 1);
    }

    #[tokio::test]
    async fn the_time_that_is_counted_is_that_of_the_processor() {
        let pace = Pace::new();
        let until = used() + 2 * MS;
        let turn = pace.try_turn().unwrap();
        turn.charge(async { while used() < until {} }).await;
        let paid = pace.turn.lock().await.0;
        assert!(paid >= 2 * MS * PRICE, "{paid:?}");
    }

    /// A limit after an answer that took an hour.
    async fn owing() -> Pace {
        let pace = Pace::new();
        let hour = Duration::from_secs(3600);
        pace.turn.lock().await.add(hour, Duration::ZERO);
        pace
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_asks_alone_is_delayed_and_never_refused() {
        // F-168: however expensive the answers are.
        let pace = owing().await;
        for _ in 0..3 {
            assert!(pace.try_turn().is_none());
            let asked = Instant::now();
            let turn = pace.turn().await;
            assert_eq!(asked.elapsed(), PATIENCE);
            turn.unwrap().charge(async {}).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_crowd_those_are_refused_that_get_no_turn() {
        // F-168
        let pace = owing().await;
        let ask = async || match pace.turn().await {
            Some(turn) => {
                turn.charge(async {}).await;
                true
            }
            None => false,
        };
        let asked = Instant::now();
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert!(first && !third, "{first} {second} {third}");
        assert!(asked.elapsed() <= 2 * PATIENCE);
    }
}
