//! Which of the upstream's header fields go down.

use http::header::{
    CONNECTION, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::request_id::X_REQUEST_ID;
use crate::domain::Connection;

/// The beginnings of names that are dropped.
const DROPPED_PREFIXES: [&str; 4] = [
    "access-control-",
    "attribution-reporting-",
    "sec-session-",
    "secure-session-",
];

/// The beginnings of names that only egressd may use.
const OWN_PREFIXES: [&str; 2] = ["x-egressd-", "proxy-"];

/// Returns whether a response field of this name does not reach the agent: hop-by-hop and framing
/// fields, which egressd sets itself, cookies, fields that only egressd may set, and fields that
/// change what a browser does beyond this response. To a browser all connections are one origin, so
/// such a field would let one connection decide for the others. The names are from MDN's list of
/// HTTP headers.
pub(super) fn is_dropped(name: &str, allow_cookies: bool) -> bool {
    match name {
        "connection"
        | "keep-alive"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "content-length"
        | "accept-ch"
        | "accept-ch-lifetime"
        | "activate-storage-access"
        | "alt-svc"
        | "clear-site-data"
        | "content-security-policy-report-only"
        | "critical-ch"
        | "expect-ct"
        | "nel"
        | "origin-agent-cluster"
        | "origin-trial"
        | "public-key-pins"
        | "public-key-pins-report-only"
        | "report-to"
        | "reporting-endpoints"
        | "service-worker-allowed"
        | "set-login"
        | "speculation-rules"
        | "strict-transport-security"
        | "timing-allow-origin"
        | "use-as-dictionary"
        // Obsolete (RFC 6265), and its path would not be rewritten.
        | "set-cookie2"
        | "x-request-id" => true,
        "set-cookie" => !allow_cookies,
        _ => {
            DROPPED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || OWN_PREFIXES.iter().any(|prefix| begins_alike(name, prefix))
        }
    }
}

/// Returns whether a name begins with this prefix if every character that is neither a letter nor a
/// digit counts as `-`, as in interfaces derived from CGI.
fn begins_alike(name: &str, prefix: &str) -> bool {
    let is_alike =
        |(given, own): (u8, u8)| given == own || (own == b'-' && !given.is_ascii_alphanumeric());
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(is_alike)
}

/// The result of a search for fields that are rewritten for the agent: references and cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewritable {
    Some,
    None,
}

/// Removes fields that may not pass. Also returns whether any of the rest must be rewritten,
/// because one pass over the names is faster than a lookup of each.
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
