//! The target of a request as the agent has written it, which hyper may have parsed with an encoded
//! query.

use http::request::Parts;

use crate::domain::query::target_query;
use crate::server::WrittenTarget;

/// Returns the query of a request as the agent has written it.
pub(super) fn written_query(parts: &Parts) -> Option<&str> {
    match parts.extensions.get::<WrittenTarget>() {
        Some(written) => target_query(&written.0),
        None => parts.uri.query(),
    }
}

/// Returns the length of a request's target as the agent has written it, without a fragment.
pub(super) fn target_length(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query();
    match written_query(parts) {
        Some(query) => parts.uri.path().len() + 1 + query.len(),
        None => target.map_or(0, |target| target.as_str().len()),
    }
}
