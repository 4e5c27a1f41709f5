//! The content of the page, sampled at one instant. No type here can hold a secret, a header value
//! or a byte that an upstream sent.

use std::fmt::Display;

use jiff::Timestamp;

use crate::credential::Reason;
use crate::credential::oauth::GrantStatus;
use crate::domain::Auth;
use crate::management::ApiContext;
use crate::management::view::to_timestamp;
use crate::reflection::Exposure;
use crate::snapshot::{ConnectionEntry, Snapshot};
use crate::telemetry::ConnectionStats;

/// One connection and its state.
pub(super) struct ConnectionOverview<'a> {
    pub(super) entry: &'a ConnectionEntry,
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

/// The validity of a connection's credential.
pub(super) enum TokenLifetime {
    /// The credential is part of the configuration and does not expire.
    Fixed,
    /// The connection has no credential.
    NotNeeded,
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
        let status = sources.credentials.grant_status(connection);
        let status = status.as_ref();
        Self {
            entry,
            state: match sources.credentials.exposure(entry.key) {
                // A deleted connection refuses all requests anyway, and is shown as deleted.
                Some(exposure) if entry.is_live() => ConnectionState::Exposed(exposure),
                _ => ConnectionState::new(entry, status),
            },
            token: match connection.auth {
                Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_) => {
                    TokenLifetime::Obtained {
                        expires: status.and_then(|status| to_timestamp(status.expires_at?)),
                        refreshed: status.and_then(|status| to_timestamp(status.last_refreshed?)),
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
    fn new(entry: &ConnectionEntry, status: Option<&GrantStatus>) -> Self {
        if let Some(at) = entry.delete_time() {
            return Self::Deleted(at);
        }
        if !entry.connection.enabled {
            return Self::Disabled;
        }
        let Some((status, last)) = status.and_then(|s| Some((s, s.last_failure.as_ref()?))) else {
            return Self::Ok;
        };
        let next = status
            .retry_in
            .map(|wait| Timestamp::now().checked_add(wait));
        let failure = TokenFailure {
            reason: last.reason,
            last: to_timestamp(last.at),
            in_a_row: last.in_a_row,
            next: next.and_then(Result::ok),
        };
        // The expiry is that of a token which is still valid.
        if status.expires_at.is_some() {
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
            Self::NotRenewed(_) => 1,
            Self::Ok => 2,
            Self::Disabled => 3,
            Self::Deleted(_) => 4,
        }
    }

    /// Returns the CSS class of the label, and its text.
    pub(super) fn label(&self) -> (&'static str, &'static str) {
        match self {
            Self::Exposed(_) => ("bad", "credential exposed"),
            Self::Failing(_) => ("bad", "credential failing"),
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
