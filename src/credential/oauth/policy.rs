//! The numbers of the token policy: how long a token is used, when it is refreshed, and how long a
//! failure prevents another request. All functions are pure; random numbers are parameters.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The life of a token whose response has no `expires_in`.
pub(super) const DEFAULT_LIFE: Duration = Duration::from_secs(300);
/// The longest time that a token is used.
pub(super) const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Tokens with a shorter life are refreshed at half of it.
const SHORT_LIFE: Duration = Duration::from_secs(120);
/// The least remaining life of other tokens when their refresh begins, apart from the jitter.
const HEADROOM: Duration = Duration::from_secs(60);
/// The longest wait between two attempts.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The longest wait that a token endpoint can request.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// The first wait after an error that only an operator can fix.
const HARD_BACKOFF: Duration = Duration::from_secs(30);
/// The shortest time between two token retries after a 401.
pub(super) const TOKEN_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The life of a token without an end. It is longer than any process runs.
pub(super) const ENDLESS: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// The shortest time between two token retries of a grant that a person has consented to.
pub(super) const CONSENT_RETRY_INTERVAL: Duration = Duration::from_secs(300);
/// The shortest time between a successful refresh of such a grant and the next refresh.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// The wait before a refused refresh token is sent once more. A lost race to another process looks
/// like a refusal.
pub(super) const CONFIRMATION: Duration = Duration::from_secs(5);
/// The time between the two looks at which a file must be absent before its grant ends.
pub(super) const ABSENCE: Duration = Duration::from_secs(5);
/// The longest time between two refreshes of a grant, because providers end idle grants.
const KEEP_ALIVE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The shortest time after which an idle grant is refreshed.
const MIN_KEEP_ALIVE: SignedDuration = SignedDuration::from_secs(60);

/// Returns a random number from 0 to 1000, almost uniformly distributed. It spreads load over time;
/// nothing secret depends on it.
pub(super) fn random_permille() -> u32 {
    let number = RandomState::new().build_hasher().finish() % 1001;
    u32::try_from(number).unwrap_or_default()
}

/// Returns the time from the request of a token to its refresh: min(80 % of its life, its life − 60
/// s), or half its life if that is under two minutes, ± 10 %.
pub(super) fn refresh_after(life: Duration, random_permille: u32) -> Duration {
    let nominal = if life < SHORT_LIFE {
        life / 2
    } else {
        (life * 4 / 5).min(life.saturating_sub(HEADROOM))
    };
    nominal * (900 + random_permille / 5) / 1000
}

/// Returns the wait after this many failures in a row (from 1). It doubles from 1 s to 60 s, starts
/// at 30 s if `hard`, and is at least as long as the endpoint requested (up to 15 minutes). A
/// random part of up to a quarter is added.
pub(super) fn backoff(
    failures: u32,
    hard: bool,
    requested: Option<Duration>,
    random_permille: u32,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    let own = Duration::from_secs(1 << doublings)
        .max(if hard { HARD_BACKOFF } else { Duration::ZERO })
        .min(MAX_BACKOFF);
    let requested = requested.unwrap_or_default().min(MAX_RETRY_AFTER);
    let longest = if requested > MAX_BACKOFF {
        MAX_RETRY_AFTER
    } else {
        MAX_BACKOFF
    };
    (own.max(requested) * (1000 + random_permille / 4) / 1000).min(longest)
}

/// Returns the wait before a grant may be refreshed again, by the wall clock. It limits refreshes
/// across restarts. A time in the future does not count, because the wall clock was set back.
pub(super) fn until_refresh_allowed(refreshed_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let age = refreshed_at.map(|refreshed_at| now.duration_since(refreshed_at));
    let age = age.and_then(|age| Duration::try_from(age).ok());
    age.map_or(Duration::ZERO, |age| REFRESH_INTERVAL.saturating_sub(age))
}

/// Returns whether a grant is to be refreshed although its access token is not due: 7 days after
/// its last refresh or its consent, or at half of the refresh token's stated life.
pub(super) fn is_keep_alive_due(
    last: Option<Timestamp>,
    refresh_token_end: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let Some(last) = last else { return false };
    let idle = now.duration_since(last);
    // A provider that has accepted the token after its stated end does not end it then.
    let end = refresh_token_end.filter(|end| *end > last);
    let half = end.map(|end| end.duration_since(last) / 2);
    // A provider may state the end only once. Each refresh then halves the rest of the life, and
    // must not cause the next one at once.
    idle >= half.map_or(KEEP_ALIVE, |half| half.max(MIN_KEEP_ALIVE).min(KEEP_ALIVE))
}

#[cfg(test)]
mod tests {
    use super::{
        backoff, is_keep_alive_due, random_permille, refresh_after, until_refresh_allowed,
    };
    use jiff::Timestamp;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_refresh_follows_another_after_ten_seconds() {
        // F-325; refreshed at, now, wait.
        for (refreshed_at, now, wait) in [(0, 0, 10), (0, 4, 6), (0, 10, 0), (0, 99, 0), (9, 0, 0)]
        {
            let until = until_refresh_allowed(Some(at(refreshed_at)), at(now));
            assert_eq!(until, seconds(wait), "{refreshed_at} {now}");
        }
        assert_eq!(until_refresh_allowed(None, at(0)), Duration::ZERO);
    }

    #[test]
    fn idle_grants_are_kept_alive() {
        let day = 24 * 60 * 60;
        for (end, now, is_due) in [
            (None, 7 * day - 1, false),
            (None, 7 * day, true),
            (Some(180 * day), 7 * day, true),
            (Some(day), day / 2 - 1, false),
            (Some(day), day / 2, true),
            (Some(2), 59, false),
            (Some(2), 60, true),
            (Some(-1), 7 * day - 1, false),
            (Some(-1), 7 * day, true),
        ] {
            let due = is_keep_alive_due(Some(at(0)), end.map(at), at(now));
            assert_eq!(due, is_due, "{end:?} {now}");
        }
        assert!(!is_keep_alive_due(None, None, at(0)));
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn tokens_are_refreshed_well_before_they_expire() {
        // F-148, F-149: life, earliest, latest, in milliseconds.
        for (life, earliest, latest) in [
            (1, 450, 550),
            (30, 13_500, 16_500),
            (119, 53_550, 65_450),
            (120, 54_000, 66_000),
            (150, 81_000, 99_000),
            (300, 216_000, 264_000),
            (3_600, 2_592_000, 3_168_000),
            (86_400, 62_208_000, 76_032_000),
        ] {
            let at = |random_permille| refresh_after(seconds(life), random_permille).as_millis();
            assert_eq!((at(0), at(1000)), (earliest, latest), "{life} s");
            assert!(at(1000) < u128::from(life) * 1000);
        }
        assert_eq!(refresh_after(Duration::ZERO, 1000), Duration::ZERO);
    }

    #[test]
    fn repeated_failures_back_off_longer() {
        // F-138: failures in a row, seconds.
        for (failures, least) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60)] {
            assert_eq!(backoff(failures, false, None, 0), seconds(least));
            let most = (seconds(least) * 5 / 4).min(seconds(60));
            assert_eq!(backoff(failures, false, None, 1000), most);
        }
        assert_eq!(backoff(u32::MAX, false, None, 1000), seconds(60));
    }

    #[test]
    fn an_error_that_an_operator_must_fix_backs_off_for_thirty_seconds() {
        // F-139
        assert_eq!(backoff(1, true, None, 0), seconds(30));
        assert_eq!(backoff(5, true, None, 0), seconds(30));
        assert_eq!(backoff(6, true, None, 0), seconds(32));
        assert_eq!(backoff(9, true, None, 1000), seconds(60));
    }

    #[test]
    fn retry_after_extends_the_backoff_but_never_shortens_it() {
        // F-138
        assert_eq!(backoff(1, false, Some(seconds(20)), 0), seconds(20));
        assert_eq!(backoff(5, false, Some(seconds(2)), 0), seconds(16));
        assert_eq!(backoff(1, true, Some(seconds(2)), 0), seconds(30));
        assert_eq!(backoff(1, false, Some(seconds(50)), 1000), seconds(60));
        // F-248
        assert_eq!(backoff(1, false, Some(seconds(300)), 0), seconds(300));
        assert_eq!(backoff(1, true, Some(seconds(300)), 1000), seconds(375));
        assert_eq!(backoff(1, false, Some(seconds(890)), 1000), seconds(900));
        assert_eq!(backoff(9, false, Some(seconds(901)), 0), seconds(900));
        assert_eq!(backoff(1, false, Some(Duration::MAX), 1000), seconds(900));
    }

    #[test]
    fn random_permilles_stay_in_range_and_differ() {
        let numbers: std::collections::HashSet<_> = (0..100).map(|_| random_permille()).collect();
        assert!(numbers.iter().all(|number| *number <= 1000));
        assert!(numbers.len() > 1);
    }
}
