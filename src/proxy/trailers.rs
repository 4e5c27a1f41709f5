//! Decides which trailers of a response reach the agent.
//!
//! hyper writes a trailer only if the agent sent `TE: trailers`, the body is chunked, and the
//! response's `Trailer` field names it. If it gets trailers and can write none of them, it omits
//! the end of the body. So this module makes the `Trailer` field itself, from names that may pass,
//! and passes on only trailers that the field names.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list_syntax::field_members;
use super::reference_fields::is_reference_field;
use super::request_id::X_REQUEST_ID;
use super::response_fields::is_dropped;
use crate::domain::Connection;

/// Returns the value of `Trailer` for the agent, or `None` if trailers cannot reach it. `request`
/// and `response` are the fields that the agent and the upstream sent.
pub(super) fn announced_names(
    request: &HeaderMap,
    response: &HeaderMap,
    connection: &Connection,
) -> Option<HeaderValue> {
    let mut accepted = field_members(request, TE);
    if !response.contains_key(TRAILER)
        || !accepted.any(|name| name.eq_ignore_ascii_case(b"trailers"))
    {
        return None;
    }
    let passing: Vec<String> = field_members(response, TRAILER)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| may_pass(name, connection))
        .map(|name| name.to_string())
        .collect();
    let value = (!passing.is_empty()).then(|| passing.join(", "))?;
    HeaderValue::try_from(value).ok()
}

/// Returns the trailers that `announced` names, or `None` if there are none.
pub(super) fn passing_trailers(
    trailers: &HeaderMap,
    announced: Option<&HeaderValue>,
) -> Option<HeaderMap> {
    let announced = announced?.to_str().ok()?;
    let mut passing = HeaderMap::new();
    for (name, value) in trailers {
        if announced.split(", ").any(|listed| name == listed) {
            passing.append(name.clone(), value.clone());
        }
    }
    (!passing.is_empty()).then_some(passing)
}

/// Returns whether a trailer may pass. Excluded are names that are dropped from heads, or set or
/// rewritten there (some clients merge trailers into the head), and names that hyper never writes
/// in a trailer.
fn may_pass(name: &HeaderName, connection: &Connection) -> bool {
    const HEAD_ONLY: [HeaderName; 14] = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_SECURITY_POLICY,
        CONTENT_TYPE,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
        TE,
        TRAILER,
        X_CONTENT_TYPE_OPTIONS,
        X_REQUEST_ID,
    ];
    !is_dropped(name.as_str(), connection.allow_cookies)
        && !is_reference_field(name.as_str())
        && !HEAD_ONLY.contains(name)
}
