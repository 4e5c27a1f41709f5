//! The content of the page, sampled at one instant. No type here can hold a secret, a header value
//! or a byte that an upstream sent.

use std::fmt::{self, Display};

use jiff::Timestamp;

use crate::credential::Reason;
use crate::credential::oauth::{ConnectionStatus, GrantStatus, StatusName};
use crate::domain::{Auth, ConnectionId};
use crate::management::view::to_timestamp;
use crate::management::{ApiContext, records};
use crate::reflection::Exposure;
use crate::snapshot::{ConnectionEntry, Snapshot};
use crate::telemetry::ConnectionStats;

/// One connection and its state.
pub(super) struct ConnectionOverview<'a> {
    pub(super) entry: &'a ConnectionEntry,
    pub(super) status: ConnectionStatus,
    pub(super) state: ConnectionState,
    pub(super) token: TokenLifetime,
    pub(super) activity: ConnectionStats,
}

/// The state of a connection, from the operator's point of view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// A response contained the credential, which is short enough to be guessed. Requests are
    /// refused.
    Exposed(Exposure),
    /// No token can be obtained. Requests are refused.
    Failing(TokenFailure),
    /// A person has to log in. Requests are refused.
    NeedsConsent(MissingConsent),
    /// No new token can be obtained. The old one is still valid, so requests are served.
    NotRenewed(TokenFailure),
    Ok,
    Disabled,
    Deleted(Timestamp),
}

/// A failure to obtain a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenFailure {
    pub(super) reason: Reason,
    pub(super) last: Option<Timestamp>,
    pub(super) in_a_row: u32,
    pub(super) next: Option<Timestamp>,
}

/// A connection without a valid consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MissingConsent {
    pub(super) connection: ConnectionId,
    pub(super) reason: Option<&'static str>,
    /// `true` if a person has logged out.
    pub(super) is_revoked: bool,
}

impl Display for MissingConsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.unwrap_or("unknown");
        let id = &self.connection;
        write!(
            f,
            "there is no valid consent ({reason}): run `egressd login {id}`"
        )
    }
}

/// The validity of a connection's credential.
pub(super) enum TokenLifetime {
    /// The credential is part of the configuration and does not expire.
    Fixed,
    /// The connection has no credential.
    NotNeeded,
    /// A person consented to a token without an end.
    Endless,
    /// The token endpoint sets the expiry.
    Obtained {
        expires: Option<Timestamp>,
        refreshed: Option<Timestamp>,
    },
}

/// Returns all connections. Those that need an operator's attention come first, and the others
/// follow in the order of their definitions.
pub(super) fn connections<'a>(
    sources: &ApiContext,
    snapshot: &'a Snapshot,
) -> Vec<ConnectionOverview<'a>> {
    let entries = snapshot.entries().iter();
    let mut shown: Vec<_> = entries
        .map(|entry| ConnectionOverview::new(sources, entry))
        .collect();
    shown.sort_by_key(|shown| shown.state.rank());
    shown
}

impl<'a> ConnectionOverview<'a> {
    fn new(sources: &ApiContext, entry: &'a ConnectionEntry) -> Self {
        let connection = &entry.connection;
        let status = records::connection_status(entry, &sources.credentials);
        let grant = sources.credentials.grant_status(connection);
        let grant = grant.as_ref();
        let refreshed = grant.and_then(|grant| to_timestamp(grant.last_refreshed?));
        Self {
            entry,
            status,
            state: match sources.credentials.exposure(entry.key) {
                // A deleted connection refuses all requests anyway, and is shown as deleted.
                Some(exposure) if entry.is_live() => ConnectionState::Exposed(exposure),
                _ => ConnectionState::new(entry, &status, grant),
            },
            token: match connection.auth {
                Auth::OauthUserConsent(_) if grant.is_some_and(|grant| grant.is_endless) => {
                    TokenLifetime::Endless
                }
                Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_) => {
                    TokenLifetime::Obtained {
                        expires: grant.and_then(|grant| to_timestamp(grant.expires_at?)),
                        // Another process may have refreshed the grant.
                        refreshed: status.refreshed_at.or(refreshed),
                    }
                }
                Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_) => {
                    TokenLifetime::Fixed
                }
                Auth::NoAuth => TokenLifetime::NotNeeded,
            },
            activity: sources
                .metrics
                .connection_stats(Some(connection.id.as_str())),
        }
    }
}

impl ConnectionState {
    fn new(
        entry: &ConnectionEntry,
        status: &ConnectionStatus,
        grant: Option<&GrantStatus>,
    ) -> Self {
        if let Some(at) = entry.delete_time() {
            return Self::Deleted(at);
        }
        if !entry.connection.enabled {
            return Self::Disabled;
        }
        let missing = |is_revoked| {
            Self::NeedsConsent(MissingConsent {
                connection: entry.connection.id.clone(),
                reason: status.reason,
                is_revoked,
            })
        };
        match status.name {
            StatusName::NeedsConsent => return missing(false),
            StatusName::Revoked => return missing(true),
            StatusName::Connected | StatusName::Unavailable | StatusName::Disabled => {}
        }
        let Some((grant, last)) = grant.and_then(|g| Some((g, g.last_failure.as_ref()?))) else {
            return Self::Ok;
        };
        let next = grant
            .retry_in
            .map(|wait| Timestamp::now().checked_add(wait));
        let failure = TokenFailure {
            reason: last.reason,
            last: to_timestamp(last.at),
            in_a_row: last.in_a_row,
            next: next.and_then(Result::ok),
        };
        // The expiry is that of a token which is still valid.
        if grant.expires_at.is_some() || grant.is_endless {
            Self::NotRenewed(failure)
        } else {
            Self::Failing(failure)
        }
    }

    /// Returns the position of this state on the page. Exposed and failing connections share one,
    /// because the page counts them together.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Exposed(_) | Self::Failing(_) => 0,
            Self::NeedsConsent(_) => 1,
            Self::NotRenewed(_) => 2,
            Self::Ok => 3,
            Self::Disabled => 4,
            Self::Deleted(_) => 5,
        }
    }

    /// Returns the CSS class of the label, and its text.
    pub(super) fn label(&self) -> (&'static str, &'static str) {
        match self {
            Self::Exposed(_) => ("bad", "credential exposed"),
            Self::Failing(_) => ("bad", "credential failing"),
            Self::NeedsConsent(missing) if missing.is_revoked => ("bad", "revoked"),
            Self::NeedsConsent(_) => ("bad", "needs consent"),
            Self::NotRenewed(_) => ("warn", "token not renewed"),
            Self::Ok => ("ok", "ok"),
            Self::Disabled => ("off", "disabled"),
            Self::Deleted(_) => ("off", "deleted"),
        }
    }

    /// Returns the reason why the connection needs an operator's attention, and the attempts to
    /// obtain a token, if that is the reason.
    pub(super) fn fault(&self) -> Option<(&dyn Display, Option<&TokenFailure>)> {
        match self {
            Self::Exposed(exposure) => Some((exposure, None)),
            Self::NeedsConsent(missing) => Some((missing, None)),
            Self::Failing(failure) | Self::NotRenewed(failure) => {
                Some((&failure.reason, Some(failure)))
            }
            Self::Ok | Self::Disabled | Self::Deleted(_) => None,
        }
    }
}

/// Sums the counts of several connections. The faults are left out.
pub(super) fn sum<'a>(activities: impl Iterator<Item = &'a ConnectionStats>) -> ConnectionStats {
    activities.fold(ConnectionStats::default(), |sum, one| ConnectionStats {
        last_used: sum.last_used.max(one.last_used),
        forwarded: sum.forwarded.saturating_add(one.forwarded),
        refused: sum.refused.saturating_add(one.refused),
        agent_cancelled: sum.agent_cancelled.saturating_add(one.agent_cancelled),
        upstream_failed: sum.upstream_failed.saturating_add(one.upstream_failed),
        request_bytes: sum.request_bytes.saturating_add(one.request_bytes),
        response_bytes: sum.response_bytes.saturating_add(one.response_bytes),
        faults: Vec::new(),
    })
}
