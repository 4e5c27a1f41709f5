//! Requests tokens from the endpoint of one credential, and counts the requests.

use std::sync::Arc;

use super::endpoint::{TokenRequestError, TokenSource};
use super::policy;
use super::token::Token;
use crate::clock::Clock;
use crate::credential::unavailable::{ErrorCode, Reason};
use crate::domain::auth::ClientAuth;
use crate::telemetry::metrics::TokenCounters;

pub(super) const REFUSED_CLIENT: Reason = Reason::Refused(ErrorCode::InvalidClient);

/// The endpoint of one credential, and the number of its responses.
pub(super) struct TokenRequester {
    source: Box<dyn TokenSource>,
    clock: Clock,
    pub(super) counters: Arc<TokenCounters>,
}

/// A token as it arrived.
pub(super) struct FetchedToken {
    pub(super) token: Arc<Token>,
    /// The client authentication that the endpoint accepted.
    pub(super) style: ClientAuth,
    pub(super) is_life_assumed: bool,
}

impl TokenRequester {
    pub(super) fn new(source: Box<dyn TokenSource>, clock: Clock) -> Self {
        Self {
            source,
            clock,
            counters: Arc::default(),
        }
    }

    /// Requests a token. If the endpoint refuses the client's credentials in the header, requests
    /// it once more with the credentials in the body.
    pub(super) async fn fetch_token(
        &self,
        style: ClientAuth,
    ) -> Result<FetchedToken, TokenRequestError> {
        let first = self.request_token_once(style).await;
        let refused = matches!(&first, Err(failed) if failed.reason == REFUSED_CLIENT);
        match style {
            ClientAuth::Basic if refused => self.request_token_once(ClientAuth::Body).await,
            ClientAuth::Basic | ClientAuth::Body => first,
        }
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
                style,
                is_life_assumed: granted.is_life_assumed,
            }
        })
    }
}
