//! The access tokens of one run: issued by the token endpoint, asked for by the API. Both count, so that an answer can tell how many there were.
//!
//! A token can be revoked, so that a renewal can be watched. egressd renews after a 401 at most once in 30 seconds, so a token is revoked only
//! if the last renewal is longer ago: whoever pastes the line twice is not left standing before a closed door.

use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::random::random_secret;

/// How long a token is taken.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// The most live tokens; the oldest goes first.
const MAX_LIVE_TOKENS: usize = 64;
/// How far renewals are apart: more than the 30 seconds of egressd.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(35);

/// All tokens.
#[derive(Default)]
pub(super) struct IssuedTokens(Mutex<TokenTable>);

#[derive(Default)]
struct TokenTable {
    issued: Vec<IssuedToken>,
    /// Token requests so far, refused ones included.
    requests: u64,
    /// Tokens so far; the last one's number.
    number: u64,
    last_revocation: LastRevocation,
}

struct IssuedToken {
    token: Zeroizing<String>,
    number: u64,
    until: Instant,
}

/// What became of the last revocation.
#[derive(Default)]
enum LastRevocation {
    /// There was none.
    #[default]
    Never,
    /// A token was revoked, and no new one was asked for yet.
    Pending,
    /// A new one was issued.
    Renewed(Instant),
}

impl IssuedTokens {
    /// Counts a token request.
    pub(super) fn count_request(&self) {
        self.0.lock().requests += 1;
    }

    /// How many token requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.0.lock().requests
    }

    /// A new one. Fails only if the system has no randomness to give.
    pub(super) fn issue(&self, now: Instant) -> io::Result<Zeroizing<String>> {
        let token = random_secret()?;
        let mut state = self.0.lock();
        state.number += 1;
        let issued = IssuedToken {
            token: token.clone(),
            number: state.number,
            until: now + TOKEN_LIFETIME,
        };
        state.issued.retain(|issued| issued.until > now);
        if state.issued.len() >= MAX_LIVE_TOKENS {
            state.issued.remove(0);
        }
        state.issued.push(issued);
        if matches!(state.last_revocation, LastRevocation::Pending) {
            state.last_revocation = LastRevocation::Renewed(now);
        }
        Ok(token)
    }

    /// The number of a live token, from 1.
    pub(super) fn token_number(&self, token: &[u8], now: Instant) -> Option<u64> {
        let state = self.0.lock();
        let mut live = state.issued.iter().filter(|issued| issued.until > now);
        live.find(|issued| issued.token.as_bytes() == token)
            .map(|issued| issued.number)
    }

    /// Takes the token of this number no longer. False if the last renewal is too fresh: then it stays.
    pub(super) fn revoke(&self, number: u64, now: Instant) -> bool {
        let mut state = self.0.lock();
        if let LastRevocation::Renewed(at) = state.last_revocation
            && now.saturating_duration_since(at) < RENEWAL_INTERVAL
        {
            return false;
        }
        state.issued.retain(|issued| issued.number != number);
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
    fn a_token_is_taken_until_its_end() {
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
        // However late the renewal comes, it is the renewal that counts.
        let renewed = now + 10 * RENEWAL_INTERVAL;
        let second = tokens.issue(renewed).unwrap();
        let soon = renewed + RENEWAL_INTERVAL - MOMENT;
        assert!(!tokens.revoke(2, soon));
        assert_eq!(tokens.token_number(second.as_bytes(), soon), Some(2));
        assert!(tokens.revoke(2, renewed + RENEWAL_INTERVAL));
        assert_eq!(tokens.token_number(second.as_bytes(), soon), None);
    }
}
