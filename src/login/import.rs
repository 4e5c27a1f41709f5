//! The import flow: a token answer, or a refresh token, that a platform has obtained itself.

use std::cell::Cell;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::compare;
use super::endpoint::Obtained;
use super::failure::LoginFailure;
use super::json::text_at;
use super::provider_endpoint::ProviderEndpoint;
use super::session::Session;
use crate::credential::oauth::consent::answer::AnswerRules;
use crate::token_store::{StoredGrant, TokenText};

/// The content of an import.
pub(super) enum Imported {
    /// A token answer (RFC 6749 section 5.1).
    Answer(Obtained),
    /// A refresh token alone, which has to be spent once.
    RefreshToken(TokenText),
}

impl Session<'_> {
    /// Reads what is to be imported.
    pub(super) fn read_import(&mut self) -> Result<Imported, LoginFailure> {
        let body = self.options.import.take().unwrap_or_default();
        let rules = AnswerRules::from_parameters(self.consent());
        if let Ok(answer) = rules.read(http::StatusCode::OK, &body) {
            return Ok(Imported::Answer(Obtained {
                answer,
                body,
                client_auth: None,
            }));
        }
        let refresh_token = text_at(&body, "/refresh_token")
            .filter(|_| text_at(&body, "/access_token").is_none())
            .and_then(|text| TokenText::new(Zeroizing::new(text.as_bytes().to_vec())).ok());
        refresh_token.map(Imported::RefreshToken).ok_or_else(|| {
            LoginFailure::refused(
                "the import is neither a token answer (RFC 6749 section 5.1) nor `{\"refresh_token\": \"…\"}`; nothing was stored",
            )
        })
    }

    /// Asks, spends the refresh token once, stores the answer, and then looks the account up. A
    /// refresh token that is accepted once is sent only while its successor can be saved.
    /// `is_spending` becomes `true` before it is sent.
    pub(super) async fn import_refresh_token(
        &mut self,
        token: &TokenText,
        previous: Option<&StoredGrant>,
        is_spending: &Cell<bool>,
    ) -> Result<(), LoginFailure> {
        self.note(
            "the refresh token is sent once after the questions, and the account is looked up afterwards",
        );
        let consent = self.consent();
        let held = loop {
            let stored = self.read_stored(previous).await?;
            let confirmed = self.confirm_account(None, stored.as_ref(), false).await;
            confirmed.map_err(|failure| failure.with_note("the refresh token was not sent"))?;
            if let Some(held) = self.lock_unless_replaced(stored.as_ref()).await? {
                break held;
            }
        };
        let reservation = held.reserve()?;
        is_spending.set(true);
        let fields = [
            ("grant_type", &b"refresh_token"[..]),
            ("refresh_token", token.expose()),
        ];
        let url = &consent.endpoints.refresh_url;
        let sent = self.obtain_token(url, &fields, &consent.refresh_params);
        let obtained = sent.await.map_err(|failure| {
            let field = match *url == consent.endpoints.token_url {
                true => "token_url",
                false => "refresh_url",
            };
            let remedy = match failure.was_sent() {
                true => "nothing was stored; the refresh token may be spent, so obtain a new one",
                false => "nothing was stored; the refresh token was not sent",
            };
            failure.into_failure(ProviderEndpoint { field, url }, remedy)
        })?;
        let mut document = self.new_consent(&obtained, None);
        document.refresh_token.get_or_insert_with(|| token.clone());
        let previous = reservation.held().read().into_document();
        let document = StoredGrant::from_consent(document, previous.as_ref(), Timestamp::now());
        reservation.save(&document)?;
        let missing = compare::missing(consent, &obtained.answer);
        if !missing.is_empty() {
            self.note(&format!("warning: not granted: {}", missing.join(" ")));
        }
        let account = self.find_account(&obtained).await;
        if let Some(account) = &account {
            self.save_account(&document, account).await?;
        }
        self.report_stored(account.as_deref())
    }

    /// Adds the account to the document, unless another consent was saved in between.
    async fn save_account(&self, stored: &StoredGrant, account: &str) -> Result<(), LoginFailure> {
        let held = self.lock().await?;
        let current = held.read().into_document();
        let Some(current) = current.filter(|c| c.connected_at() == stored.connected_at()) else {
            return Ok(());
        };
        let document = current.with_account(account.to_owned());
        Ok(held.reserve()?.save(&document)?)
    }
}
