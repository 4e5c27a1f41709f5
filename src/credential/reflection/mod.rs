//! A credential never comes back: responses are searched for what was sent up to prove who we are.
//!
//! `forms` says what a secret may look like in a response, [`Needles`] finds any of those forms in a piece of text, and [`Scan`] does so in a
//! stream, whatever its frames: it holds back as many bytes of each frame's end as could be the beginning of some secret, and how many those are does not depend
//! on the secret, for an agent that can have its own words sent back would learn it from that, byte by byte.
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
            secrets.extend(values.map(innermost));
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

/// What is secret of a header's value: `xyz` of `xyz`, of `Token xyz`, of `Token token="xyz"` and of `session=xyz`, as an API that has read it may tell it. A
/// value that holds a secret that is searched for need not be searched for itself.
fn innermost(value: &[u8]) -> &[u8] {
    let searched = |text: &&[u8]| text.len() >= SHORTEST;
    let value = credentials(value).filter(searched).unwrap_or(value);
    only_parameter(value).filter(searched).unwrap_or(value)
}

/// The value of `name=value` or `name="value"`, where there is one such parameter and nothing else: of several it cannot be told which are secret.
fn only_parameter(text: &[u8]) -> Option<&[u8]> {
    let at = text.iter().position(|b| *b == b'=')?;
    let (name, value) = text.split_at_checked(at)?;
    let is_named = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let value = value.strip_prefix(b"=")?;
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let value = without_padding(unquoted.unwrap_or(value));
    let alone = !value.iter().any(|b| b" \",;=&".contains(b));
    (!name.is_empty() && name.iter().all(is_named) && alone).then_some(value)
}

/// What follows the scheme where a header's value is `scheme SP credentials` (RFC 9110 §11.4).
fn credentials(value: &[u8]) -> Option<&[u8]> {
    let mut words = value.split(|b| *b == b' ');
    match (words.next(), words.next(), words.next()) {
        (Some(_scheme), Some(credentials), None) => Some(credentials),
        _ => None,
    }
}
