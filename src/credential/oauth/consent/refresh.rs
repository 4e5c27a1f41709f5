//! A refresh: reserve, spend, save, use.
//!
//! A refresh token that is accepted once is sent only while the lock of its grant is held and the
//! space for the next document is reserved. Requests get the new access token only after it was
//! saved, or if saving has failed.

use std::sync::Arc;

use super::answer::{AnswerClass, TokenAnswer};
use super::endpoint::{RefreshFailure, RefreshRequest, ReusableTokens, SpendPermit};
use super::memory::{Moment, NextStep};
use super::request::client_auth;
use super::source::ConsentSource;
use crate::credential::oauth::endpoint::{FailureClass, TokenRequestError};
use crate::credential::oauth::policy;
use crate::credential::oauth::requester::FetchedToken;
use crate::credential::oauth::token::Token;
use crate::credential::unavailable::Reason;
use crate::token_store::{
    HeldGrant, Recovery, RefusalReason, Reservation, StoreError, StoredFile, StoredGrant,
};

/// The reason why one attempt has returned no token.
enum Stop {
    /// The provider does not accept the refresh token, for the first time.
    ConsentEnded,
    Failed(TokenRequestError),
}

impl<T: Into<TokenRequestError>> From<T> for Stop {
    fn from(error: T) -> Self {
        Self::Failed(error.into())
    }
}

/// The parts of a refresh whose answer has arrived.
struct Spent {
    document: Box<StoredGrant>,
    reservation: Option<Reservation>,
    requested: Moment,
}

impl ConsentSource {
    /// Obtains an access token other than `replaced`: one from the file, or a new one.
    pub(in crate::credential::oauth) async fn obtain(
        &self,
        replaced: Option<&Arc<Token>>,
    ) -> Result<FetchedToken, TokenRequestError> {
        self.wait_after_last_refresh().await;
        let first = self.attempt(replaced, false).await;
        let last = match first {
            // Losing a race to another process looks like a refusal, so the file is read again.
            Err(Stop::ConsentEnded) => {
                tokio::time::sleep(policy::CONFIRMATION).await;
                self.attempt(replaced, true).await
            }
            other => other,
        };
        let failed = match last {
            Ok(fetched) => return Ok(fetched),
            Err(Stop::Failed(failed)) => failed,
            // A confirmation ends the grant instead of returning this.
            Err(Stop::ConsentEnded) => Reason::Internal.into(),
        };
        // An agent can provoke a 401, so a 401 and a token endpoint that fails for now must not
        // take the token away from all agents. Only a final refusal ends it.
        let is_refused = matches!(failed.reason, Reason::NeedsConsent(_));
        self.memory().end_suspension(!is_refused);
        Err(failed)
    }

    async fn wait_after_last_refresh(&self) {
        let now = self.now();
        let wait = {
            let memory = self.memory();
            let own = memory
                .refreshed_at
                .map(|at| policy::REFRESH_INTERVAL.saturating_sub(now.boot.saturating_since(at)));
            let stored = memory.document.as_ref().and_then(StoredGrant::refreshed_at);
            own.unwrap_or_else(|| policy::until_refresh_allowed(stored, now.wall))
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes one attempt. With `is_confirmation`, a refusal of the refresh token is final.
    async fn attempt(
        &self,
        replaced: Option<&Arc<Token>>,
        is_confirmation: bool,
    ) -> Result<FetchedToken, Stop> {
        let (lock, file) = self.open().await?;
        self.take_in(file);
        let step = self.memory().next_step(replaced);
        let document = match step {
            NextStep::Use(token) => {
                self.release(lock).await;
                return Ok(fetched(token, false));
            }
            NextStep::NeedConsent(reason) => {
                self.release(lock).await;
                return Err(Reason::NeedsConsent(reason).into());
            }
            NextStep::Spend(document) => document,
        };
        let reusable = ReusableTokens::from_parameters(self.parameters());
        let reservation = match self.reserve(lock).await {
            Ok(reservation) => Some(reservation),
            Err(_) if reusable.is_some() => None,
            Err(reason) => return Err(reason.into()),
        };
        let permit = match (&reservation, reusable) {
            (Some(reservation), _) => SpendPermit::Reserved(reservation),
            (None, Some(reusable)) => SpendPermit::Reusable(reusable),
            (None, None) => return Err(Reason::StoreUnwritable.into()),
        };
        let Some(token) = document.refresh_token() else {
            return Err(Reason::Internal.into());
        };
        let requested = self.now();
        let request = RefreshRequest {
            token,
            auth: client_auth(self.parameters(), document.client_auth()),
            permit,
        };
        let Some(_spending) = self.spend_gate.enter() else {
            // The process is stopping, so no request waits for the token.
            self.release(reservation).await;
            return std::future::pending().await;
        };
        let answered = self.endpoint.refresh(request).await;
        self.counters.record(answered.is_ok());
        let spent = Spent {
            document,
            reservation,
            requested,
        };
        match answered {
            Ok(answer) => self.save_and_use(spent, answer).await,
            Err(failure) => Err(self.handle_failure(spent, failure, is_confirmation).await),
        }
    }

    /// Takes the lock and reads the file. If the lock is not available, the file is read without
    /// it: the file may have a usable token, or the grant may not need a lock.
    async fn open(&self) -> Result<(Result<HeldGrant, Reason>, StoredFile), Reason> {
        let (store, grant) = (self.store.clone(), self.parameters().grant.clone());
        match self.usual_lock().await {
            Ok(held) => {
                if held.recovery() == Recovery::RotationMayBeLost {
                    self.memory().may_be_lost = true;
                }
                let read = self.run_blocking(move || {
                    let file = held.read();
                    (Ok(held), file)
                });
                read.await.ok_or(Reason::Internal)
            }
            Err(reason) => {
                let read = self.run_blocking(move || store.read(&grant));
                read.await
                    .map(|file| (Err(reason), file))
                    .ok_or(Reason::Internal)
            }
        }
    }

    async fn reserve(&self, lock: Result<HeldGrant, Reason>) -> Result<Reservation, Reason> {
        let held = lock?;
        match self.run_blocking(move || held.reserve()).await {
            Some(Ok(reservation)) => Ok(reservation),
            Some(Err(error)) => Err(self.unwritable(&error)),
            None => Err(Reason::Internal),
        }
    }

    /// Releases a lock or a reservation, which accesses files.
    async fn release<T: Send + 'static>(&self, held: T) {
        self.run_blocking(move || drop(held)).await;
    }

    /// Saves the answer, then hands out its token. If it cannot be saved, it is used from memory
    /// and saved later.
    async fn save_and_use(&self, spent: Spent, answer: TokenAnswer) -> Result<FetchedToken, Stop> {
        let Spent {
            document: old,
            reservation,
            requested,
        } = spent;
        let is_life_assumed = answer.is_life_assumed;
        let is_replaced =
            answer.refresh_token.is_some() && answer.refresh_token.as_ref() != old.refresh_token();
        let document = old.refreshed(answer.into_refreshed(), requested.wall);
        self.memory().is_saving = true;
        let saved = match reservation {
            Some(reservation) => self.save(reservation, document.clone()).await,
            None => Err(None),
        };
        let accepted = {
            let mut memory = self.memory();
            let accepted = memory.accept_refresh(document, &requested);
            memory.is_unsaved = accepted.is_some() && saved.is_err() && self.saves_later();
            accepted.or_else(|| memory.usable_token().cloned())
        };
        self.reporter.report_rotated();
        match saved {
            Ok(()) => {}
            Err(_) if self.saves_later() => self.save_later(),
            Err(_) if is_replaced => self.reporter.report_unexpected_rotation(),
            Err(_) => {}
        }
        let token = accepted.ok_or(Reason::Internal)?;
        Ok(fetched(token, is_life_assumed))
    }

    /// Saves a document, and reports a failure.
    pub(super) async fn save(
        &self,
        reservation: Reservation,
        document: StoredGrant,
    ) -> Result<(), Option<StoreError>> {
        let saved = self.run_blocking(move || reservation.save(&document)).await;
        self.counters
            .record_store_write(matches!(saved, Some(Ok(()))));
        match saved {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.reporter.report_store_failed(&error.to_string());
                Err(Some(error))
            }
            None => Err(None),
        }
    }

    async fn handle_failure(
        &self,
        spent: Spent,
        failure: RefreshFailure,
        is_confirmation: bool,
    ) -> Stop {
        let Spent {
            document,
            reservation,
            requested,
        } = spent;
        let RefreshFailure {
            answer,
            retry_after,
        } = failure;
        if answer.class == AnswerClass::ConsentEnded && is_confirmation {
            return self.end_grant(*document, reservation, &requested).await;
        }
        let class = match answer.class {
            AnswerClass::Refused => FailureClass::Hard,
            AnswerClass::Ambiguous => {
                if ReusableTokens::from_parameters(self.parameters()).is_none() {
                    self.memory().may_be_lost = true;
                    self.reporter.report_ambiguous(answer.reason);
                }
                FailureClass::Ambiguous
            }
            AnswerClass::ConsentEnded | AnswerClass::Limited | AnswerClass::Success => {
                FailureClass::Transient
            }
        };
        self.release_unsaved(reservation).await;
        if answer.class == AnswerClass::ConsentEnded {
            return Stop::ConsentEnded;
        }
        Stop::Failed(TokenRequestError {
            reason: answer.reason,
            error_text: answer.error_text,
            retry_after,
            class,
        })
    }

    /// Releases a reservation without a document. The pending file is removed, unless the successor
    /// of the refresh token may be lost: then the file stays as a mark for the process that gets
    /// the final refusal, which may be a later one.
    async fn release_unsaved(&self, reservation: Option<Reservation>) {
        let may_be_lost = self.memory().may_be_lost;
        self.run_blocking(move || match reservation {
            Some(reservation) if may_be_lost => reservation.leave(),
            reservation => drop(reservation),
        })
        .await;
    }

    /// Records that the provider has refused the grant for good.
    async fn end_grant(
        &self,
        document: StoredGrant,
        reservation: Option<Reservation>,
        requested: &Moment,
    ) -> Stop {
        let reason = if document.is_refresh_token_expired(requested.wall) {
            RefusalReason::RefreshTokenExpired
        } else if self.memory().may_be_lost {
            RefusalReason::RotationLost
        } else {
            RefusalReason::RefreshTokenRefused
        };
        let refused = document.refused(reason, requested.wall);
        self.memory().is_saving = true;
        let saved = match reservation {
            Some(reservation) => self.save(reservation, refused.clone()).await,
            None => Err(None),
        };
        {
            let mut memory = self.memory();
            memory.is_saving = false;
            let known = memory.document.as_ref();
            if known.is_some_and(|known| known.connected_at() > refused.connected_at()) {
                return Reason::Internal.into();
            }
            memory.document = Some(refused);
            memory.is_unsaved = saved.is_err() && self.saves_later();
        }
        if saved.is_err() && self.saves_later() {
            self.save_later();
        }
        self.reporter.report_consent_needed(reason.into());
        Reason::NeedsConsent(reason.into()).into()
    }

    /// Returns whether a document that could not be saved is saved later. A grant with reusable
    /// tokens needs no store.
    fn saves_later(&self) -> bool {
        ReusableTokens::from_parameters(self.parameters()).is_none()
    }
}

fn fetched(token: Arc<Token>, is_life_assumed: bool) -> FetchedToken {
    FetchedToken {
        token,
        is_life_assumed,
    }
}
