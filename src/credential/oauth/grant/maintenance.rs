//! The tasks that replace a token in time: its refresh, its end, and the repetition of a refresh
//! that may have spent its refresh token.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Grant;
use crate::credential::oauth::state::{TokenLookup, await_fetch};
use crate::credential::oauth::token::Token;

/// Maintains the current token: starts its refresh when it is due, if any request has used the
/// token by then, and drops the token when it expires.
///
/// These timers stop while the machine is suspended. No request depends on them: each request
/// checks the expiry of the token itself.
pub(super) async fn maintain_token(grant: Weak<Grant>, token: Weak<Token>) {
    let Some(due) = token.upgrade().and_then(|token| token.until_refresh()) else {
        return;
    };
    tokio::time::sleep(due).await;
    let claimed = token
        .upgrade()
        .is_some_and(|token| token.is_used() && token.claim_refresh());
    if claimed {
        refresh_token(grant.clone(), token.clone()).await;
    }
    while let Some(left) = token.upgrade().and_then(|token| token.remaining_life()) {
        tokio::time::sleep(left).await;
    }
    if let (Some(grant), Some(token)) = (grant.upgrade(), token.upgrade()) {
        grant.drop_token(Some(&token));
    }
}

/// Replaces a token, which stays in use meanwhile. Tries again after each failure, as long as the
/// token is cached.
pub(super) async fn refresh_token(grant: Weak<Grant>, token: Weak<Token>) {
    loop {
        let pause = {
            let (Some(grant), Some(old)) = (grant.upgrade(), token.upgrade()) else {
                return;
            };
            if !grant
                .valid_token()
                .is_some_and(|held| Arc::ptr_eq(&held, &old))
            {
                return;
            }
            match grant.find_or_fetch(Some(&old)) {
                TokenLookup::Cached(_) => return,
                TokenLookup::BackingOff(unavailable) => unavailable.retry_after,
                TokenLookup::Fetching(fetch) => match await_fetch(fetch).await {
                    Some(Err(unavailable)) if unavailable.needs_consent() => return,
                    Some(Err(unavailable)) => unavailable.retry_after,
                    Some(Ok(_)) => return,
                    None => Duration::from_secs(1),
                },
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Repeats a refresh whose outcome is not known, although no request may wait for it: many
/// providers accept a repetition only for a short time. Does nothing if the token that was to be
/// replaced is not the current one any more.
pub(super) async fn repeat_fetch(
    grant: Weak<Grant>,
    replaced: Option<Weak<Token>>,
    pause: Duration,
) {
    tokio::time::sleep(pause).await;
    if let Some(grant) = grant.upgrade() {
        let replaced = replaced.and_then(|token| token.upgrade());
        // A fetch that fails in this way again starts the next repetition.
        let _under_way = grant.find_or_fetch(replaced.as_ref());
    }
}
