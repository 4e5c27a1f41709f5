//! The time for which a stored access token may be used. The functions are pure: the time of the
//! wall clock is a parameter.
//!
//! The wall clock is the only one that counts across restarts, and it can be set. So the life that
//! remains is never longer than the life that was granted. Within a process, the caller measures
//! the returned life with a clock that cannot be set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::document::StoredGrant;

/// The longest life of an access token that can be refreshed.
pub const MAX_REFRESHABLE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The life of an access token that remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemainingLife {
    /// The token has expired.
    Expired,
    /// The token may be used for this time.
    For(Duration),
    /// The token has no stated end and cannot be refreshed, so it is used without a limit, even
    /// after the API has answered 401.
    Endless,
}

impl StoredGrant {
    /// Returns the remaining life of the access token at this time, or `None` if there is no access
    /// token.
    pub fn remaining_life(&self, now: Timestamp) -> Option<RemainingLife> {
        self.access_token.as_ref()?;
        let issued_at = self.refreshed_at.or(self.version.connected_at);
        // A document that does not state when the token was issued counts from now.
        let start = issued_at.unwrap_or(now);
        let end = match (self.expires_at, self.refresh_token.is_some()) {
            (None, false) => return Some(RemainingLife::Endless),
            (None, true) => latest_refreshable_end(start),
            (Some(end), true) => end.min(latest_refreshable_end(start)),
            (Some(end), false) => end,
        };
        let remaining = end.duration_since(now);
        let granted = end.duration_since(start);
        let life = match issued_at {
            Some(_) => remaining.min(granted),
            None => remaining,
        };
        Some(match Duration::try_from(life) {
            Ok(life) if !life.is_zero() => RemainingLife::For(life),
            Ok(_) | Err(_) => RemainingLife::Expired,
        })
    }

    /// Returns whether the access token can be used at this time.
    pub fn is_access_token_usable(&self, now: Timestamp) -> bool {
        match self.remaining_life(now) {
            Some(RemainingLife::For(_) | RemainingLife::Endless) => true,
            Some(RemainingLife::Expired) | None => false,
        }
    }

    /// Returns whether the stated life of the refresh token has ended at this time.
    pub fn is_refresh_token_expired(&self, now: Timestamp) -> bool {
        self.refresh_token_expires_at.is_some_and(|end| end <= now)
    }
}

fn latest_refreshable_end(start: Timestamp) -> Timestamp {
    start
        .saturating_add(
            SignedDuration::try_from(MAX_REFRESHABLE_LIFE).unwrap_or(SignedDuration::MAX),
        )
        .unwrap_or(Timestamp::MAX)
}
