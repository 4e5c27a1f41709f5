//! The state of a grant, except its current token: the fetch under way, the last failure and how
//! long it prevents the next fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::endpoint::{FailureClass, TokenRequestError};
use super::policy;
use super::token::Token;
use crate::clock::{BootTime, Clock, Expiry};
use crate::credential::unavailable::Unavailable;

/// The outcome of a fetch. `None` until the fetch has ended.
pub(super) type FetchOutcome = Option<Result<Arc<Token>, Unavailable>>;

/// Receives the outcome of a fetch.
pub(super) type FetchReceiver = watch::Receiver<FetchOutcome>;

/// The state of a grant, except the current token. Every change of that token happens under the
/// lock of this state.
#[derive(Default)]
pub(super) struct TokenState {
    pub(super) fetch: Option<FetchReceiver>,
    pub(super) failure: Option<RecordedFailure>,
    /// The time of the last fetch after a 401.
    last_retry: Option<BootTime>,
    /// The task that refreshes and drops the current token.
    pub(super) maintenance: Option<AbortHandle>,
    pub(super) obtained_at: Option<SystemTime>,
}

/// The failure of the last fetch. A success clears it.
pub(super) struct RecordedFailure {
    pub(super) error: TokenRequestError,
    pub(super) in_a_row: u32,
    pub(super) at: SystemTime,
    until: Expiry,
}

/// The result of looking for a token.
pub(super) enum TokenLookup {
    Cached(Arc<Token>),
    Fetching(FetchReceiver),
    BackingOff(Unavailable),
}

impl TokenState {
    /// Returns the current failure with its remaining time, or `None` if a fetch may begin.
    pub(super) fn active_failure(&self) -> Option<Unavailable> {
        let failure = self.failure.as_ref()?;
        failure.until.remaining().map(|left| Unavailable {
            reason: failure.error.reason,
            retry_after: left,
        })
    }

    /// Returns whether a token may be fetched after a 401: at most once in a while, and not while a
    /// failure holds. Records the time if so.
    pub(super) fn claim_retry(&mut self, now: BootTime, interval: Duration) -> bool {
        let is_recent = |at| now.saturating_since(at) < interval;
        if self.last_retry.is_some_and(is_recent) || self.active_failure().is_some() {
            return false;
        }
        self.last_retry = Some(now);
        true
    }

    /// Returns the number of failures since the last success.
    pub(super) fn failure_count(&self) -> u32 {
        self.failure.as_ref().map_or(0, |failure| failure.in_a_row)
    }

    /// Records a failure, and returns it with the time to wait.
    pub(super) fn record_failure(
        &mut self,
        error: TokenRequestError,
        clock: &Clock,
        random_permille: u32,
    ) -> Unavailable {
        let in_a_row = self.failure_count().saturating_add(1);
        let reason = error.reason;
        let retry_after = policy::backoff(
            in_a_row,
            error.class == FailureClass::Hard,
            error.retry_after,
            random_permille,
        );
        let now = clock.now();
        // The wait is at most 15 minutes, so the addition does not overflow.
        let until = now.checked_add(retry_after).unwrap_or(now);
        self.failure = Some(RecordedFailure {
            error,
            in_a_row,
            at: SystemTime::now(),
            until: Expiry::new(until, clock.clone()),
        });
        Unavailable {
            reason,
            retry_after,
        }
    }
}

/// Waits for the outcome of a fetch. Returns `None` if its task was dropped or panicked.
pub(super) async fn await_fetch(mut fetch: FetchReceiver) -> FetchOutcome {
    let outcome = fetch.wait_for(Option::is_some).await.ok()?;
    outcome.clone()
}
