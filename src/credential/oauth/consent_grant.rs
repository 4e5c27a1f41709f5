//! The part of a grant that depends on the kind of its source.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::consent::{ConnectionStatus, ConsentSource};
use crate::credential::oauth::endpoint::TokenRequestError;
use crate::credential::oauth::grant::{Grant, GrantSource};
use crate::credential::oauth::policy;
use crate::credential::oauth::state::TokenState;
use crate::credential::oauth::token::Token;
use crate::credential::unavailable::{Reason, Unavailable};
use crate::telemetry::metrics::TokenCounters;

impl Grant {
    /// Returns the source, if a person has to consent to the grant.
    pub(in crate::credential::oauth) fn consent(&self) -> Option<&Arc<ConsentSource>> {
        match &self.source {
            GrantSource::Client(_) => None,
            GrantSource::Consent(consent) => Some(consent),
        }
    }

    /// Returns whether a person has to consent to the grant.
    pub fn needs_person(&self) -> bool {
        self.consent().is_some()
    }

    /// Returns the status of the connections that use this grant.
    pub fn connection_status(&self) -> ConnectionStatus {
        let failure = {
            let state = self.lock_state();
            let failure = state.failure.as_ref().map(|failure| failure.error.reason);
            failure.filter(|_| self.valid_token().is_none())
        };
        let unavailable = failure.map(ConnectionStatus::unavailable);
        match self.consent() {
            None => unavailable.unwrap_or(ConnectionStatus::CONNECTED),
            Some(consent) => consent.status(unavailable),
        }
    }

    /// Returns the counters of token requests.
    pub(in crate::credential::oauth) fn counters(&self) -> &Arc<TokenCounters> {
        match &self.source {
            GrantSource::Client(requester) => &requester.counters,
            GrantSource::Consent(consent) => &consent.counters,
        }
    }

    /// Reads the token store if that has not happened yet, and fails if a person has to act before
    /// requests are forwarded. Sends nothing.
    ///
    /// # Errors
    ///
    /// Fails with [`Reason::NeedsConsent`].
    pub async fn require_consent(self: &Arc<Self>) -> Result<(), Unavailable> {
        let Some(consent) = self.consent() else {
            return Ok(());
        };
        consent.load().await;
        self.synchronize();
        match consent.consent_reason() {
            None => Ok(()),
            Some(reason) => Err(TokenRequestError::from(Reason::NeedsConsent(reason)).into()),
        }
    }

    /// Reads the file of the grant if that has not happened yet, or if it may have changed. Blocks.
    /// Sends nothing. The token becomes the current one with the next request or look at the file:
    /// to search responses for it takes time, which would delay the start.
    pub fn read_stored(&self) {
        if let Some(consent) = self.consent() {
            consent.look(false);
        }
    }

    /// Makes the token of the source the current one. Called after the source may have read a newer
    /// file.
    pub(in crate::credential::oauth) fn synchronize(self: &Arc<Self>) {
        let Some(consent) = self.consent() else {
            return;
        };
        let token = consent.current_token();
        if self.is_current(token.as_ref()) {
            return;
        }
        let mut state = self.lock_state();
        if token.is_some() {
            // A failure of the previous version does not delay the new one.
            state.failure = None;
        }
        self.install_current(&mut state);
    }

    /// Starts a refresh although the access token may still be usable, unless one is under way or
    /// was tried too recently.
    pub(in crate::credential::oauth) fn keep_alive(self: &Arc<Self>) {
        let current = self.valid_token();
        let _under_way = self.find_or_fetch(current.as_ref());
    }

    /// Makes the token of the source the current one, if the grant has such a source.
    pub(in crate::credential::oauth) fn install_current(self: &Arc<Self>, state: &mut TokenState) {
        let Some(consent) = self.consent() else {
            return;
        };
        let token = consent.current_token();
        if self.is_current(token.as_ref()) {
            return;
        }
        match token {
            Some(token) => {
                self.register(&token);
                self.keep_token(state, &token);
            }
            None => self.clear_token(),
        }
    }

    /// Stops the use of a token that the upstream has refused.
    pub(in crate::credential::oauth) fn suspend_token(&self, refused: &Arc<Token>) {
        if let Some(consent) = self.consent() {
            consent.suspend(refused);
            let current = consent.current_token();
            if current.is_some_and(|token| Arc::ptr_eq(&token, refused)) {
                // It cannot be replaced, so it stays in use.
                return;
            }
        }
        if self.consent().is_none() || self.is_current(Some(refused)) {
            self.clear_token();
        }
    }

    /// Returns whether another token can be obtained after a 401.
    pub(in crate::credential::oauth) fn can_retry(&self) -> bool {
        self.consent().is_none_or(|consent| consent.can_refresh())
    }

    /// Returns the shortest time between two token retries.
    pub(in crate::credential::oauth) fn retry_interval(&self) -> Duration {
        match &self.source {
            GrantSource::Client(_) => policy::TOKEN_RETRY_INTERVAL,
            GrantSource::Consent(_) => policy::CONSENT_RETRY_INTERVAL,
        }
    }

    /// Counts a 401 after which no other token is obtained.
    pub(in crate::credential::oauth) fn count_refusal(&self, refused: &Arc<Token>) {
        let Some(consent) = self.consent() else {
            return;
        };
        consent.refusals.fetch_add(1, Relaxed);
        // The provider has refused the grant for good, so this token is the last one.
        if consent.is_refused() {
            self.suspend_token(refused);
        }
    }

    /// Ends the series of 401 responses.
    pub fn record_accepted_token(&self) {
        if let GrantSource::Consent(consent) = &self.source
            && consent.refusals.load(Relaxed) > 0
        {
            consent.refusals.store(0, Relaxed);
        }
    }
}

impl From<TokenRequestError> for Unavailable {
    fn from(error: TokenRequestError) -> Self {
        Self {
            reason: error.reason,
            retry_after: error.retry_after.unwrap_or_default(),
        }
    }
}
