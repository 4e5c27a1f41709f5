//! A fetch: one token call (two where the endpoint wants the client's credentials in the body), and the entry of what it brought in the state.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use tokio::sync::watch;

use super::endpoint::TokenRequestError;
use super::grant::{FetchOutcome, Grant, maintain_token};
use super::policy;
use super::response::Granted;
use super::token::Token;
use crate::clock::BootTime;
use crate::credential::unavailable::{ErrorCode, InvalidTokenResponse, Reason};
use crate::domain::auth::ClientAuth;

const REFUSED_CLIENT: Reason = Reason::Refused(ErrorCode::InvalidClient);

/// A token, and the time when it was requested.
struct FetchedToken {
    granted: Granted,
    requested_at: BootTime,
}

/// A fetch under way. However it ends, a panic among the ways, its place in the state is cleared before anybody who waits for it learns of the end.
pub(super) struct TokenFetch {
    grant: Arc<Grant>,
    outcome: watch::Sender<FetchOutcome>,
}

impl TokenFetch {
    pub(super) fn new(grant: Arc<Grant>) -> Self {
        Self {
            grant,
            outcome: watch::Sender::new(None),
        }
    }

    /// To wait for it.
    pub(super) fn subscribe(&self) -> watch::Receiver<FetchOutcome> {
        self.outcome.subscribe()
    }

    /// Asks, and enters the answer.
    pub(super) async fn run(self) {
        let fetched = self.grant.fetch_token().await;
        let outcome = self.grant.complete_fetch(fetched);
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for TokenFetch {
    fn drop(&mut self) {
        let mine = self.outcome.subscribe();
        let mut state = self.grant.lock_state();
        state.fetch.take_if(|fetch| fetch.same_channel(&mine));
    }
}

impl Grant {
    async fn fetch_token(&self) -> Result<(FetchedToken, ClientAuth), TokenRequestError> {
        let style = self.lock_state().style;
        let first = self.request_token_once(style).await;
        let refused = matches!(&first, Err(failed) if failed.reason == REFUSED_CLIENT);
        match style {
            ClientAuth::Basic if refused => {
                let fetched = self.request_token_once(ClientAuth::Body).await?;
                Ok((fetched, ClientAuth::Body))
            }
            ClientAuth::Basic | ClientAuth::Body => Ok((first?, style)),
        }
    }

    /// Requests a token once with the client's credentials in the other place than the one
    /// configured, and drops the token. Returns that place if it works. For `egressd probe`, after
    /// a refusal that may be about the client's credentials.
    pub async fn try_other_client_auth(&self) -> Option<ClientAuth> {
        let other = match self.style {
            ClientAuth::Basic => ClientAuth::Body,
            ClientAuth::Body => ClientAuth::Basic,
        };
        self.request_token_once(other)
            .await
            .is_ok()
            .then_some(other)
    }

    async fn request_token_once(
        &self,
        style: ClientAuth,
    ) -> Result<FetchedToken, TokenRequestError> {
        let requested_at = self.clock.now();
        let answered = self.source.request_token(style).await;
        let count = if answered.is_ok() {
            &self.granted_count
        } else {
            &self.failed_count
        };
        count.fetch_add(1, Relaxed);
        answered.map(|granted| FetchedToken {
            granted,
            requested_at,
        })
    }

    /// Enters what a fetch brought into the state and the cache, in one step.
    fn complete_fetch(
        self: &Arc<Self>,
        outcome: Result<(FetchedToken, ClientAuth), TokenRequestError>,
    ) -> Result<Arc<Token>, crate::credential::Unavailable> {
        let token = outcome.and_then(|(fetched, style)| {
            if fetched.granted.is_life_assumed {
                self.reporter.report_assumed_life();
            }
            let token = Token::new(
                &fetched.granted,
                fetched.requested_at,
                &self.clock,
                policy::random_permille(),
            );
            if token.is_usable() {
                Ok((Arc::new(token), style))
            } else {
                Err(Reason::Invalid(InvalidTokenResponse::Expired).into())
            }
        });
        if let Ok((token, _)) = &token
            && let Some(secret) = token.secret()
        {
            // Registered before any request can use the token.
            let grant = Arc::as_ptr(self).addr();
            self.guard.add_token(grant, secret, token.remaining_life());
        }
        let mut state = self.lock_state();
        state.fetch = None;
        match token {
            Err(failed) => {
                // What worked once works no longer: the next fetch begins anew.
                if failed.reason == REFUSED_CLIENT {
                    state.style = self.style;
                }
                let unavailable =
                    state.record_failure(failed, &self.clock, policy::random_permille());
                self.reporter
                    .report_failure(&unavailable, state.failure_count());
                Err(unavailable)
            }
            Ok((token, style)) => {
                state.style = style;
                self.reporter
                    .report_obtained(state.failure_count(), token.remaining_life());
                state.failure = None;
                state.obtained_at = Some(SystemTime::now());
                if token.remaining_life().is_some() {
                    self.token.store(Some(Arc::clone(&token)));
                    let (grant, kept) = (Arc::downgrade(self), Arc::downgrade(&token));
                    let maintenance = self.runtime.spawn(maintain_token(grant, kept));
                    // The task of the previous token may sleep for up to a day.
                    if let Some(old) = state.maintenance.replace(maintenance.abort_handle()) {
                        old.abort();
                    }
                }
                Ok(token)
            }
        }
    }
}
