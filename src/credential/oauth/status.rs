//! The state of a grant for operators. It contains no secret, and from the token endpoint only the
//! error code, cleaned.

use std::time::{Duration, SystemTime};

use super::grant::Grant;
use crate::credential::unavailable::Reason;

/// The state of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantStatus {
    /// The expiry of the cached token, on the system clock as it is set now.
    pub expires_at: Option<SystemTime>,
    /// `true` if there is a token and it has no end.
    pub is_endless: bool,
    /// The time at which a token was last obtained.
    pub last_refreshed: Option<SystemTime>,
    /// The failure since then, if the last fetch failed.
    pub last_failure: Option<LastFailure>,
    /// The time until the endpoint may be requested again, after a failure.
    pub retry_in: Option<Duration>,
    /// The number of token requests that were granted.
    pub requests_ok: u64,
    /// The number of token requests that failed.
    pub requests_failed: u64,
}

/// A failed token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// The kind of reason.
    pub reason: Reason,
    /// The error code that the token endpoint sent, at most 256 characters without control
    /// characters. For operators only.
    pub error_text: Option<Box<str>>,
    /// The time of the failure.
    pub at: SystemTime,
    /// The number of failures in a row.
    pub in_a_row: u32,
}

impl Grant {
    /// Returns the current state.
    pub fn status(&self) -> GrantStatus {
        let token = self.valid_token();
        let left = token.as_ref().and_then(|token| token.stated_life());
        let counters = self.counters();
        let state = self.lock_state();
        GrantStatus {
            expires_at: left.and_then(|left| SystemTime::now().checked_add(left)),
            is_endless: token.is_some() && left.is_none(),
            last_refreshed: state.obtained_at,
            last_failure: state.failure.as_ref().map(|failure| LastFailure {
                reason: failure.error.reason,
                error_text: failure.error.error_text.clone(),
                at: failure.at,
                in_a_row: failure.in_a_row,
            }),
            retry_in: state.active_failure().map(|held| held.retry_after),
            requests_ok: counters.granted(),
            requests_failed: counters.failed(),
        }
    }
}
