//! Excludes the time in which a worker did not run from the limits on agents.
//!
//! On a busy machine a thread may wait for seconds for a processor, and a runtime that always has a
//! task to run checks its timers rarely. The ticker does not advance during such a stall. Without
//! this module, limits that are set during the stall would have passed at the next tick. The same
//! would be true for the limits of agents whose bytes arrived during the stall but were not read
//! yet.

use std::sync::atomic::Ordering::Relaxed;

use super::SocketTimers;

/// The longest gap, in milliseconds, between two readings of the clock that counts towards limits.
/// A process with a small CPU quota runs with gaps of up to 100 ms all the time (CFS bandwidth
/// control), and its limits must pass too.
pub(super) const MAX_GAP: u64 = 1000;

impl SocketTimers {
    /// Postpones all limits by the length of a stall, except the limit of an exchange, which is set
    /// independently of the ticker.
    pub(super) fn delay_timers(&self, by: u64) {
        self.state_deadline.postpone(by);
        self.body_deadline.postpone(by);
        self.write_deadline.postpone(by);
        self.idle_since.fetch_add(by, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::MonotonicTime;
    use std::time::Duration;

    use super::super::{ExceededLimit, SocketLimits, TICK, Ticker};
    use crate::memory::MemoryShortage;

    const SECOND: u64 = 1000;

    fn socket_limits() -> SocketLimits {
        let limit = Duration::from_secs(10);
        SocketLimits {
            header_read: limit,
            idle: limit,
            body_idle: limit,
            write_stall: limit,
        }
    }

    #[test]
    fn a_limit_that_is_set_during_a_stall_is_not_early() {
        // F-273
        for stall in [1, 60, 12 * SECOND, 3600 * SECOND] {
            let ticker = Ticker::new(MemoryShortage::default());
            let timers = ticker.register_socket(socket_limits());
            timers.begin_exchange();
            // The ticker still shows the time before the stall.
            timers.end_exchange();
            ticker.advance_to(stall);
            assert!(!timers.must_close(), "{stall} ms");
            let tick = u64::try_from(TICK.as_millis()).unwrap();
            let mut now = stall;
            while !timers.must_close() {
                now += tick;
                ticker.advance_to(now);
            }
            let late = now - stall - 10 * SECOND;
            assert!(late <= 3 * tick, "{late} ms late after {stall} ms");
        }
    }

    #[test]
    fn limits_pass_although_a_quota_interrupts_the_worker_all_the_time() {
        let ticker = Ticker::new(MemoryShortage::default());
        let timers = ticker.register_socket(socket_limits());
        timers.begin_exchange();
        timers.end_exchange();
        let mut now = 0;
        while !timers.must_close() {
            now += 120;
            ticker.advance_to(now);
            assert!(now < 11 * SECOND);
        }
    }

    #[test]
    fn the_deadline_of_an_exchange_holds_through_a_stall() {
        let ticker = Ticker::new(MemoryShortage::default());
        let timers = ticker.register_socket(socket_limits());
        timers.begin_exchange();
        timers.limit_exchange(MonotonicTime::now().saturating_add(Duration::from_secs(10)));
        ticker.advance_to(9 * SECOND);
        assert_eq!(timers.exceeded_limit(), None);
        ticker.advance_to(20 * SECOND);
        assert_eq!(timers.exceeded_limit(), Some(ExceededLimit::Exchange));
    }
}
