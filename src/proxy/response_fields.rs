//! The header fields of a response: which of the upstream's reach the agent, and which are added.

use http::header::{CONNECTION, CONTENT_SECURITY_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list_syntax::hop_by_hop_names;
use super::reference_fields::is_reference_field;
use super::request_fields::is_alike;
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
        | "set-cookie2" => true,
        "set-cookie" => !allow_cookies,
        _ => {
            DROPPED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || OWN_PREFIXES.iter().any(|prefix| {
                    let start = name.get(..prefix.len());
                    start.is_some_and(|start| is_alike(start, prefix))
                })
        }
    }
}

/// Removes fields that may not pass. Returns whether any of the rest is rewritten for the agent
/// (references and cookies), because one pass over the names is faster than a lookup of each.
pub(super) fn remove_dropped_fields(headers: &mut HeaderMap, connection: &Connection) -> bool {
    let mut dropped: Vec<HeaderName> = Vec::new();
    let mut has_rewritten = false;
    for name in headers.keys() {
        if is_dropped(name.as_str(), connection.allow_cookies) {
            if *name == CONNECTION {
                // The nominated fields may precede `Connection`, so they are collected by name.
                let names = hop_by_hop_names(headers);
                dropped.extend(names.filter_map(|name| HeaderName::from_bytes(name).ok()));
            }
            dropped.push(name.clone());
        } else if *name == SET_COOKIE || is_reference_field(name.as_str()) {
            has_rewritten = true;
        }
    }
    for name in dropped {
        headers.remove(name);
    }
    // All connections share one origin. A sandboxed page has an origin of its own, so it cannot
    // read other connections' pages or install a service worker. `nosniff` keeps other content from
    // being run as a page or script.
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    has_rewritten
}

/// Replaces the value of each field of this name with the result of `rewrite`. Removes the field if
/// the result is `None`.
pub(super) fn rewrite_values(
    headers: &mut HeaderMap,
    name: &HeaderName,
    rewrite: impl FnMut(&HeaderValue) -> Option<HeaderValue>,
) {
    let rewritten: Vec<_> = headers.get_all(name).iter().filter_map(rewrite).collect();
    headers.remove(name);
    for value in rewritten {
        headers.append(name.clone(), value);
    }
}
