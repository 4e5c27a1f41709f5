//! The state of connections as definitions and files show it, for `egressd connections`. Sends
//! nothing.

use jiff::Timestamp;
use serde::Serialize;

use crate::credential::ConsentReason;
use crate::credential::oauth::consent::StatusName;
use crate::credential::oauth::consent::scopes::missing_scopes;
use crate::credential::oauth::response::sanitize;
use crate::domain::auth::{ConsentParameters, seed_hash};
use crate::domain::{Auth, Connection};
use crate::token_store::{StoredFile, StoredGrant, TokenStore};

/// One connection. Has no token.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ListedConnection {
    /// The id.
    pub(crate) id: String,
    /// The connector that the definition names.
    pub(crate) connector: Option<String>,
    /// The name of the grant.
    pub(crate) grant: Option<String>,
    /// The kind of credential.
    pub(crate) kind: &'static str,
    /// The name of the status.
    pub(crate) status: &'static str,
    /// The reason of the status.
    pub(crate) status_reason: Option<&'static str>,
    /// The account.
    pub(crate) account: Option<String>,
    /// The granted scopes.
    pub(crate) scopes: Option<String>,
    /// The time of the consent.
    pub(crate) connected_at: Option<Timestamp>,
    /// The time of the last refresh.
    pub(crate) refreshed_at: Option<Timestamp>,
    /// The end of the access token.
    pub(crate) expires_at: Option<Timestamp>,
    /// The end of the refresh token.
    pub(crate) refresh_token_expires_at: Option<Timestamp>,
}

impl ListedConnection {
    /// Describes a connection at this time.
    pub(crate) fn new(connection: &Connection, store: &TokenStore, now: Timestamp) -> Self {
        let is_enabled = connection.enabled && connection.delete_time.is_none();
        let mut listed = Self {
            id: connection.id.as_str().to_owned(),
            connector: connection.connector.as_ref().map(ToString::to_string),
            kind: connection.auth.kind(),
            status: StatusName::Connected.as_str(),
            ..Self::default()
        };
        if let Auth::OauthUserConsent(consent) = &connection.auth {
            listed.add_grant(consent.parameters(), store, now);
        }
        if !is_enabled {
            listed.status = StatusName::Disabled.as_str();
            listed.status_reason = None;
        }
        listed
    }

    /// Returns whether a person has to log in before requests are forwarded.
    pub(crate) fn needs_consent(&self) -> bool {
        self.status == StatusName::NeedsConsent.as_str()
    }

    fn add_grant(&mut self, consent: &ConsentParameters, store: &TokenStore, now: Timestamp) {
        self.grant = Some(consent.grant.as_str().to_owned());
        let file = store.read(&consent.grant);
        let (status, reason) = grant_status(consent, &file, now);
        self.status = status.as_str();
        self.status_reason = reason;
        let Some(stored) = file.into_document() else {
            return;
        };
        let cleaned = |text: &str| sanitize(text).into();
        self.account = stored.account().map(cleaned);
        self.scopes = stored.scopes().map(cleaned);
        self.connected_at = stored.connected_at();
        self.refreshed_at = stored.refreshed_at();
        self.expires_at = stored.expires_at();
        self.refresh_token_expires_at = stored.refresh_token_expires_at();
    }
}

/// Returns the status of a grant, and its reason.
fn grant_status(
    consent: &ConsentParameters,
    file: &StoredFile,
    now: Timestamp,
) -> (StatusName, Option<&'static str>) {
    let needs = |reason: ConsentReason| (StatusName::NeedsConsent, Some(reason.as_str()));
    let stored = match file {
        StoredFile::Usable { document, .. } => Some(&**document),
        StoredFile::Absent | StoredFile::DirectoryUnavailable(_) => None,
        StoredFile::Unusable(_) => return needs(ConsentReason::TokenFileUnusable),
    };
    let seed = consent.refresh_token.as_ref();
    let seed = seed.map(|token| seed_hash(token.expose()));
    let starts_anew = seed.is_some_and(|hash| stored.is_none_or(|stored| !stored.has_seed(&hash)));
    let Some(stored) = stored.filter(|_| !starts_anew) else {
        return match starts_anew {
            true => (StatusName::Connected, None),
            false => needs(ConsentReason::NeverConnected),
        };
    };
    stored_status(consent, stored, now)
}

fn stored_status(
    consent: &ConsentParameters,
    stored: &StoredGrant,
    now: Timestamp,
) -> (StatusName, Option<&'static str>) {
    let needs = |reason: ConsentReason| (StatusName::NeedsConsent, Some(reason.as_str()));
    if stored.revoked_at().is_some() {
        let reason = ConsentReason::LoggedOut.as_str();
        return (StatusName::Revoked, Some(reason));
    }
    let client = consent.client();
    if stored.client().is_some_and(|stored| stored != client) {
        return needs(ConsentReason::ClientChanged);
    }
    let is_usable = stored.is_access_token_usable(now);
    match stored.refusal() {
        Some(refusal) if is_usable => {
            return (StatusName::Connected, Some(refusal.reason.as_str()));
        }
        Some(refusal) => return needs(refusal.reason.into()),
        None => {}
    }
    if stored.refresh_token().is_none() && !is_usable {
        return needs(ConsentReason::AccessTokenExpired);
    }
    let is_reduced = match (&consent.scopes, stored.scopes()) {
        (Some(requested), Some(granted)) => !missing_scopes(requested, granted).is_empty(),
        (None, _) | (_, None) => false,
    };
    (StatusName::Connected, is_reduced.then_some("scope_reduced"))
}
