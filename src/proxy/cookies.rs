//! Rewrites `Set-Cookie` on connections with `allow_cookies`, so that a cookie stays with the
//! connection that set it.
//!
//! For agents, all connections are paths of one host. `Domain` is dropped, and `Path` is moved
//! below the prefix under which the agent reaches the connection, so that a cookie jar sends a
//! cookie back to no other connection. A cookie without `Path` gets the directory of its request
//! (RFC 6265 §5.1.4), which is below the prefix too.
//!
//! The prefix is empty for a connection that is mounted at the root of a host. Cookies do not
//! distinguish ports (RFC 6265 §8.5), so a cookie jar then sends a cookie to all ports of the host.
//!
//! A cookie whose name begins with `__Host-` is valid with `Path=/` only, which is the path of all
//! connections. It is moved like any other; agents that enforce the prefix then ignore it.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::response_fields::rewrite_values;
use crate::domain::BaseUrl;

/// Drops the domain of every `Set-Cookie`, and moves its path from below `base_url` to below
/// `prefix`, which is `/<id>` or empty.
pub(super) fn rewrite(headers: &mut HeaderMap, base_url: &BaseUrl, prefix: &str) {
    let base = base_url.path().as_bytes();
    rewrite_values(headers, &SET_COOKIE, |cookie| {
        let cookie = rewrite_cookie(cookie.as_bytes(), base, prefix.as_bytes());
        HeaderValue::from_bytes(&cookie).ok()
    });
}

/// Returns a cookie without `Domain` and with its `Path` moved from below `base` to below `prefix`.
fn rewrite_cookie(cookie: &[u8], base: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut parts = cookie.split(|b| *b == b';');
    let mut out = parts.next().unwrap_or_default().to_vec();
    for attribute in parts {
        let (name, value) = match memchr::memchr(b'=', attribute) {
            Some(at) => attribute.split_at_checked(at).unwrap_or((attribute, b"")),
            None => (attribute, &b""[..]),
        };
        let name = trimmed(name);
        if name.eq_ignore_ascii_case(b"domain") {
            continue;
        }
        if !name.eq_ignore_ascii_case(b"path") {
            out.push(b';');
            out.extend_from_slice(attribute);
            continue;
        }
        // RFC 6265 §5.2.4: a path that does not begin with a slash counts as absent.
        let path = value.strip_prefix(b"=").map(trimmed).unwrap_or_default();
        if path.starts_with(b"/") {
            out.extend_from_slice(b"; Path=");
            out.extend_from_slice(prefix);
            out.extend_from_slice(below(path, base));
        }
    }
    out
}

/// Returns a name or value without the characters that some client strips as whitespace. Python's
/// cookie jar also strips U+00A0 and U+0085.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && !first.is_ascii_graphic()
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && !last.is_ascii_graphic()
    {
        text = rest;
    }
    text
}

/// Returns the part of a path below the base URL's own path, or `/` if the path is outside.
fn below<'p>(path: &'p [u8], base: &[u8]) -> &'p [u8] {
    match path.strip_prefix(base) {
        Some(rest) if rest.starts_with(b"/") => rest,
        Some(_) | None => b"/",
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite_cookie;

    #[test]
    fn a_cookie_is_moved_below_its_connection() {
        // F-235
        for (cookie, base, expected) in [
            ("a=b", "", "a=b"),
            ("a=b; Path=/", "", "a=b; Path=/crm/"),
            ("a=b; Path=/x; HttpOnly", "", "a=b; Path=/crm/x; HttpOnly"),
            ("a=b;path=/x;Secure", "", "a=b; Path=/crm/x;Secure"),
            ("a=b; PATH = /x ", "", "a=b; Path=/crm/x"),
            ("a=b; \u{a0}Path\u{85}=\u{a0}/erp", "", "a=b; Path=/crm/erp"),
            ("a=b; \u{a0}Domain=localhost", "", "a=b"),
            ("a=b; Path=/v1/x", "/v1", "a=b; Path=/crm/x"),
            ("a=b; Path=/v1", "/v1", "a=b; Path=/crm/"),
            ("a=b; Path=/v1/", "/v1", "a=b; Path=/crm/"),
            ("a=b; Path=/", "/v1", "a=b; Path=/crm/"),
            ("a=b; Path=/v10/x", "/v1", "a=b; Path=/crm/"),
            ("a=b; Path=/other", "/v1", "a=b; Path=/crm/"),
            ("a=b; Path=", "", "a=b"),
            ("a=b; Path", "", "a=b"),
            ("a=b; Path=x", "", "a=b"),
            ("a=b; Domain=example.com; Path=/", "", "a=b; Path=/crm/"),
            ("a=b; domain=.localhost", "", "a=b"),
            ("a=b; Domain", "", "a=b"),
            (
                "a=b; Path=/x; Path=/erp",
                "",
                "a=b; Path=/crm/x; Path=/crm/erp",
            ),
            ("Path=/erp; Secure", "", "Path=/erp; Secure"),
            (
                "__Host-a=b; Secure; Path=/",
                "",
                "__Host-a=b; Secure; Path=/crm/",
            ),
            (
                "a=b=c; Max-Age=1; SameSite=Lax",
                "",
                "a=b=c; Max-Age=1; SameSite=Lax",
            ),
        ] {
            let moved = rewrite_cookie(cookie.as_bytes(), base.as_bytes(), b"/crm");
            assert_eq!(String::from_utf8(moved).unwrap(), expected, "{cookie}");
            // At the root of a host, the same cookie without the prefix.
            let mounted = rewrite_cookie(cookie.as_bytes(), base.as_bytes(), b"");
            let expected = expected.replace("Path=/crm/", "Path=/");
            assert_eq!(String::from_utf8(mounted).unwrap(), expected, "{cookie}");
        }
    }
}
