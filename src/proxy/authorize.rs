//! The stage *authorize*: checks that the connection allows this method on this path.

use std::sync::Arc;

use http::request::Parts;

use super::code::RefusalCode;
use super::identify::{Identified, not_canonical};
use super::refusal::Refusal;
use super::suggestion::nearest_pattern;
use crate::domain::ConnectionId;
use crate::route::{CanonicalPath, Lookup, Method, MethodSet, Pattern};
use crate::snapshot::ConnectionEntry;

/// A request that one pattern of its connection allows. [`authorize`] is the only constructor (S1).
pub(super) struct Permitted<'r> {
    pub(super) parts: &'r Parts,
    entry: Arc<ConnectionEntry>,
    path: CanonicalPath<'r>,
    route: usize,
}

impl<'r> Permitted<'r> {
    pub(super) fn entry(&self) -> &Arc<ConnectionEntry> {
        &self.entry
    }

    /// Returns the path that was matched, which is sent byte for byte (S2).
    pub(super) fn path(&self) -> &'r [u8] {
        self.path.as_bytes()
    }

    /// Returns the index of the pattern that allows the request.
    pub(super) fn route(&self) -> usize {
        self.route
    }
}

/// Checks the method and the path against the routes of the connection.
pub(super) fn authorize(identified: Identified<'_>) -> Result<Permitted<'_>, Refusal> {
    let parts = identified.parts;
    // Moved, not cloned: all workers change the reference count of this `Arc`, and each change
    // moves its cache line between cores.
    let (entry, path) = identified.into_parts();
    let connection = &entry.connection;
    // Before the path: a disabled connection reveals nothing about its routes.
    if !connection.enabled {
        return Err(Refusal::new(
            RefusalCode::ConnectionDisabled,
            format!(
                "The operator has disabled the connection `{}`. Use another connection: `GET /` lists them.",
                connection.id
            ),
        ));
    }
    let path = path?;
    let path = if connection.allow_encoded_slash {
        path.allowing_encoded_slash()
    } else {
        path.without_encoded_slash()
            // The path begins after the connection's id, and the agent counts from the id.
            .map_err(|error| not_canonical(error.after_first_segment()))?
    };
    let method = Method::parse(parts.method.as_str().as_bytes());
    match connection.routes.find(method, &path) {
        Lookup::Found(route) => Ok(Permitted {
            parts,
            entry,
            path,
            route,
        }),
        Lookup::MethodNotAllowed(methods) => Err(Refusal::new(
            RefusalCode::MethodNotAllowed,
            wrong_method(parts.method.as_str(), methods) + &relative_to(&connection.id),
        )
        .allowing(methods)
        .listing_routes()),
        Lookup::NotFound { trailing_slash } => {
            let patterns = connection.routes.patterns();
            let mut detail =
                "No pattern in `allowed_routes` matches this path; the match is exact and case-sensitive."
                    .to_owned();
            if let Some(pattern) = trailing_slash.and_then(|index| patterns.get(index)) {
                detail += &with_slash(pattern);
            } else if let Some(pattern) = nearest_pattern(method, &path, patterns) {
                detail += &format!(" The most similar pattern is `{pattern}`.");
            }
            detail += &relative_to(&connection.id);
            Err(Refusal::new(RefusalCode::RouteNotAllowed, detail).listing_routes())
        }
    }
}

fn wrong_method(written: &str, methods: MethodSet) -> String {
    let plain = format!("The path is allowed with {} only.", methods.allow_value());
    // RFC 9110 §9.1: `get` is another method than `GET`.
    let upper = written.to_ascii_uppercase();
    match Method::parse(upper.as_bytes()) {
        Some(method) if upper != written && methods.contains(method) => {
            format!("{plain} Methods are case-sensitive: write `{method}`.")
        }
        Some(_) | None => plain,
    }
}

/// Returns the sentence for a refusal that lists the patterns of this connection.
fn relative_to(id: &ConnectionId) -> String {
    format!(" Patterns are relative to `/{id}`.")
}

/// Returns the advice for a path that lacks the trailing slash of this pattern.
fn with_slash(pattern: &Pattern) -> String {
    format!(
        " `{pattern}` would match the path with a slash at its end, which is another path: add the slash, or ask the operator for a pattern without it."
    )
}
