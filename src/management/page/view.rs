//! What the page tells, gathered in one go. No type here has a place for a secret, a header value or a byte that an upstream sent.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::credential::Reason;
use crate::credential::oauth::GrantStatus;
use crate::domain::{Auth, Connection};
use crate::management::Sources;
use crate::reflection::Exposure;
use crate::snapshot::{Entry, Snapshot};
use crate::telemetry::Activity;

/// One connection.
pub(super) struct Row<'a> {
    pub(super) entry: &'a Entry,
    pub(super) state: State,
    pub(super) token: Token,
    pub(super) activity: Activity,
}

/// Whether agents are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A response held a credential that can be guessed: no request is served.
    Exposed(Exposure),
    /// The token cannot be obtained.
    Failing(Failing),
    /// The token cannot be obtained anew, and the one that is there still serves.
    Wearing(Failing),
    Ok,
    Disabled,
    Deleted(Timestamp),
}

/// Why a token cannot be obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) reason: Reason,
    pub(super) last: Option<Timestamp>,
    pub(super) in_a_row: u32,
    pub(super) next: Option<Timestamp>,
}

/// How long the connection's credential lasts.
pub(super) enum Token {
    /// As long as the configuration.
    Fixed,
    /// It is none that is sent.
    NoneNeeded,
    /// It is asked for.
    Obtained {
        expires: Option<Timestamp>,
        refreshed: Option<Timestamp>,
    },
}

/// All rows, those first that somebody should look at, else in the order of the definitions.
pub(super) fn rows<'a>(sources: &Sources, snapshot: &'a Snapshot) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = snapshot
        .entries()
        .iter()
        .map(|entry| row(sources, entry))
        .collect();
    rows.sort_by_key(|row| row.state.rank());
    rows
}

fn row<'a>(sources: &Sources, entry: &'a Entry) -> Row<'a> {
    let connection = &entry.connection;
    let status = sources.credentials.grant_status(&entry.connection);
    Row {
        entry,
        state: match sources.credentials.exposure(entry.key) {
            Some(exposure) if entry.is_live() => State::Exposed(exposure),
            _ => state(entry, status.as_ref()),
        },
        token: token(connection, status.as_ref()),
        activity: sources.metrics.activity(Some(connection.id.as_str())),
    }
}

fn state(entry: &Entry, status: Option<&GrantStatus>) -> State {
    if let Some(at) = entry.delete_time() {
        return State::Deleted(at);
    }
    if !entry.connection.enabled {
        return State::Disabled;
    }
    let Some((status, failure)) =
        status.and_then(|status| Some((status, status.last_failure.as_ref()?)))
    else {
        return State::Ok;
    };
    let failing = Failing {
        reason: failure.reason,
        last: timestamp(failure.at),
        in_a_row: failure.in_a_row,
        next: status
            .retry_in
            .and_then(|retry_in| Timestamp::now().checked_add(retry_in).ok()),
    };
    if status.expires_at.is_some() {
        State::Wearing(failing)
    } else {
        State::Failing(failing)
    }
}

fn token(connection: &Connection, status: Option<&GrantStatus>) -> Token {
    match (&connection.auth, status) {
        (Auth::OauthClientCredentials(_), status) => Token::Obtained {
            expires: status
                .and_then(|status| status.expires_at)
                .and_then(timestamp),
            refreshed: status
                .and_then(|status| status.last_refreshed)
                .and_then(timestamp),
        },
        (Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_), _) => Token::Fixed,
        (Auth::NoAuth, _) => Token::NoneNeeded,
    }
}

fn timestamp(at: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(at).ok()
}

impl State {
    fn rank(&self) -> u8 {
        match self {
            Self::Exposed(_) | Self::Failing(_) => 0,
            Self::Wearing(_) => 1,
            Self::Ok => 2,
            Self::Disabled => 3,
            Self::Deleted(_) => 4,
        }
    }

    /// The response that closed the connection, if one did.
    pub(super) fn exposed(&self) -> Option<&Exposure> {
        match self {
            Self::Exposed(exposure) => Some(exposure),
            Self::Failing(_) | Self::Wearing(_) => None,
            Self::Ok | Self::Disabled | Self::Deleted(_) => None,
        }
    }

    /// Why the token cannot be obtained, if it cannot.
    pub(super) fn failing(&self) -> Option<&Failing> {
        match self {
            Self::Failing(failing) | Self::Wearing(failing) => Some(failing),
            Self::Exposed(_) | Self::Ok | Self::Disabled | Self::Deleted(_) => None,
        }
    }
}

/// The sums over several books.
pub(super) fn total<'a>(books: impl Iterator<Item = &'a Activity>) -> Activity {
    books.fold(Activity::default(), |total, activity| Activity {
        last_used: total.last_used.max(activity.last_used),
        forwarded: total.forwarded.saturating_add(activity.forwarded),
        refused: total.refused.saturating_add(activity.refused),
        agent_cancelled: total
            .agent_cancelled
            .saturating_add(activity.agent_cancelled),
        upstream_failed: total
            .upstream_failed
            .saturating_add(activity.upstream_failed),
        request_bytes: total.request_bytes.saturating_add(activity.request_bytes),
        response_bytes: total.response_bytes.saturating_add(activity.response_bytes),
        faults: Vec::new(),
    })
}
