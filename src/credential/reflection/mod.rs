//! A credential never comes back: responses are searched for what was sent up to prove who we are.
//!
//! `forms` says what a secret may look like in a response, [`Needles`] finds any of those forms in a piece of text, and [`Scan`] does so in a
//! stream, whatever its frames: it holds back what could be the beginning of a secret until it is known not to be one.
//!
//! Invariant: what a [`Scan`] lets out never holds a form of a secret that it searches for, and what it holds back and what it has let out is
//! what came in. A secret of fewer than [`SHORTEST`] bytes is not searched for: it would be found everywhere.
//!
//! # How it searches
//!
//! The forms are long, so text need not be looked at byte by byte. An occurrence of a form of `n` bytes covers, wherever it begins, one of the eight-byte
//! grams at the places 0, s, 2s, … of the text, as long as s ≤ n − 7. So one gram in s bytes is looked up in a small bit set of all grams that the first
//! bytes of the forms have; this is one multiplication and one load, and as good as never hits. A hit is compared with the forms that
//! have this gram, and where a form agrees for a while, it is followed with the automaton of Knuth, Morris and Pratt, so that a body made of
//! near-matches costs a bounded number of steps a byte.

mod forms;
mod needles;
mod scan;
#[cfg(test)]
mod tests;

pub use needles::Needles;
pub use scan::{Reflected, Scan};

use crate::domain::{Auth, Connection, Secret};

/// Secrets of fewer bytes are not searched for.
pub const SHORTEST: usize = 16;

/// What is searched for in every response of a connection: the secrets that its definition holds and its requests carry. `None` where there is nothing to
/// search for. An OAuth connection's access token is not among them: it has [`Needles`] of its own.
pub(super) fn of_connection(connection: &Connection) -> Option<Needles> {
    if !connection.reflection_guard {
        return None;
    }
    let mut secrets: Vec<&[u8]> = Vec::new();
    match &connection.auth {
        Auth::OauthClientCredentials(_) | Auth::NoAuth => {}
        Auth::BearerToken(bearer) => secrets.push(bearer.token().expose()),
        Auth::BasicAuth(basic) => {
            let headers = connection.auth.fixed_headers().unwrap_or_default();
            let pairs = headers
                .iter()
                .filter_map(|header| credentials(header.value.expose()));
            // Some leave the padding out.
            secrets.extend(pairs.map(without_padding));
            secrets.push(basic.password().expose());
        }
        Auth::StaticHeaders(headers) => {
            let values = headers.iter().map(|header| header.value.expose());
            // A value that holds a secret that is searched for need not be searched for itself.
            let searched = |words: &&[u8]| words.len() >= SHORTEST;
            secrets
                .extend(values.map(|value| credentials(value).filter(searched).unwrap_or(value)));
        }
    }
    let signing = connection.webhook_signing_secret.as_ref();
    secrets.extend(signing.map(Secret::expose));
    Needles::new(secrets)
}

fn without_padding(mut base64: &[u8]) -> &[u8] {
    while let Some(rest) = base64.strip_suffix(b"=") {
        base64 = rest;
    }
    base64
}

/// Whether a connection's responses are searched, and so have to come uncompressed. `needles`: its own. An access token is not known beforehand, and most are long
/// enough.
pub(super) fn may_search(connection: &Connection, needles: Option<&Needles>) -> bool {
    let has_tokens = matches!(connection.auth, Auth::OauthClientCredentials(_));
    connection.reflection_guard && (has_tokens || needles.is_some())
}

/// As [`super::Credential::is_searched_for`], for those who have no credential.
pub fn searches(connection: &Connection) -> bool {
    may_search(connection, of_connection(connection).as_ref())
}

/// What follows the scheme where a header's value is `scheme SP credentials` (RFC 9110 §11.4).
fn credentials(value: &[u8]) -> Option<&[u8]> {
    let mut words = value.split(|b| *b == b' ');
    match (words.next(), words.next(), words.next()) {
        (Some(_scheme), Some(credentials), None) => Some(credentials),
        _ => None,
    }
}
