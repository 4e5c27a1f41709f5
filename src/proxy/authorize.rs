//! The stage *authorize*: checks that the connection allows this method on this path.

use std::sync::Arc;

use http::request::Parts;

use super::code::RefusalCode;
use super::identify::{Identified, Mount, not_canonical};
use super::refusal::Refusal;
use super::suggestion::nearest_pattern;
use crate::domain::ConnectionId;
use crate::route::{CanonicalPath, Lookup, Method, MethodSet, Pattern, RouteTable};
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

    /// Returns the prefix under which the agent sees the connection: `/<id>`, or nothing if the
    /// connection is mounted at the root.
    pub(super) fn prefix(&self) -> &'r str {
        let path = self.parts.uri.path();
        let end = path.len() - self.path.as_bytes().len();
        path.get(..end).unwrap_or_default()
    }

    /// Returns the index of the pattern that allows the request.
    pub(super) fn route(&self) -> usize {
        self.route
    }
}

/// Checks the method and the path against the routes of the connection.
pub(super) fn authorize(identified: Identified<'_>) -> Result<Permitted<'_>, Refusal> {
    let (parts, mount) = (identified.parts, identified.mount);
    // Moved, not cloned: all workers change the reference count of this `Arc`, and each change
    // moves its cache line between cores.
    let (entry, path) = identified.into_parts();
    let connection = &entry.connection;
    // Before the path: a disabled connection reveals nothing about its routes.
    if !connection.enabled {
        return Err(Refusal::new(
            RefusalCode::ConnectionDisabled,
            disabled(&connection.id, mount),
        ));
    }
    let path = path?;
    let path = if connection.allow_encoded_slash {
        path.allowing_encoded_slash()
    } else {
        path.without_encoded_slash().map_err(|error| match mount {
            // The path begins after the connection's id, and the agent counts from the id.
            Mount::Prefixed => not_canonical(error.after_first_segment()),
            Mount::Root => not_canonical(error),
        })?
    };
    let method = Method::parse(parts.method.as_str().as_bytes());
    match connection.routes.find(method, &path) {
        Lookup::Found(route) => Ok(Permitted {
            parts,
            entry,
            path,
            route,
        }),
        Lookup::MethodNotAllowed(methods) => {
            let written = parts.method.as_str();
            let detail = wrong_method(written, methods) + &relative_to(&connection.id, mount);
            Err(Refusal::new(RefusalCode::MethodNotAllowed, detail)
                .allowing(methods)
                .listing_routes()
                .suggesting(pattern_with_method(methods, &path, &connection.routes)))
        }
        Lookup::NotFound { trailing_slash } => {
            let patterns = connection.routes.patterns();
            let mut detail =
                "No pattern in `allowed_routes` matches this path; the match is exact and case-sensitive."
                    .to_owned();
            let with_slash = trailing_slash.and_then(|index| patterns.get(index));
            let nearest = with_slash.or_else(|| nearest_pattern(method, &path, patterns));
            if let Some(pattern) = with_slash {
                detail += &lacks_slash(pattern);
            } else if let Some(pattern) = nearest {
                detail += &format!(" The most similar pattern is `{pattern}`.");
            }
            detail += &relative_to(&connection.id, mount);
            Err(Refusal::new(RefusalCode::RouteNotAllowed, detail)
                .listing_routes()
                .suggesting(nearest))
        }
    }
}

/// Returns the pattern that matches the path with the first of these methods.
fn pattern_with_method<'t>(
    methods: MethodSet,
    path: &CanonicalPath<'_>,
    routes: &'t RouteTable,
) -> Option<&'t Pattern> {
    let method = methods.iter().next();
    match routes.find(method, path) {
        Lookup::Found(index) => routes.patterns().get(index),
        Lookup::MethodNotAllowed(_) | Lookup::NotFound { .. } => None,
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

fn disabled(id: &ConnectionId, mount: Mount) -> String {
    let mut detail = format!("The operator has disabled the connection `{id}`.");
    if mount == Mount::Prefixed {
        detail += " Use another connection: `GET /` lists them.";
    }
    detail
}

/// Returns the sentence for a refusal that lists the patterns of this connection.
fn relative_to(id: &ConnectionId, mount: Mount) -> String {
    match mount {
        Mount::Prefixed => format!(" Patterns are relative to `/{id}`."),
        Mount::Root => format!(
            " Patterns are relative to `/`: the connection `{id}` is at the root of this address."
        ),
    }
}

/// Returns the advice for a path that lacks the trailing slash of this pattern.
fn lacks_slash(pattern: &Pattern) -> String {
    format!(
        " `{pattern}` would match the path with a slash at its end, which is another path: add the slash, or ask the operator for a pattern without it."
    )
}
