//! The state of connections as definitions and files show it, for `egressd connections`. Sends
//! nothing.

use jiff::Timestamp;
use serde::Serialize;

use crate::credential::oauth::response::sanitize;
use crate::credential::oauth::{ConnectionStatus, StatusName};
use crate::domain::Connection;
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
        let consent = connection.auth.consent();
        let consent = consent.map(|consent| consent.parameters());
        let file = consent.map(|consent| store.read(&consent.grant));
        let stored = file.as_ref().and_then(StoredFile::document).cloned();
        let status = ConnectionStatus::at_start(connection, file, now);
        let mut listed = Self {
            id: connection.id.as_str().to_owned(),
            connector: connection.connector.as_ref().map(ToString::to_string),
            kind: connection.auth.kind(),
            grant: consent.map(|consent| consent.grant.to_string()),
            status: status.name.as_str(),
            status_reason: status.reason,
            ..Self::default()
        };
        if let Some(stored) = stored {
            listed.add_stored(&stored);
        }
        listed
    }

    /// Returns whether a person has to log in before requests are forwarded.
    pub(crate) fn needs_consent(&self) -> bool {
        self.status == StatusName::NeedsConsent.as_str()
    }

    fn add_stored(&mut self, stored: &StoredGrant) {
        let cleaned = |text: &str| sanitize(text).into();
        self.account = stored.account().map(cleaned);
        self.scopes = stored.scopes().map(cleaned);
        self.connected_at = stored.connected_at();
        self.refreshed_at = stored.refreshed_at();
        self.expires_at = stored.expires_at();
        self.refresh_token_expires_at = stored.refresh_token_expires_at();
    }
}
