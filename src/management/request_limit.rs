//! A limit of the requests that the management API serves, whatever the number of callers.
//!
//! Without it, a flood of requests would take the processor time of the whole process, at the
//! expense of agents if the container has a CPU quota. One request is served at a time, in the
//! order of arrival. After [`BURST`] requests at once, they are served at [`RATE`]. A request is
//! refused only if those before it keep it waiting for [`MAX_WAIT`], or if too many others wait
//! already. So a caller that sends one request after another is delayed, but never refused.
//!
//! A request that waits keeps its socket open. Requests may therefore wait on three quarters of the
//! sockets at most. The others are left for probes, metrics and refusals.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

/// Requests per second. With hundreds of connections a response takes 2 to 3 ms, so this rate takes
/// about a twentieth of a core.
pub(super) const RATE: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// The number of requests that are served without delay after a pause.
const BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// The maximum number of requests that are served at the same time. A handler computes its response
/// on one thread and waits for nothing, so more than one would not be faster.
const MAX_CONCURRENT: usize = 1;
/// The longest time that a request waits for the requests before it.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(1);

/// The rate and the concurrency of all requests that the limit applies to.
pub(super) struct RequestLimit {
    rate: RateLimiter<NotKeyed, InMemoryState, RuntimeClock>,
    concurrency: Semaphore,
    /// The places of requests that wait.
    places: Semaphore,
}

/// The clock of the runtime, which tests can move.
#[derive(Clone)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl RequestLimit {
    /// Creates the limit for a listener that has at most this many open sockets.
    pub(super) fn new(sockets: usize) -> Self {
        let quota = Quota::per_second(RATE).allow_burst(BURST);
        Self {
            rate: RateLimiter::direct_with_clock(quota, RuntimeClock),
            concurrency: Semaphore::new(MAX_CONCURRENT),
            places: Semaphore::new(sockets - sockets / 4),
        }
    }

    fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.concurrency.try_acquire().ok()?;
        self.rate.check().ok().map(|()| permit)
    }

    /// Returns a permit to serve a request, and waits for it if necessary. Returns `None` if other
    /// requests kept this one waiting for [`MAX_WAIT`], or if no place to wait is free.
    pub(super) async fn acquire(&self) -> Option<SemaphorePermit<'_>> {
        if let Some(permit) = self.try_acquire() {
            return Some(permit);
        }
        let _place = self.places.try_acquire().ok()?;
        let waiting = timeout(MAX_WAIT, self.concurrency.acquire());
        // The semaphore is never closed.
        let permit = waiting.await.ok()?.ok()?;
        // The permit is held meanwhile. The semaphore is fair, so requests are served in the order
        // of arrival.
        while let Err(early) = self.rate.check() {
            sleep(early.wait_time_from(RuntimeClock.now())).await;
        }
        Some(permit)
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_with;
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::{Instant, advance};

    use super::{BURST, MAX_WAIT, RATE, RequestLimit};

    const SOCKETS: usize = 64;

    /// The time between two requests at the rate; the timer is exact to a millisecond.
    fn interval() -> Duration {
        Duration::from_secs(1) / RATE.get() + Duration::from_millis(1)
    }

    fn burst(limit: &RequestLimit) -> usize {
        repeat_with(|| limit.try_acquire())
            .take_while(Option::is_some)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_burst_are_served_at_the_rate() {
        // F-168
        let limit = RequestLimit::new(SOCKETS);
        let begun = Instant::now();
        let mut served = 0;
        while begun.elapsed() < Duration::from_secs(100) {
            drop(limit.acquire().await.unwrap());
            served += 1;
        }
        let most = 100 * RATE.get() + BURST.get();
        assert!(
            (most * 9 / 10..=most + 1).contains(&served),
            "{served} of {most}"
        );
        // After a pause there is a burst again, and no more than that.
        advance(Duration::from_secs(1000)).await;
        assert_eq!(burst(&limit), BURST.get() as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_is_served_at_a_time() {
        let limit = RequestLimit::new(SOCKETS);
        let served = limit.try_acquire().unwrap();
        assert!(limit.try_acquire().is_none());
        drop(served);
        assert!(limit.try_acquire().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_caller_is_delayed_and_never_refused() {
        // F-168
        let limit = RequestLimit::new(SOCKETS);
        burst(&limit);
        for _ in 0..3 {
            assert!(limit.try_acquire().is_none());
            let begun = Instant::now();
            assert!(limit.acquire().await.is_some());
            assert!(begun.elapsed() <= interval(), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_crowd_requests_that_wait_too_long_are_refused() {
        // F-168
        // Leaked, because spawned tasks need a `'static` reference.
        let limit: &RequestLimit = Box::leak(Box::new(RequestLimit::new(SOCKETS)));
        burst(limit);
        let begun = Instant::now();
        let mut crowd = JoinSet::new();
        for _ in 0..40 {
            crowd.spawn(async { limit.acquire().await.is_some() });
        }
        let served = crowd.join_all().await.into_iter().filter(|served| *served);
        let served = served.count();
        let rate = RATE.get() as usize;
        assert!((rate * 9 / 10..=rate + 1).contains(&served), "{served}");
        assert!(begun.elapsed() <= MAX_WAIT + interval());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_place_to_wait_is_refused_at_once() {
        // F-196
        let limit: &RequestLimit = Box::leak(Box::new(RequestLimit::new(SOCKETS)));
        burst(limit);
        let mut waiting = JoinSet::new();
        for _ in 0..SOCKETS * 3 / 4 {
            waiting.spawn(async { limit.acquire().await.is_some() });
        }
        tokio::task::yield_now().await;
        let begun = Instant::now();
        assert!(limit.acquire().await.is_none());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // A caller that goes away leaves its place to another.
        waiting.shutdown().await;
        assert!(limit.acquire().await.is_some());
    }
}
