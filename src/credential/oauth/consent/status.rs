//! The status of a connection's credential, for agents and operators. [`Memory`] decides it, both
//! while connections are served and for commands that only read files.

use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;

use super::memory::{GrantFacts, Memory, Moment};
use super::scopes::missing_scopes;
use super::source::ConsentSource;
use crate::clock::Clock;
use crate::credential::unavailable::{ConsentReason, Reason};
use crate::domain::Connection;
use crate::domain::auth::ConsentParameters;
use crate::token_store::StoredFile;

/// The number of 401 responses in a row that the status mentions.
const MENTIONED_REFUSALS: u32 = 3;

/// The name of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusName {
    /// Requests are forwarded.
    Connected,
    /// The token endpoint or the token store has a problem that can end by itself.
    Unavailable,
    /// A person has to act.
    NeedsConsent,
    /// A person logged out.
    Revoked,
    /// The connection is disabled or soft-deleted.
    Disabled,
}

/// The status of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// The name.
    pub name: StatusName,
    /// The reason, if there is one.
    pub reason: Option<&'static str>,
    /// The time of the consent.
    pub connected_at: Option<Timestamp>,
    /// The time of the last refresh, by any process.
    pub refreshed_at: Option<Timestamp>,
    /// The stated end of the refresh token.
    pub refresh_token_expires_at: Option<Timestamp>,
}

impl StatusName {
    /// All names.
    pub const ALL: [Self; 5] = [
        Self::Connected,
        Self::Unavailable,
        Self::NeedsConsent,
        Self::Revoked,
        Self::Disabled,
    ];

    /// Returns the name as the management API, lists and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Unavailable => "unavailable",
            Self::NeedsConsent => "needs_consent",
            Self::Revoked => "revoked",
            Self::Disabled => "disabled",
        }
    }

    /// Returns whether a person has to log in before requests are forwarded.
    pub const fn needs_login(self) -> bool {
        match self {
            Self::NeedsConsent | Self::Revoked => true,
            Self::Connected | Self::Unavailable | Self::Disabled => false,
        }
    }
}

impl ConnectionStatus {
    /// The status of a connection whose credential never changes, or was not used yet.
    pub const CONNECTED: Self = Self::new(StatusName::Connected, None);
    /// The status of a connection that is disabled or soft-deleted.
    pub const DISABLED: Self = Self::new(StatusName::Disabled, None);

    /// Returns the status of a connection for which no token can be obtained for now.
    pub(in crate::credential::oauth) fn unavailable(reason: Reason) -> Self {
        let cause = reason.cause().unwrap_or("internal_error");
        Self::new(StatusName::Unavailable, Some(cause))
    }

    /// Returns the status that a connection has when `serve` starts at this time. `file` is what
    /// the token store holds for its grant. Sends nothing.
    pub fn at_start(connection: &Connection, file: Option<StoredFile>, now: Timestamp) -> Self {
        if let Some(disabled) = Self::disabled(connection) {
            return disabled;
        }
        match (connection.auth.consent(), file) {
            (Some(consent), Some(file)) => Self::from_file(consent.parameters(), file, now),
            (Some(_) | None, _) => Self::CONNECTED,
        }
    }

    /// Returns the status of a connection that is disabled or soft-deleted, whatever its credential
    /// is.
    pub(in crate::credential) fn disabled(connection: &Connection) -> Option<Self> {
        let is_usable = connection.enabled && connection.delete_time.is_none();
        (!is_usable).then_some(Self::DISABLED)
    }

    pub(super) fn from_file(
        parameters: &ConsentParameters,
        file: StoredFile,
        now: Timestamp,
    ) -> Self {
        let clock = Clock::system();
        let now = Moment {
            wall: now,
            boot: clock.now(),
            clock,
        };
        let mut memory = Memory::default();
        memory.observe(file, &GrantFacts::new(parameters), &now);
        memory.status(parameters, None, 0)
    }

    const fn new(name: StatusName, reason: Option<&'static str>) -> Self {
        Self {
            name,
            reason,
            connected_at: None,
            refreshed_at: None,
            refresh_token_expires_at: None,
        }
    }
}

impl Memory {
    /// Returns the status of the connections that use this grant. `unavailable` is the status while
    /// no token can be obtained, and `refusals` the number of 401 responses in a row.
    fn status(
        &self,
        parameters: &ConsentParameters,
        unavailable: Option<ConnectionStatus>,
        refusals: u32,
    ) -> ConnectionStatus {
        let document = self.document.as_ref();
        let reason = self.is_loaded.then(|| self.consent_reason()).flatten();
        let status = match reason {
            Some(reason @ ConsentReason::LoggedOut) => {
                ConnectionStatus::new(StatusName::Revoked, Some(reason.as_str()))
            }
            Some(reason) => ConnectionStatus::new(StatusName::NeedsConsent, Some(reason.as_str())),
            None => unavailable.unwrap_or_else(|| {
                let refusal = document.and_then(|document| document.refusal());
                let reason = if self.is_unsaved {
                    Some("unsaved")
                } else if let Some(refusal) = refusal {
                    Some(refusal.reason.as_str())
                } else if self.has_fewer_scopes(parameters) {
                    Some("scope_reduced")
                } else if refusals >= MENTIONED_REFUSALS {
                    Some("refused_by_upstream")
                } else {
                    None
                };
                ConnectionStatus::new(StatusName::Connected, reason)
            }),
        };
        ConnectionStatus {
            connected_at: document.and_then(|document| document.connected_at()),
            refreshed_at: document.and_then(|document| document.refreshed_at()),
            refresh_token_expires_at: document
                .and_then(|document| document.refresh_token_expires_at()),
            ..status
        }
    }

    /// Returns whether the provider granted fewer scopes than the definition requests.
    fn has_fewer_scopes(&self, parameters: &ConsentParameters) -> bool {
        let document = self.document.as_ref();
        let granted = document.and_then(|document| document.scopes());
        match (&parameters.scopes, granted) {
            (Some(requested), Some(granted)) => !missing_scopes(requested, granted).is_empty(),
            (None, _) | (_, None) => false,
        }
    }
}

impl ConsentSource {
    /// Returns the status of the connections that use this grant. `unavailable` is the status while
    /// no token can be obtained.
    pub(in crate::credential::oauth) fn status(
        &self,
        unavailable: Option<ConnectionStatus>,
    ) -> ConnectionStatus {
        let refusals = self.refusals.load(Relaxed);
        self.memory()
            .status(self.parameters(), unavailable, refusals)
    }
}
