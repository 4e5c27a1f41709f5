//! Requests tokens from the endpoint of one credential, and counts the requests.

use std::sync::Arc;

use parking_lot::Mutex;

use super::endpoint::{TokenRequestError, TokenSource};
use super::policy;
use super::token::Token;
use crate::clock::Clock;
use crate::credential::unavailable::{ErrorCode, Reason};
use crate::domain::auth::ClientAuth;
use crate::telemetry::metrics::TokenCounters;

const REFUSED_CLIENT: Reason = Reason::Refused(ErrorCode::InvalidClient);

/// The endpoint of one credential, and the number of its responses.
pub(super) struct TokenRequester {
    source: Box<dyn TokenSource>,
    /// The configured style.
    pub(super) style: ClientAuth,
    /// The configured style, or the one that was found to work.
    working_style: Mutex<ClientAuth>,
    clock: Clock,
    pub(super) counters: Arc<TokenCounters>,
}

/// A token as it arrived.
pub(super) struct FetchedToken {
    pub(super) token: Arc<Token>,
    pub(super) is_life_assumed: bool,
}

impl TokenRequester {
    pub(super) fn new(source: Box<dyn TokenSource>, style: ClientAuth, clock: Clock) -> Self {
        Self {
            source,
            style,
            working_style: Mutex::new(style),
            clock,
            counters: Arc::default(),
        }
    }

    /// Requests a token. If the endpoint refuses the client's credentials in the header, requests
    /// it once more with the credentials in the body.
    pub(super) async fn fetch_token(&self) -> Result<FetchedToken, TokenRequestError> {
        let is_refused = |fetched: &Result<FetchedToken, TokenRequestError>| matches!(fetched, Err(failed) if failed.reason == REFUSED_CLIENT);
        let mut style = *self.working_style.lock();
        let mut fetched = self.request_token_once(style).await;
        if style == ClientAuth::Basic && is_refused(&fetched) {
            style = ClientAuth::Body;
            fetched = self.request_token_once(style).await;
        }
        if is_refused(&fetched) {
            // The style that worked before is refused now, so the next fetch starts with the
            // configured one.
            *self.working_style.lock() = self.style;
        } else if fetched.is_ok() {
            *self.working_style.lock() = style;
        }
        fetched
    }

    pub(super) async fn request_token_once(
        &self,
        style: ClientAuth,
    ) -> Result<FetchedToken, TokenRequestError> {
        let requested_at = self.clock.now();
        let answered = self.source.request_token(style).await;
        self.counters.record(answered.is_ok());
        answered.map(|granted| {
            let permille = policy::random_permille();
            FetchedToken {
                token: Arc::new(Token::new(&granted, requested_at, &self.clock, permille)),
                is_life_assumed: granted.is_life_assumed,
            }
        })
    }
}
