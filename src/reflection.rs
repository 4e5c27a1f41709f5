//! Searches responses for the secrets of all connections, so that no credential reaches an agent.
//!
//! `secrets` lists the secrets of a connection. `encodings` lists the encodings in which a response
//! may contain a secret. [`Patterns`] finds these encodings in a piece of text, and
//! [`ResponseScan`] finds them in a stream, however it is split into frames. A [`ResponseScan`]
//! holds back the bytes at the end of each frame that may be the beginning of a secret. The number
//! of these bytes does not depend on the secret: otherwise an agent that can have its own text sent
//! back could infer the secret byte by byte. `guard` keeps the set of patterns that serves the
//! whole process.
//!
//! Invariant: the output of a [`ResponseScan`] never contains an encoding of a secret that it
//! searches for, and its output plus the bytes that it still holds back equals its input. Secrets
//! of fewer than [`SHORTEST`] bytes are not searched for, because they would match ordinary text.
//!
//! # How it searches
//!
//! The encodings are long, so not every byte of a text has to be examined. `index` looks up one
//! gram of five bytes in every 12 to 32 bytes of a text, in a bit set of the grams near the ends of
//! the encodings. This costs one multiplication and one load, and rarely hits. A hit yields the
//! place where an encoding would begin, and a binary search among all encodings decides if one
//! does. The cost of a text hardly depends on the number of secrets.
//!
//! An encoding can begin in one frame and end in another. For this the search keeps the last few
//! hundred bytes of the stream, and the encodings whose beginning has arrived.
//!
//! ASCII secrets in UTF-16, in UTF-32 and with HTML escapes are not listed as encodings. Text that
//! may contain them is decoded (`decode`) and searched a second time.
//!
//! # Guesses
//!
//! If a secret is short enough to be guessed, an agent can have many guesses returned in one
//! response. The place and the time at which the response is cut must not reveal which of them is
//! right. So a [`ResponseScan`] holds back everything from the first text that begins like a guess,
//! up to a limit, and reports a secret only after that.

mod alphabet;
mod decode;
mod encodings;
mod guard;
mod index;
mod patterns;
mod scan;
mod search;
mod secrets;
mod signature;
#[cfg(test)]
mod tests;

pub use guard::ReflectionGuard;
pub(crate) use guard::{ConnectionSecrets, TokenSecret};
pub use patterns::Patterns;
pub use scan::ResponseScan;
pub use secrets::{Exposure, Label, Reflected};

use crate::domain::auth::SHORTEST_UNGUESSABLE;
use crate::domain::{Auth, Connection, Secret};

/// The length in bytes of the shortest secret that is searched for.
pub const SHORTEST: usize = SHORTEST_UNGUESSABLE;

/// Returns whether responses of this connection are searched if the process has any secrets. They
/// are not searched if the guard is off for the connection, or if it has no secret of its own.
pub(crate) fn is_search_enabled(connection: &Connection) -> bool {
    let has_secret = !matches!(connection.auth, Auth::NoAuth);
    connection.reflection_guard && (has_secret || connection.webhook_signing_secret.is_some())
}

/// Returns whether no secret of this connection can pass through the search of its responses: all
/// are long enough to be searched for, or there are none. Access tokens are not checked.
pub(crate) fn finds_every_secret(connection: &Connection) -> bool {
    let is_long = |secret: &Secret| secret.expose().len() >= SHORTEST;
    let finds_credential = match &connection.auth {
        Auth::NoAuth => {
            return connection.webhook_signing_secret.is_none() || is_search_enabled(connection);
        }
        Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_) => true,
        Auth::BearerToken(bearer) => is_long(bearer.token()),
        // Without a password, the user name is the secret.
        Auth::BasicAuth(basic) if basic.password().expose().is_empty() => is_long(basic.username()),
        Auth::BasicAuth(basic) => is_long(basic.password()),
        Auth::StaticHeaders(headers) => headers
            .iter()
            .filter(|header| header.is_searched_for())
            .all(|header| is_long(&header.value)),
    };
    finds_credential && is_search_enabled(connection)
}

/// Returns whether responses of this connection are searched if `all` are the connections of the
/// process. If so, egressd requests responses that can be searched.
pub fn is_response_searched<'c>(
    connection: &Connection,
    all: impl IntoIterator<Item = &'c Connection>,
) -> bool {
    let has_searched = |connection: &Connection| {
        // An access token does not exist yet, and most are long enough to be searched for.
        let obtains_token = matches!(
            connection.auth,
            Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_)
        );
        obtains_token
            || !secrets::secrets_of_connection(connection, &std::sync::Arc::default()).is_empty()
    };
    is_search_enabled(connection) && all.into_iter().any(has_searched)
}
