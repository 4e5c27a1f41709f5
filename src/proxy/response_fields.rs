//! Which of the upstream's header fields go down.

use http::header::{
    CONNECTION, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::refusal::X_REQUEST_ID;
use crate::domain::Connection;

/// Hop-by-hop and framing fields, which are made anew, and what an upstream must not set in the agent's world: cookies, policies for a whole host (which here is
/// egressd's), and anything that looks like a word of ours.
pub(super) fn is_dropped(name: &str, allow_cookies: bool) -> bool {
    match name {
        "connection"
        | "keep-alive"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "content-length"
        | "alt-svc"
        | "strict-transport-security"
        | "clear-site-data"
        | "nel"
        | "report-to"
        | "content-security-policy-report-only"
        | "service-worker-allowed"
        // Obsolete (RFC 6265), and its path would not be rewritten.
        | "set-cookie2"
        | "x-request-id" => true,
        "set-cookie" => !allow_cookies,
        _ => {
            name.starts_with("access-control-")
                || name.starts_with("proxy-")
                || name.starts_with("x-egressd-")
        }
    }
}

/// States if a head has fields that are rewritten for the agent: references and cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewritable {
    Some,
    None,
}

/// Removes fields that may not pass. Returns if some of the rest must be rewritten, because one
/// walk over the names finds that out for less than a lookup of each.
pub(super) fn scrub(headers: &mut HeaderMap, connection: &Connection) -> Rewritable {
    let mut dropped: Vec<HeaderName> = Vec::new();
    let mut rewritable = Rewritable::None;
    for name in headers.keys() {
        if is_dropped(name.as_str(), connection.allow_cookies) {
            if *name == CONNECTION {
                dropped.extend(nominated(headers));
            }
            dropped.push(name.clone());
        } else if [LOCATION, CONTENT_LOCATION, SET_COOKIE].contains(name) {
            rewritable = Rewritable::Some;
        }
    }
    for name in dropped {
        headers.remove(name);
    }
    debug_assert!(!headers.contains_key(X_REQUEST_ID));
    // All connections share one origin. A sandboxed page has an origin of its own, so it cannot
    // read other connections' pages or install a service worker. `nosniff` keeps other content from
    // being run as a page or script.
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    rewritable
}

/// The fields that `Connection` names as hop-by-hop. They may precede it.
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let tokens = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens
        .map(<[u8]>::trim_ascii)
        // Nearly every nomination is one of these: the one is dropped as it is, the other is no field.
        .filter(|token| {
            !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close")
        })
        .filter_map(|token| HeaderName::from_bytes(token).ok())
}
