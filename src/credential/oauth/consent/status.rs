//! The status of a connection's credential, for agents and operators.

use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;

use super::scopes::missing_scopes;
use super::source::ConsentSource;
use crate::credential::unavailable::{ConsentReason, Reason};

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

    const fn new(name: StatusName, reason: Option<&'static str>) -> Self {
        Self {
            name,
            reason,
            connected_at: None,
            refresh_token_expires_at: None,
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
        let memory = self.memory();
        let document = memory.document.as_ref();
        let reason = memory.is_loaded.then(|| memory.consent_reason()).flatten();
        let status = match reason {
            Some(reason @ ConsentReason::LoggedOut) => {
                ConnectionStatus::new(StatusName::Revoked, Some(reason.as_str()))
            }
            Some(reason) => ConnectionStatus::new(StatusName::NeedsConsent, Some(reason.as_str())),
            None => unavailable.unwrap_or_else(|| {
                let refusal = document.and_then(|document| document.refusal());
                let is_reduced = self
                    .parameters()
                    .scopes
                    .as_deref()
                    .is_some_and(|requested| {
                        let granted = document.and_then(|document| document.scopes());
                        granted
                            .is_some_and(|granted| !missing_scopes(requested, granted).is_empty())
                    });
                let reason = if memory.is_unsaved {
                    Some("unsaved")
                } else if let Some(refusal) = refusal {
                    Some(refusal.reason.as_str())
                } else if is_reduced {
                    Some("scope_reduced")
                } else if self.refusals.load(Relaxed) >= MENTIONED_REFUSALS {
                    Some("refused_by_upstream")
                } else {
                    None
                };
                ConnectionStatus::new(StatusName::Connected, reason)
            }),
        };
        ConnectionStatus {
            connected_at: document.and_then(|document| document.connected_at()),
            refresh_token_expires_at: document
                .and_then(|document| document.refresh_token_expires_at()),
            ..status
        }
    }
}
