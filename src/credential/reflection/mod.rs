//! A credential never comes back: responses are searched for the secrets of all connections.
//!
//! `secrets` names what is secret of a connection, `forms` lists how a response may write it, [`Patterns`] finds any of those forms in a piece of text, and
//! [`Scan`] does so in a stream, whatever its frames: it holds back as many bytes of each frame's end as could be the beginning of some secret, and how many those
//! are does not depend on the secret, for an agent that can have its own words sent back would learn it from that, byte by byte. `guard` keeps the
//! set of patterns that serves the whole process.
//!
//! Invariant: what a [`Scan`] lets out never holds a form of a secret that it searches for, and what it holds back and what it has let out is
//! what came in. A secret of fewer than [`SHORTEST`] bytes is not searched for: it would be found everywhere.
//!
//! # How it searches
//!
//! The forms are long, so text need not be looked at byte by byte. `index` looks up one gram of five bytes in 12 to 32 bytes of a text, in a bit set of the
//! grams near the forms' ends; this is one multiplication and one load, and hardly ever hits. A hit says where a form would begin, and a binary search
//! among all forms says whether one does. The cost of a text hardly depends on how many secrets there are.
//!
//! A form can end in another frame than it begins in. The search keeps a few hundred bytes of the stream for that, and the forms of which all
//! but the last bytes came.
//!
//! Forms in UTF-16, in UTF-32 and with HTML escapes are not listed: where a text may have them it is decoded (`plain`) and searched a second time.
//!
//! # Guesses
//!
//! A secret that is short enough to be guessed can be found in a response that holds many guesses
//! of it. The place and the time of the cut must not reveal which of them is right. So a [`Scan`]
//! holds everything from the first text that begins like a guess, up to a limit, and reports only
//! then what it found.

mod alphabet;
mod forms;
mod guard;
mod index;
mod patterns;
mod plain;
mod scan;
mod search;
mod secrets;
mod signature;
#[cfg(test)]
mod tests;

pub use guard::Guard;
pub(super) use guard::{ConnectionSecrets, TokenSecret};
pub use patterns::Patterns;
pub use scan::{Reflected, Scan};
pub use secrets::{Exposure, Label};

use crate::domain::auth::SHORTEST_UNGUESSABLE;
use crate::domain::{Auth, Connection};

/// Secrets of fewer bytes are not searched for.
pub const SHORTEST: usize = SHORTEST_UNGUESSABLE;

/// Whether responses of this connection are searched, if there is anything to search for in the process. One that has no secret of its own is left alone.
pub(super) fn is_guarded(connection: &Connection) -> bool {
    let has_secret = !matches!(connection.auth, Auth::NoAuth);
    connection.reflection_guard && (has_secret || connection.webhook_signing_secret.is_some())
}

/// Whether responses of this connection are searched where all connections are these, and so have to come as a search can read them.
pub fn searches<'c>(
    connection: &Connection,
    all: impl IntoIterator<Item = &'c Connection>,
) -> bool {
    let has_searched = |connection: &Connection| {
        // An access token is not known beforehand, and most are long enough.
        matches!(connection.auth, Auth::OauthClientCredentials(_))
            || !secrets::of_connection(connection, &std::sync::Arc::default()).is_empty()
    };
    is_guarded(connection) && all.into_iter().any(has_searched)
}
