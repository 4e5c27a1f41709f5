//! The grants of the people who consented, and their tokens.
//!
//! A refresh token is accepted once, and the answer has a new one. If a token is used again, the
//! grant ends, because one of its two users is not the client (RFC 9700 §4.14.2).

use std::io;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::expiring::Expiring;
use super::oauth_error::OauthError;
use super::random::random_secret;

/// The lifetime of an access token. It is short, so that refreshes can be watched.
pub(super) const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(120);
/// The lifetime of a refresh token, counted from its issue.
pub(super) const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// The maximum number of grants. Beyond it, the one that was refreshed least recently ends.
const MAX_GRANTS: usize = 8;
/// The maximum number of valid access tokens of all grants. Beyond it, the oldest is removed.
const MAX_ACCESS_TOKENS: usize = 32;

/// All grants and their access tokens.
pub(super) struct Grants {
    grants: Expiring<Grant>,
    access_tokens: Expiring<AccessToken>,
    /// The number of the last grant, from 1.
    last: u64,
}

struct Grant {
    number: u64,
    account: &'static str,
    /// The first part of all refresh tokens of the grant. It reveals that a refresh token is an old
    /// one, without a list of the old ones.
    family: Zeroizing<String>,
    /// The refresh token that is valid now: the family, a dot and random digits.
    refresh_token: Zeroizing<String>,
    /// The number of access tokens so far.
    access_tokens: u64,
}

struct AccessToken {
    token: Zeroizing<String>,
    grant: u64,
    access: ConsentedAccess,
}

/// What an access token gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConsentedAccess {
    /// The account of the person who consented.
    pub(super) account: &'static str,
    /// The number of the access token within its grant, from 1. It grows with each refresh.
    pub(super) number: u64,
}

/// The tokens of a successful token request.
#[derive(Debug)]
pub(super) struct GrantedTokens {
    pub(super) access_token: Zeroizing<String>,
    pub(super) refresh_token: Zeroizing<String>,
    /// The number of the grant.
    pub(super) grant: u64,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            grants: Expiring::with_capacity(MAX_GRANTS),
            access_tokens: Expiring::with_capacity(MAX_ACCESS_TOKENS),
            last: 0,
        }
    }
}

impl Grants {
    /// Starts a grant for an account.
    pub(super) fn start(
        &mut self,
        account: &'static str,
        now: Instant,
    ) -> Result<GrantedTokens, OauthError> {
        let family = random_secret()?;
        self.last += 1;
        let grant = Grant {
            number: self.last,
            account,
            refresh_token: next_refresh_token(&family)?,
            family,
            access_tokens: 0,
        };
        self.issue(grant, now)
    }

    /// Exchanges a refresh token for new tokens. If the token was used before, its grant ends.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        now: Instant,
    ) -> Result<GrantedTokens, OauthError> {
        let Some(mut grant) = self
            .grants
            .take(now, |grant| grant.is_family_of(token.as_bytes()))
        else {
            let why = "the refresh token is not valid, has expired or was revoked";
            return Err(OauthError::InvalidGrant(why));
        };
        if grant.refresh_token.as_str() != token {
            self.end(grant.number);
            let why = "the refresh token was used before, so the grant has ended";
            return Err(OauthError::InvalidGrant(why));
        }
        grant.refresh_token = next_refresh_token(&grant.family)?;
        self.issue(grant, now)
    }

    /// Issues an access token, and stores the grant with its new refresh token.
    fn issue(&mut self, mut grant: Grant, now: Instant) -> Result<GrantedTokens, OauthError> {
        let access_token = random_secret()?;
        grant.access_tokens += 1;
        let issued = AccessToken {
            token: access_token.clone(),
            grant: grant.number,
            access: ConsentedAccess {
                account: grant.account,
                number: grant.access_tokens,
            },
        };
        let until = now + ACCESS_TOKEN_LIFETIME;
        self.access_tokens.push(issued, now, until);
        let tokens = GrantedTokens {
            access_token,
            refresh_token: grant.refresh_token.clone(),
            grant: grant.number,
        };
        self.grants.push(grant, now, now + REFRESH_TOKEN_LIFETIME);
        Ok(tokens)
    }

    /// Ends a grant and its access tokens.
    pub(super) fn end(&mut self, number: u64) {
        self.grants.remove(|grant| grant.number == number);
        self.access_tokens.remove(|token| token.grant == number);
    }

    /// Ends the grant of a token of either kind, also if the refresh token is an old one. An
    /// unknown token has no effect.
    pub(super) fn revoke(&mut self, token: &str, now: Instant) {
        let of_refresh_token = self
            .grants
            .find(now, |grant| grant.is_family_of(token.as_bytes()))
            .map(|grant| grant.number);
        let of_access_token = || {
            let issued = self
                .access_tokens
                .find(now, |issued| *issued.token == token);
            issued.map(|issued| issued.grant)
        };
        if let Some(number) = of_refresh_token.or_else(of_access_token) {
            self.end(number);
        }
    }

    /// Returns the access of a valid access token.
    pub(super) fn access(&self, token: &[u8], now: Instant) -> Option<ConsentedAccess> {
        let is_token = |issued: &AccessToken| issued.token.as_bytes() == token;
        self.access_tokens
            .find(now, is_token)
            .map(|issued| issued.access)
    }
}

impl Grant {
    fn is_family_of(&self, token: &[u8]) -> bool {
        token
            .strip_prefix(self.family.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"."))
    }
}

fn next_refresh_token(family: &str) -> io::Result<Zeroizing<String>> {
    let random = random_secret()?;
    Ok(Zeroizing::new(format!("{family}.{}", *random)))
}

impl From<io::Error> for OauthError {
    fn from(_no_randomness: io::Error) -> Self {
        Self::TemporarilyUnavailable
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ACCESS_TOKEN_LIFETIME, ConsentedAccess, Grants, MAX_ACCESS_TOKENS, MAX_GRANTS,
        REFRESH_TOKEN_LIFETIME,
    };
    use crate::demo::oauth_error::OauthError;
    use std::time::{Duration, Instant};

    const MOMENT: Duration = Duration::from_millis(1);

    fn access(number: u64) -> Option<ConsentedAccess> {
        let account = "ada";
        Some(ConsentedAccess { account, number })
    }

    #[test]
    fn a_refresh_replaces_the_refresh_token() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let first = grants.start("ada", now).unwrap();
        let second = grants.refresh(&first.refresh_token, now).unwrap();
        assert_ne!(first.refresh_token, second.refresh_token);
        assert_ne!(first.access_token, second.access_token);
        assert_eq!(first.grant, second.grant);
        // The first access token stays valid to its end.
        for (tokens, number) in [(&first, 1), (&second, 2)] {
            let token = tokens.access_token.as_bytes();
            let end = now + ACCESS_TOKEN_LIFETIME;
            assert_eq!(grants.access(token, end - MOMENT), access(number));
            assert_eq!(grants.access(token, end), None);
        }
        // The lifetime of a refresh token starts with its issue.
        let late = now + REFRESH_TOKEN_LIFETIME - MOMENT;
        let third = grants.refresh(&second.refresh_token, late).unwrap();
        let late = late + REFRESH_TOKEN_LIFETIME;
        let expired = grants.refresh(&third.refresh_token, late);
        assert!(matches!(expired, Err(OauthError::InvalidGrant(_))));
    }

    #[test]
    fn a_repeated_refresh_ends_the_grant() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let first = grants.start("ada", now).unwrap();
        let second = grants.refresh(&first.refresh_token, now).unwrap();
        let other = grants.start("grace", now).unwrap();
        for token in [&first.refresh_token, &second.refresh_token] {
            let refused = grants.refresh(token, now);
            assert!(matches!(refused, Err(OauthError::InvalidGrant(_))));
        }
        for tokens in [&first, &second] {
            assert_eq!(grants.access(tokens.access_token.as_bytes(), now), None);
        }
        let token = other.access_token.as_bytes();
        assert_eq!(grants.access(token, now).unwrap().account, "grace");
        grants.refresh(&other.refresh_token, now).unwrap();
    }

    #[test]
    fn a_revoked_token_ends_its_grant_only() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let kept = grants.start("ada", now).unwrap();
        let pick = |of: fn(&super::GrantedTokens) -> String, grants: &mut Grants| {
            let tokens = grants.start("ada", now).unwrap();
            let token = of(&tokens);
            grants.revoke(&token, now);
            tokens
        };
        for ended in [
            pick(|tokens| tokens.refresh_token.to_string(), &mut grants),
            pick(|tokens| tokens.access_token.to_string(), &mut grants),
        ] {
            assert_eq!(grants.access(ended.access_token.as_bytes(), now), None);
            assert!(grants.refresh(&ended.refresh_token, now).is_err());
        }
        for unknown in ["", ".", "made-up"] {
            grants.revoke(unknown, now);
            assert!(grants.refresh(unknown, now).is_err());
        }
        assert_eq!(grants.access(kept.access_token.as_bytes(), now), access(1));
    }

    #[test]
    fn the_numbers_of_grants_and_tokens_are_bounded() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let first = grants.start("ada", now).unwrap();
        for _ in 0..MAX_GRANTS {
            grants.start("ada", now).unwrap();
        }
        assert!(grants.refresh(&first.refresh_token, now).is_err());
        let mut last = grants.start("ada", now).unwrap();
        let token = last.access_token.clone();
        for _ in 0..MAX_ACCESS_TOKENS {
            last = grants.refresh(&last.refresh_token, now).unwrap();
        }
        assert_eq!(grants.access(token.as_bytes(), now), None);
    }
}
