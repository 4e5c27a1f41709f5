//! The access tokens of the client that gets them for itself: the authorization server issues them,
//! and the API checks them. Token requests and tokens are counted, so that `/echo` can report the
//! counts.
//!
//! A token can be revoked, to show that egressd obtains a new one. After a 401, egressd does so at
//! most once in 30 seconds. So a token is revoked only if the last renewal is longer ago.
//! Otherwise, a user who pastes the line twice would get a 401 until the interval is over.

use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::expiring::Expiring;
use super::random::random_secret;

/// The lifetime of a token.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// The maximum number of valid tokens. Beyond it, the oldest is removed.
const MAX_LIVE_TOKENS: usize = 64;
/// The minimum time between a renewal and the next revocation: longer than the 30 seconds of
/// egressd's `TOKEN_RETRY_INTERVAL`.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(35);

/// All issued tokens.
#[derive(Default)]
pub(super) struct IssuedTokens(Mutex<TokenTable>);

struct TokenTable {
    issued: Expiring<IssuedToken>,
    /// The number of requests for tokens of this kind so far, including refused ones.
    requests: u64,
    /// The number of tokens so far, which is the number of the last one.
    number: u64,
    last_revocation: LastRevocation,
}

struct IssuedToken {
    token: Zeroizing<String>,
    number: u64,
}

impl Default for TokenTable {
    fn default() -> Self {
        Self {
            issued: Expiring::with_capacity(MAX_LIVE_TOKENS),
            requests: 0,
            number: 0,
            last_revocation: LastRevocation::default(),
        }
    }
}

/// The state of the last revocation.
#[derive(Default)]
enum LastRevocation {
    /// No token has been revoked.
    #[default]
    Never,
    /// A token was revoked, and no new one has been issued yet.
    Pending,
    /// A new token was issued at this time.
    Renewed(Instant),
}

impl IssuedTokens {
    /// Counts a token request.
    pub(super) fn count_request(&self) {
        self.0.lock().requests += 1;
    }

    /// Returns the number of token requests.
    pub(super) fn requests(&self) -> u64 {
        self.0.lock().requests
    }

    /// Issues a token. Fails only if the system provides no randomness.
    pub(super) fn issue(&self, now: Instant) -> io::Result<Zeroizing<String>> {
        let token = random_secret()?;
        let mut state = self.0.lock();
        state.number += 1;
        let issued = IssuedToken {
            token: token.clone(),
            number: state.number,
        };
        state.issued.push(issued, now, now + TOKEN_LIFETIME);
        if matches!(state.last_revocation, LastRevocation::Pending) {
            state.last_revocation = LastRevocation::Renewed(now);
        }
        Ok(token)
    }

    /// Returns the number of a valid token, from 1.
    pub(super) fn token_number(&self, token: &[u8], now: Instant) -> Option<u64> {
        let is_token = |issued: &IssuedToken| issued.token.as_bytes() == token;
        let state = self.0.lock();
        state.issued.find(now, is_token).map(|issued| issued.number)
    }

    /// Revokes the token with this number. Returns `false`, and keeps the token, if the last
    /// renewal is too recent.
    pub(super) fn revoke(&self, number: u64, now: Instant) -> bool {
        let mut state = self.0.lock();
        if let LastRevocation::Renewed(at) = state.last_revocation
            && now.saturating_duration_since(at) < RENEWAL_INTERVAL
        {
            return false;
        }
        state.issued.remove(|issued| issued.number == number);
        state.last_revocation = LastRevocation::Pending;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Duration, Instant, IssuedTokens, MAX_LIVE_TOKENS, RENEWAL_INTERVAL, TOKEN_LIFETIME,
    };

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_token_is_valid_until_its_expiry() {
        let (tokens, now) = (IssuedTokens::default(), Instant::now());
        let first = tokens.issue(now).unwrap();
        let second = tokens.issue(now + MOMENT).unwrap();
        assert!(first.len() >= 32);
        assert_eq!(tokens.token_number(first.as_bytes(), now), Some(1));
        assert_eq!(tokens.token_number(second.as_bytes(), now), Some(2));
        assert_eq!(
            tokens.token_number(first.as_bytes(), now + TOKEN_LIFETIME - MOMENT),
            Some(1)
        );
        assert_eq!(
            tokens.token_number(first.as_bytes(), now + TOKEN_LIFETIME),
            None
        );
        assert_eq!(
            tokens.token_number(second.as_bytes(), now + TOKEN_LIFETIME),
            Some(2)
        );
        for other in [&b""[..], b"made-up", &first.as_bytes()[1..]] {
            assert_eq!(tokens.token_number(other, now), None);
        }
    }

    #[test]
    fn their_number_is_bounded() {
        let (tokens, now) = (IssuedTokens::default(), Instant::now());
        let first = tokens.issue(now).unwrap();
        for _ in 1..MAX_LIVE_TOKENS {
            tokens.issue(now).unwrap();
        }
        assert_eq!(tokens.token_number(first.as_bytes(), now), Some(1));
        let last = tokens.issue(now).unwrap();
        assert_eq!(tokens.token_number(first.as_bytes(), now), None);
        assert_eq!(
            tokens.token_number(last.as_bytes(), now),
            Some(MAX_LIVE_TOKENS as u64 + 1)
        );
    }

    #[test]
    fn renewals_are_far_apart() {
        let (tokens, now) = (IssuedTokens::default(), Instant::now());
        let first = tokens.issue(now).unwrap();
        assert!(tokens.revoke(1, now));
        assert_eq!(tokens.token_number(first.as_bytes(), now), None);
        // The interval starts at the renewal, however late it is.
        let renewed = now + 10 * RENEWAL_INTERVAL;
        let second = tokens.issue(renewed).unwrap();
        let soon = renewed + RENEWAL_INTERVAL - MOMENT;
        assert!(!tokens.revoke(2, soon));
        assert_eq!(tokens.token_number(second.as_bytes(), soon), Some(2));
        assert!(tokens.revoke(2, renewed + RENEWAL_INTERVAL));
        assert_eq!(tokens.token_number(second.as_bytes(), soon), None);
    }
}
