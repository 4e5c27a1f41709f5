//! Excludes time in which the worker did not run from the limits on agents.
//!
//! On a busy machine a thread may wait seconds for a processor, and a runtime that always has a
//! task to run checks its timers rarely. The clock does not advance during such a stall. Without
//! this module, limits that are recorded during the stall would have passed at the next tick. So
//! would the limits of agents whose bytes arrived during the stall and were not read yet.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Clock, NEVER, Watch};

/// The longest gap between two readings of the clock that limits include, in milliseconds. A process
/// with a small CPU quota runs with gaps of up to 100 ms all the time (CFS bandwidth control), and
/// limits must pass there too.
const LONGEST_GAP: u64 = 1000;

impl Clock {
    /// Sets the clock. If it was not read for too long, every limit except that of an exchange is
    /// moved by the length of the gap. The deadline of an exchange is recorded without this clock.
    pub(super) fn advance_to(&self, now: u64) {
        let gap = now.saturating_sub(self.now.swap(now, Relaxed));
        if gap <= LONGEST_GAP {
            return;
        }
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for watch in watched.iter() {
            watch.postpone(gap);
        }
    }
}

impl Watch {
    fn postpone(&self, by: u64) {
        let postpone = |due: &AtomicU64| {
            let before = due.load(Relaxed);
            // 0 marks a socket that is to be closed at once.
            if before != 0 && before != NEVER {
                due.store(before.saturating_add(by), Relaxed);
            }
        };
        postpone(&self.socket_due);
        postpone(&self.body_due);
        postpone(&self.write_due);
        postpone(&self.quiet_since);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::{Overdue, TICK, Times};
    use super::Clock;

    const SECOND: u64 = 1000;

    fn times() -> Times {
        let limit = Duration::from_secs(10);
        Times {
            header_read: limit,
            idle: limit,
            body_idle: limit,
            write_stall: limit,
        }
    }

    #[test]
    fn a_limit_that_is_noted_in_a_stall_is_not_early() {
        // F-273
        for stall in [1, 60, 12 * SECOND, 3600 * SECOND] {
            let clock = Clock::new();
            let watch = clock.watch(times());
            watch.exchange_begins();
            // The clock still shows the time before the stall.
            watch.exchange_over();
            clock.advance_to(stall);
            assert!(!watch.is_cut(), "{stall} ms");
            let tick = u64::try_from(TICK.as_millis()).unwrap();
            let mut now = stall;
            while !watch.is_cut() {
                now += tick;
                clock.advance_to(now);
            }
            let late = now - stall - 10 * SECOND;
            assert!(late <= 3 * tick, "{late} ms late after {stall} ms");
        }
    }

    #[test]
    fn limits_pass_although_a_quota_interrupts_the_worker_all_the_time() {
        let clock = Clock::new();
        let watch = clock.watch(times());
        watch.exchange_begins();
        watch.exchange_over();
        let mut now = 0;
        while !watch.is_cut() {
            now += 120;
            clock.advance_to(now);
            assert!(now < 11 * SECOND);
        }
    }

    #[test]
    fn the_deadline_of_an_exchange_holds_through_a_stall() {
        let clock = Clock::new();
        let watch = clock.watch(times());
        watch.exchange_begins();
        watch.limit_exchange(Instant::now() + Duration::from_secs(10));
        clock.advance_to(9 * SECOND);
        assert_eq!(watch.overdue(), None);
        clock.advance_to(20 * SECOND);
        assert_eq!(watch.overdue(), Some(Overdue::Exchange));
    }
}
