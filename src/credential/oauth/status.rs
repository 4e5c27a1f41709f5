//! What operators may know of a grant. No secret is in it, and no byte of the token endpoint but its error code, cleaned.

use std::time::{Duration, SystemTime};

use super::grant::Grant;
use crate::credential::unavailable::Reason;

/// The state of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantStatus {
    /// When the cached token expires, by the system's clock as it is now.
    pub expires_at: Option<SystemTime>,
    /// When a token was last obtained.
    pub last_refreshed: Option<SystemTime>,
    /// Why none was obtained since then.
    pub last_failure: Option<LastFailure>,
    /// How long the endpoint is left alone because of that.
    pub retry_in: Option<Duration>,
    /// Token requests that were granted.
    pub requests_ok: u64,
    /// Token requests that were not.
    pub requests_failed: u64,
}

/// Why no token was obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// The kind of reason.
    pub reason: Reason,
    /// The token endpoint's own error code, at most 256 characters without control characters. For operators only.
    pub error_text: Option<Box<str>>,
    /// When.
    pub at: SystemTime,
    /// How many there were in a row.
    pub in_a_row: u32,
}

impl Grant {
    /// Its state now.
    pub fn status(&self) -> GrantStatus {
        let left = self.valid_token().and_then(|token| token.remaining_life());
        let state = self.lock_state();
        GrantStatus {
            expires_at: left.and_then(|left| SystemTime::now().checked_add(left)),
            last_refreshed: state.obtained_at,
            last_failure: state.failure.as_ref().map(|failure| LastFailure {
                reason: failure.error.reason,
                error_text: failure.error.error_text.clone(),
                at: failure.at,
                in_a_row: failure.in_a_row,
            }),
            retry_in: state.active_failure().map(|held| held.retry_after),
            requests_ok: self.requester.counters.granted(),
            requests_failed: self.requester.counters.failed(),
        }
    }
}
