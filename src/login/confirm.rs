//! The questions before a grant is replaced or stored.

use jiff::Timestamp;

use super::browser::BrowserLogin;
use super::compare;
use super::endpoint::Obtained;
use super::failure::LoginFailure;
use super::session::{Session, UNKNOWN_ACCOUNT};
use crate::credential::oauth::response::sanitize;
use crate::token_store::{HeldGrant, StoredGrant};

impl Session<'_> {
    /// Asks before a usable grant is replaced.
    pub(super) async fn confirm_replacement(
        &mut self,
        previous: Option<&StoredGrant>,
    ) -> Result<(), LoginFailure> {
        let is_usable = |stored: &StoredGrant| {
            let can_refresh = stored.refresh_token().is_some() && stored.refusal().is_none();
            let is_ours = stored
                .client()
                .is_none_or(|client| client == self.consent().client());
            is_ours && (can_refresh || stored.is_access_token_usable(Timestamp::now()))
        };
        let Some(stored) = previous.filter(|stored| is_usable(stored)) else {
            return Ok(());
        };
        if self.options.replaces || self.options.says_yes {
            return Ok(());
        }
        let account = stored.account().unwrap_or(UNKNOWN_ACCOUNT);
        self.note(&format!(
            "there is already a usable grant for {}",
            sanitize(account)
        ));
        match self.ask("Replace it?").await? {
            true => Ok(()),
            false => Err(LoginFailure::refused(
                "not confirmed; the stored grant is unchanged",
            )),
        }
    }

    /// Reads the stored grant again before a question: another login may have stored one since
    /// `previous` was read.
    pub(super) async fn read_stored(
        &mut self,
        previous: Option<&StoredGrant>,
    ) -> Result<Option<StoredGrant>, LoginFailure> {
        let stored = self.lock().await?.read().into_document();
        if is_other_consent(previous, stored.as_ref()) {
            self.note("another login has stored a grant meanwhile");
        }
        Ok(stored)
    }

    /// Takes the lock to store a grant. Returns `None` if another login has stored one since
    /// `shown` was read, so that the person or `--yes` has to decide again.
    pub(super) async fn lock_unless_replaced(
        &self,
        shown: Option<&StoredGrant>,
    ) -> Result<Option<HeldGrant>, LoginFailure> {
        let held = self.lock().await?;
        let current = held.read().into_document();
        Ok((!is_other_consent(shown, current.as_ref())).then_some(held))
    }

    /// Notes before the question if another program may have answered instead of the person's
    /// browser. Cookies do not depend on the port (RFC 6265 section 8.5), so a page of such a
    /// program can learn the cookie of this login. Without an account, the person cannot see the
    /// difference.
    pub(super) fn note_other_programs(&mut self, login: &BrowserLogin, is_account_known: bool) {
        if login.was_full() {
            self.note(
                "note: other programs on this machine held all sockets of the listener, so the answer may not be that of your browser",
            );
        }
        if !is_account_known {
            self.note(
                "note: the account is not known, so a grant of another program on this machine cannot be recognized; store the grant only if your browser showed your own account and then the last page of this login",
            );
        }
    }

    /// Compares what was granted, shows the account, and asks.
    pub(super) async fn confirm(
        &mut self,
        obtained: &Obtained,
        account: Option<&str>,
        previous: Option<&StoredGrant>,
    ) -> Result<(), LoginFailure> {
        for warning in compare::warnings(self.connection, obtained) {
            self.note(&format!("warning: {warning}"));
        }
        let missing = compare::missing(self.consent(), &obtained.answer);
        if !missing.is_empty() {
            self.note(&format!("warning: not granted: {}", missing.join(" ")));
        }
        let granted = obtained.answer.scopes.as_deref();
        let granted = granted.or(self.consent().scopes.as_deref());
        let granted = sanitize(granted.unwrap_or("(not stated)"));
        self.note(&format!("granted:    {granted}"));
        self.confirm_account(account, previous, !missing.is_empty())
            .await
    }

    /// Shows the account beside the stored one, and asks. With `--yes`, rejects another account and
    /// missing scopes instead, unless an option accepts them.
    pub(super) async fn confirm_account(
        &mut self,
        account: Option<&str>,
        previous: Option<&StoredGrant>,
        has_fewer_scopes: bool,
    ) -> Result<(), LoginFailure> {
        self.note(&format!(
            "account:    {}",
            account.unwrap_or(UNKNOWN_ACCOUNT)
        ));
        let stored = previous.and_then(StoredGrant::account);
        let other = stored.filter(|stored| Some(*stored) != account);
        if let Some(stored) = other {
            let difference = match account {
                Some(_) => "another account",
                None => "may be another account",
            };
            self.note(&format!("stored:     {} ({difference})", sanitize(stored)));
        }
        if !self.options.says_yes {
            return match self.ask("Store this grant?").await? {
                true => Ok(()),
                false => Err(LoginFailure::refused("not confirmed; nothing was stored")),
            };
        }
        if other.is_some() && !self.options.replaces {
            return Err(LoginFailure::refused(match account {
                Some(_) => {
                    "the account differs from the stored one, so nothing was stored; add --replace to store it"
                }
                None => {
                    "the account is not known and may differ from the stored one, so nothing was stored; add --replace to store the grant"
                }
            }));
        }
        if has_fewer_scopes && !self.options.accepts_fewer_scopes {
            return Err(LoginFailure::refused(
                "scopes are missing, so nothing was stored; add --accept-fewer-scopes to store the grant",
            ));
        }
        Ok(())
    }
}

/// Returns whether `current` is a consent that the person has not seen. A refresh by `serve` keeps
/// the time of the consent and the account, and a logout leaves nothing to compare.
fn is_other_consent(shown: Option<&StoredGrant>, current: Option<&StoredGrant>) -> bool {
    let identity = |grant: &StoredGrant| (grant.connected_at(), grant.account().map(str::to_owned));
    let current = current.filter(|grant| grant.revoked_at().is_none());
    current.is_some_and(|grant| shown.map(identity) != Some(identity(grant)))
}
