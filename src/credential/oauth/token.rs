//! An access token: wiped when dropped, never printed, never used at or past its expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use zeroize::Zeroizing;

use super::policy;
use super::response::{Granted, Life};
use crate::clock::{BootTime, Clock, Expiry};
use crate::reflection::TokenSecret;

const SCHEME: &[u8] = b"Bearer ";

/// An access token. Has no `Debug`, `Display`, `Serialize` or `Clone`, so it cannot be printed or
/// copied by accident.
pub struct Token {
    /// `Bearer …`
    header: Zeroizing<Box<[u8]>>,
    requested_at: BootTime,
    clock: Clock,
    /// If `None`, the token serves only the requests that waited for it.
    life: Option<Lifetime>,
    is_used: AtomicBool,
    is_refresh_claimed: AtomicBool,
    secret: Option<Arc<TokenSecret>>,
}

/// A token for one request.
pub struct AcquiredToken {
    /// The token.
    pub token: Arc<Token>,
    /// `true` if this request waited for the token.
    pub is_fresh: bool,
}

struct Lifetime {
    refresh: BootTime,
    end: Expiry,
    is_endless: bool,
}

impl Token {
    /// Creates a token that was requested at `requested_at`. Its life counts from that moment, on
    /// this clock.
    pub(super) fn new(
        granted: &Granted,
        requested_at: BootTime,
        clock: &Clock,
        random_permille: u32,
    ) -> Self {
        let (text, life) = (&granted.access_token, granted.life);
        Self::from_text(text, life, requested_at, clock, random_permille)
    }

    /// Creates a token from its bytes, with a life that counts from `start` on this clock.
    pub(super) fn from_text(
        text: &[u8],
        life: Life,
        start: BootTime,
        clock: &Clock,
        random_permille: u32,
    ) -> Self {
        let duration = match life {
            Life::Once => None,
            Life::For(life) => Some(life),
            Life::Endless => Some(policy::ENDLESS),
        };
        // If the clock overflows within the life, the token is not cached.
        let lifetime = duration.and_then(|duration| {
            let refresh = policy::refresh_after(duration, random_permille);
            Some(Lifetime {
                refresh: start.checked_add(refresh)?,
                end: Expiry::new(start.checked_add(duration)?, clock.clone()),
                is_endless: life == Life::Endless,
            })
        });
        let header = [SCHEME, text].concat();
        Self {
            header: Zeroizing::new(header.into_boxed_slice()),
            requested_at: start,
            clock: clock.clone(),
            life: lifetime,
            is_used: AtomicBool::new(false),
            is_refresh_claimed: AtomicBool::new(false),
            secret: TokenSecret::new(text),
        }
    }

    /// Returns the value of the `Authorization` header field.
    pub(in crate::credential) fn header_value(&self) -> &[u8] {
        &self.header
    }

    /// Returns the token without its scheme. As for [`crate::domain::Secret::expose`], only
    /// `credential` and `reflection` may call this.
    pub fn expose(&self) -> &[u8] {
        self.header.get(SCHEME.len()..).unwrap_or_default()
    }

    /// Returns the secret that responses are searched for, or `None` if the token is too short to
    /// search for.
    pub(super) fn secret(&self) -> Option<&Arc<TokenSecret>> {
        self.secret.as_ref()
    }

    /// Returns whether responses are searched for the token: it is not too short.
    pub fn is_searched_for(&self) -> bool {
        self.secret.is_some()
    }

    /// Returns the time since the token was requested.
    pub fn age(&self) -> Duration {
        self.clock.now().saturating_since(self.requested_at)
    }

    /// Returns the remaining life, or `None` if the token has expired or must not be cached.
    pub(super) fn remaining_life(&self) -> Option<Duration> {
        self.life.as_ref()?.end.remaining()
    }

    /// Returns the remaining life for operators: `None` also if the token has no end.
    pub(super) fn stated_life(&self) -> Option<Duration> {
        let life = self.life.as_ref().filter(|life| !life.is_endless)?;
        life.end.remaining()
    }

    /// Returns the time from which no request may be sent with the token. Returns `None` for a
    /// token without a life of its own: only the requests that waited for it use it, without a time
    /// limit.
    pub fn expiry(&self) -> Option<&Expiry> {
        self.life.as_ref().map(|life| &life.end)
    }

    /// Returns whether the requests that obtained the token may still use it.
    pub fn is_usable(&self) -> bool {
        self.life.is_none() || self.remaining_life().is_some()
    }

    /// Returns the time until the refresh of the token is due, or zero if it is due already.
    pub(super) fn until_refresh(&self) -> Option<Duration> {
        let life = self.life.as_ref()?;
        Some(life.refresh.saturating_since(self.clock.now()))
    }

    pub(super) fn mark_used(&self) {
        // Written only once. If all workers wrote it with each request, its cache line would move
        // between their cores.
        if !self.is_used.load(Relaxed) {
            self.is_used.store(true, Relaxed);
        }
    }

    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Relaxed)
    }

    /// Returns `true` if a refresh is due and not claimed yet. The caller then has to do it.
    pub(super) fn claim_refresh(&self) -> bool {
        !self.is_refresh_claimed.load(Relaxed)
            && self.until_refresh().is_some_and(|left| left.is_zero())
            && !self.is_refresh_claimed.swap(true, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::{ZeroizeOnDrop, Zeroizing};

    use super::Token;
    use crate::clock::Clock;
    use crate::credential::oauth::response::{Granted, Life};

    #[test]
    fn every_buffer_that_holds_the_token_is_wiped_when_it_is_dropped() {
        // F-254
        fn wipes(_: &impl ZeroizeOnDrop) {}
        let clock = Clock::system();
        let granted = Granted {
            access_token: Zeroizing::new(b"planted-token-0123456789".to_vec()),
            life: Life::Once,
            is_life_assumed: false,
        };
        let token = Token::new(&granted, clock.now(), &clock, 0);
        wipes(&granted.access_token);
        wipes(&token.header);
        assert_eq!(token.expose(), granted.access_token.as_slice());
    }
}
