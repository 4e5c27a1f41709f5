//! The events of grants that a person has consented to. They have no account, token or code.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::EventLevel::{self, Debug, Error, Info, Warn};
use super::parts::shown_connections;
use crate::domain::ConnectionId;

/// The minimum time between two events about a token store that cannot be written. Each attempt to
/// refresh a grant can cause one.
const STORE_PAUSE: Duration = Duration::from_secs(60);

events! {
    /// An event of a grant.
    enum GrantEvent;

    /// A person has consented, and the grant is used from now on.
    ConsentGiven {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
    } => "consent_given", Info,
        ("{} uses the consent that a person has just given", shown_connections(connections));

    /// A person has to consent before requests are forwarded again.
    ConsentNeeded {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
        /// The status reason.
        reason: &'static str,
        /// `true` if another copy of the grant may have spent the refresh token.
        #[serde(skip)]
        may_have_copies: bool,
    } => "consent_needed", Warn, (
        "{} cannot be used without a consent ({reason}): a person must run `egressd login {}`{}",
        shown_connections(connections), connections.first().map_or("<id>", ConnectionId::as_str),
        copies_hint(*may_have_copies)
    );

    /// A newer version of a grant, which another process has saved, is used from now on.
    GrantAdopted {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
    } => "grant_adopted", Info,
        ("{} uses the newer token that another process has stored", shown_connections(connections));

    /// The file of a grant in the token store cannot be used.
    TokenFileUnusable {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
        /// The path of the file.
        file: Box<str>,
        /// The reason, which contains nothing of the file's content.
        #[serde(skip)]
        why: Box<str>,
    } => "token_file_unusable", Warn,
        ("the token file of {} is not used: {file} {why}", shown_connections(connections));

    /// Every user of the machine can read the file of a grant in the token store.
    SecretReadable {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
        /// The path of the file.
        file: Box<str>,
    } => "secret_readable", Warn, (
        "every user can read {file}, the token file of {}; `chmod o-r` it; in Kubernetes set `defaultMode: 0440` and \
         `fsGroup`",
        shown_connections(connections)
    );

    /// A grant was refreshed.
    TokenRotated {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
    } => "token_rotated", Debug, ("refreshed the grant of {}", shown_connections(connections));

    /// The outcome of a refresh is not known, so its refresh token may be spent.
    RefreshAmbiguous {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
        /// The reason, as `cause` of a refusal document names it.
        reason: &'static str,
    } => "refresh_ambiguous", Warn, (
        "the token endpoint of {} may have processed a refresh without a usable answer ({reason}); \
         egressd repeats it with the same refresh token",
        shown_connections(connections)
    );

    /// A grant could not be saved in the token store.
    TokenStoreFailed {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
        /// The step and the system's error.
        #[serde(skip)]
        why: Box<str>,
    } => "token_store_failed", Error, (
        "the token store of {} cannot be written: {why}; without it, no refresh token is sent that the \
         provider accepts only once",
        shown_connections(connections)
    ), every STORE_PAUSE for connections.first().map_or("", ConnectionId::as_str);

    /// The provider replaced a refresh token that the definition calls reusable, and the new one
    /// could not be saved.
    RotationUnexpected {
        /// The connections with this grant.
        connections: Box<[ConnectionId]>,
    } => "rotation_unexpected", Warn, (
        "the provider of {} sent a new refresh token, which is only in memory: the token store cannot be \
         written, and the definition has `refresh_token_rotation: reusable`",
        shown_connections(connections)
    );
}

fn copies_hint(may_have_copies: bool) -> &'static str {
    if may_have_copies {
        "; two copies of one grant, such as one for each replica, also lead to this"
    } else {
        ""
    }
}
