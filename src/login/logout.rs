//! Ends a grant: revokes its tokens at the provider (RFC 7009), and stores the mark of the logout.

use jiff::Timestamp;

use super::failure::LoginFailure;
use super::provider_endpoint::ProviderEndpoint;
use super::session::Session;
use crate::credential::Reason;
use crate::credential::oauth::consent::request::client_auth;
use crate::domain::TokenUrl;
use crate::token_store::{
    HeldGrant, Reservation, StoredFile, StoredGrant, TokenText, UnusableFile,
};

/// The extent of a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogoutScope {
    /// The tokens are revoked at the provider, and the file is marked.
    Provider,
    /// Only the file is marked.
    Local,
}

impl Session<'_> {
    /// Ends the grant. `sharing` are the ids of all connections that use it.
    ///
    /// # Errors
    ///
    /// Fails if the revocation fails or the store cannot be written; then nothing has changed.
    pub(crate) async fn log_out(
        mut self,
        scope: LogoutScope,
        sharing: &[&str],
    ) -> Result<(), LoginFailure> {
        let ended = self.end_grant(scope, sharing).await;
        if let Err(failure) = &ended {
            self.note_failure("logout", failure);
        }
        ended
    }

    async fn end_grant(
        &mut self,
        scope: LogoutScope,
        sharing: &[&str],
    ) -> Result<(), LoginFailure> {
        let consent = self.consent();
        let seed = self.configured_seed();
        let held = self.lock().await?;
        let stored = match held.read() {
            StoredFile::Usable { document, .. } => Some(*document),
            StoredFile::Absent => None,
            StoredFile::Unusable(UnusableFile::Content(why)) if scope == LogoutScope::Provider => {
                return Err(self.unusable_document(&why.to_string()));
            }
            StoredFile::Unusable(UnusableFile::Content(_)) => {
                return self.mark_unusable_document(held, sharing);
            }
            StoredFile::Unusable(why) => {
                let file = self.store.file_path(&consent.grant);
                return Err(LoginFailure::unavailable(format!(
                    "`{}` {why}; correct the file or its owner",
                    file.display()
                )));
            }
            StoredFile::DirectoryUnavailable(error) => return Err(error.into()),
        };
        let has_seed = |seed: &String| stored.as_ref().is_some_and(|known| known.has_seed(seed));
        let can_start = seed.as_ref().is_some_and(|seed| !has_seed(seed));
        let has_grant = stored
            .as_ref()
            .is_some_and(|known| known.revoked_at().is_none());
        if !has_grant && !can_start {
            writeln!(self.out, "there is no grant `{}` to end", consent.grant)?;
            return Ok(());
        }
        // Reserved before the revocation: if the store cannot be written, the file would keep
        // tokens that the provider no longer accepts.
        let reservation = held.reserve()?;
        match (&consent.endpoints.revocation_url, scope) {
            (Some(url), LogoutScope::Provider) => {
                self.revoke(url, stored.as_ref()).await?;
                self.note("the provider has revoked the grant");
            }
            (None, LogoutScope::Provider) => match &consent.provider.revoke_page {
                Some(page) => self.note(&format!(
                    "the provider has no revocation endpoint; a person can revoke the grant at {page}"
                )),
                None => self.note(
                    "the definition has no `revocation_url`; revoke the grant on the provider's page of connected apps",
                ),
            },
            (_, LogoutScope::Local) => self.note("the grant stays valid at the provider"),
        }
        self.save_revoked(reservation, stored.as_ref(), sharing)
    }

    /// Describes a file whose tokens cannot be read, and so cannot be revoked. As after a
    /// revocation that fails, nothing changes: a person may still repair the file.
    fn unusable_document(&self, why: &str) -> LoginFailure {
        let consent = self.consent();
        let page = match &consent.provider.revoke_page {
            Some(page) => format!("at {page}"),
            None => "on the provider's page of connected apps".to_owned(),
        };
        LoginFailure::refused(format!(
            "the token file `{}` is not usable ({why}), so its tokens could not be revoked, and the grant may still be valid at the provider; revoke it {page}, then use --local to end the grant here",
            self.store.file_path(&consent.grant).display()
        ))
    }

    /// Replaces a file whose tokens cannot be read by the mark of the logout.
    fn mark_unusable_document(
        &mut self,
        held: HeldGrant,
        sharing: &[&str],
    ) -> Result<(), LoginFailure> {
        let reservation = held.reserve()?;
        self.note("the token file was not usable; the grant may still be valid at the provider");
        self.save_revoked(reservation, None, sharing)
    }

    /// Saves the mark of the logout.
    fn save_revoked(
        &mut self,
        reservation: Reservation,
        stored: Option<&StoredGrant>,
        sharing: &[&str],
    ) -> Result<(), LoginFailure> {
        let consent = self.consent();
        let (client, seed) = (consent.client(), self.configured_seed());
        let document = StoredGrant::revoked(stored, client, seed, Timestamp::now());
        reservation.save(&document)?;
        writeln!(
            self.out,
            "ended the grant `{}`, which these connections use: {}",
            consent.grant,
            sharing.join(", ")
        )?;
        Ok(())
    }

    /// Revokes the refresh token, then the access token.
    async fn revoke(
        &mut self,
        url: &TokenUrl,
        stored: Option<&StoredGrant>,
    ) -> Result<(), LoginFailure> {
        let consent = self.consent();
        let is_foreign = |stored: &&StoredGrant| {
            let client = stored.client();
            client.is_some_and(|client| client != consent.client())
        };
        if stored.filter(is_foreign).is_some() {
            return Err(LoginFailure::refused(
                "the stored grant belongs to another client or token host, so nothing was sent; restore the definition, or use --local",
            ));
        }
        let seed = consent.refresh_token.as_ref().filter(|_| {
            let hash = self.configured_seed();
            stored
                .zip(hash)
                .is_none_or(|(stored, hash)| !stored.has_seed(&hash))
        });
        let refresh_token = match stored.and_then(StoredGrant::refresh_token) {
            Some(token) => Some(token.expose()),
            None => seed.map(|seed| seed.expose()),
        };
        let access_token = stored.and_then(StoredGrant::access_token);
        let access_token = access_token.map(TokenText::expose);
        if let Some(token) = refresh_token {
            self.revoke_token(url, stored, token, "refresh_token")
                .await?;
        }
        if let Some(token) = access_token {
            let revoked = self.revoke_token(url, stored, token, "access_token").await;
            match revoked {
                // Most providers end the access token with the refresh token, and some do not
                // revoke it alone.
                Err(failure) if refresh_token.is_some() => self.note(&format!(
                    "warning: the access token could not be revoked as well: {}",
                    failure.message
                )),
                revoked => revoked?,
            }
        }
        Ok(())
    }

    async fn revoke_token(
        &self,
        url: &TokenUrl,
        stored: Option<&StoredGrant>,
        token: &[u8],
        hint: &str,
    ) -> Result<(), LoginFailure> {
        let auth = client_auth(self.consent(), stored.and_then(StoredGrant::client_auth));
        let fields = [("token", token), ("token_type_hint", hint.as_bytes())];
        let remedy = "nothing was changed; try again, or use --local to end the grant here only";
        let failed = |reason: Reason| {
            let what = "the grant could not be revoked";
            LoginFailure::refused(format!("{what}: {reason}; {remedy}"))
        };
        let endpoint = ProviderEndpoint {
            field: "revocation_url",
            url,
        };
        match self.post(url, auth, &fields, &[]).await {
            Ok(response) if response.status.is_success() => Ok(()),
            Ok(response) => Err(failed(Reason::Status(response.status.as_u16()))),
            Err(failure) => Err(failure.into_failure(endpoint, remedy))
                .map_err(|failure: LoginFailure| LoginFailure::refused(failure.message)),
        }
    }
}
