//! Rewrites `Location` and `Content-Location`, so that a reference that an agent follows stays
//! inside the connection or visibly leaves it.
//!
//! A reference is resolved against the request's upstream URL (RFC 3986 §5.2). Inside the base URL
//! it becomes `/<id>/…`, or `/…` if the connection is at the root. Everywhere else, and wherever a
//! client might normalise the path into something else, it becomes the absolute upstream URL, which
//! no agent can follow through egressd.
//! Two kinds of references are dropped: those that name egressd itself, which could only lead into
//! another connection, and those whose host depends on the parser. RFC 3986 and the URL Standard
//! (<https://url.spec.whatwg.org/>) disagree about backslashes, missing slashes and control
//! characters.

use http::header::{CONTENT_LOCATION, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::domain::Connection;
use crate::domain::caller::is_local;
use crate::proxy::response_fields::rewrite_values;
use crate::route::CanonicalPath;
use crate::upstream::Client;

/// The request that the references of its response are relative to.
pub(in crate::proxy) struct ReferenceRewriter<'a> {
    pub(in crate::proxy) connection: &'a Connection,
    /// The agent's request.
    pub(in crate::proxy) parts: &'a Parts,
    /// The path of that request, without the prefix.
    pub(in crate::proxy) path: &'a [u8],
    /// The prefix under which the agent sees the connection: `/<id>`, or nothing if it is mounted
    /// at the root.
    pub(in crate::proxy) prefix: &'a str,
    /// The client, which has the ports that egressd itself listens on.
    pub(in crate::proxy) client: &'a Client,
    /// The host names of egressd itself, besides loopback.
    pub(in crate::proxy) allowed_hosts: &'a [String],
}

impl ReferenceRewriter<'_> {
    /// Rewrites all values of both fields.
    pub(in crate::proxy) fn rewrite(&self, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            rewrite_values(headers, &name, |value| self.rewrite_reference(value));
        }
    }

    /// Returns the value for the agent, or `None` if the field is dropped.
    fn rewrite_reference(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let connection = self.connection;
        let authority = connection.base_url.authority();
        let whole = value.as_bytes();
        let (reference, suffix) = split_at_any(whole, b"?#");
        // The URL Standard removes tabs and line breaks anywhere, and control characters and spaces
        // at the start.
        if whole.iter().any(u8::is_ascii_control) || whole.starts_with(b" ") {
            return None;
        }
        // A reference with an unclear host must not reach the agent in any form (F-237).
        let target = match Reference::parse(reference)? {
            Reference::Absolute { authority, path } | Reference::Network { authority, path }
                if is_same(authority, connection) =>
            {
                if path.is_empty() { b"/" } else { path }.to_vec()
            }
            Reference::PlainHttp(authority) if self.leads_back(authority, whole) => return None,
            Reference::Absolute { .. } | Reference::PlainHttp(_) | Reference::OtherScheme => {
                return Some(value.clone());
            }
            Reference::Network { authority, path } => {
                let absolute = [b"https://", authority, path, suffix].concat();
                return HeaderValue::from_bytes(&absolute).ok();
            }
            Reference::Path(absolute) if absolute.starts_with(b"/") => absolute.to_vec(),
            Reference::Path(relative) => {
                merge_paths(connection.base_url.path().as_bytes(), self.path, relative)
            }
        };
        let target = without_dot_segments(&target);
        let query = self.inherited_query(reference, suffix);
        let local = path_below_base(&target, connection)
            .map(|rest| [self.prefix.as_bytes(), rest, &query, suffix].concat());
        let rewritten = local.unwrap_or_else(|| {
            [b"https://", authority.as_bytes(), &target, &query, suffix].concat()
        });
        HeaderValue::from_bytes(&rewritten).ok()
    }

    /// Returns the query of the request, if the reference has neither path nor query and so
    /// inherits it (RFC 3986 §5.2.2).
    fn inherited_query(&self, reference: &[u8], suffix: &[u8]) -> Vec<u8> {
        let own = self.parts.uri.query().filter(|_| reference.is_empty());
        own.filter(|_| !suffix.starts_with(b"?"))
            .map_or_else(Vec::new, |query| [b"?", query.as_bytes()].concat())
    }

    /// Returns whether an `http` reference may name egressd itself. `whole` is the reference with
    /// its query.
    fn leads_back(&self, authority: &[u8], whole: &[u8]) -> bool {
        // Some old clients took `?` and `#` as part of the authority, up to the next slash
        // (CVE-2016-8624).
        let start = memchr::memmem::find(whole, b"//").map_or(0, |at| at + 2);
        let (longer, _) = split_at_any(whole.get(start..).unwrap_or_default(), b"/");
        self.names_us(authority) || (longer.contains(&b'@') && self.names_us(longer))
    }

    fn names_us(&self, authority: &[u8]) -> bool {
        let Ok(authority) = std::str::from_utf8(behind_userinfo(authority)) else {
            return true;
        };
        let agents = self.parts.headers.get(HOST);
        let agents = agents.and_then(|host| host.to_str().ok()).unwrap_or("");
        let (host, port) = host_and_port(authority);
        // If ports are mapped, the agent uses another port than egressd listens on.
        let is_ours =
            |port| self.client.has_listener_on(port) || host_and_port(agents).1 == Some(port);
        let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(host);
        authority.eq_ignore_ascii_case(agents)
            || ((may_be_local(host) || self.allowed_hosts.iter().any(is_allowed))
                && port.is_none_or(is_ours))
    }
}

/// Returns an authority without its userinfo.
fn behind_userinfo(authority: &[u8]) -> &[u8] {
    let at = authority.iter().rposition(|b| *b == b'@');
    authority
        .get(at.map_or(0, |at| at + 1)..)
        .unwrap_or_default()
}

/// Returns whether every URL parser takes the same host from an authority.
fn is_clear(authority: &[u8]) -> bool {
    let host = behind_userinfo(authority);
    let is_odd = |b: &u8| b" \"<>\\^`{|}".contains(b);
    // URL parsers differ in which of several `@` ends the userinfo, and in whether they decode
    // escapes in a host.
    !host.is_empty()
        && !authority.iter().any(is_odd)
        && !host.contains(&b'%')
        && memchr::memchr_iter(b'@', authority).count() <= 1
}

/// Splits an authority into host and port. The port defaults to 80, and is `None` if it is not a
/// valid number.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, "")) => (host, Some(80)),
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        Some(_) | None => (authority, Some(80)),
    }
}

/// Returns whether some client could treat the host as a loopback address. Only plain names and
/// plain addresses other than loopback are certain not to be: clients also accept forms such as
/// `2130706433` and `127.1`.
fn may_be_local(host: &str) -> bool {
    if is_local(host) {
        return true;
    }
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = literal.unwrap_or(host).parse::<std::net::IpAddr>() {
        // Linux connects to the unspecified address (`0.0.0.0`, `::`) as to loopback.
        return address.to_canonical().is_unspecified();
    }
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !host.bytes().all(is_plain)
        || last.is_none_or(|label| !label.starts_with(|c: char| c.is_ascii_alphabetic()))
        || is_local(host.trim_end_matches('.'))
}

enum Reference<'a> {
    /// `https://authority/path`
    Absolute { authority: &'a [u8], path: &'a [u8] },
    /// `http://authority/path`; holds the authority.
    PlainHttp(&'a [u8]),
    /// `data:…`
    OtherScheme,
    /// `//authority/path`
    Network { authority: &'a [u8], path: &'a [u8] },
    /// An absolute or relative path, maybe empty.
    Path(&'a [u8]),
}

impl<'a> Reference<'a> {
    /// Parses a reference without its query. `None` if URL parsers disagree about its host.
    fn parse(reference: &'a [u8]) -> Option<Self> {
        let (before, rest) = split_at_any(reference, b":/");
        let is_scheme = before.first().is_some_and(u8::is_ascii_alphabetic)
            && before
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if is_scheme && let Some(rest) = rest.strip_prefix(b":") {
            let plain = before.eq_ignore_ascii_case(b"http");
            if !plain && !before.eq_ignore_ascii_case(b"https") {
                return Some(Self::OtherScheme);
            }
            let (authority, path) = split_at_any(rest.strip_prefix(b"//")?, b"/");
            return is_clear(authority).then_some(if plain {
                Self::PlainHttp(authority)
            } else {
                Self::Absolute { authority, path }
            });
        }
        match reference {
            [b'/', b'/', rest @ ..] => {
                let (authority, path) = split_at_any(rest, b"/");
                is_clear(authority).then_some(Self::Network { authority, path })
            }
            // In the URL Standard a backslash equals a slash.
            [b'\\', ..] | [b'/', b'\\', ..] => None,
            _ => Some(Self::Path(reference)),
        }
    }
}

/// Returns whether an authority is the connection's own: the host without regard to upper and lower
/// case, port 443 written or not, and no userinfo.
fn is_same(authority: &[u8], connection: &Connection) -> bool {
    let own = connection.base_url.authority().as_bytes();
    authority.eq_ignore_ascii_case(own)
        || (connection.base_url.port() == 443
            && authority
                .strip_suffix(b":443")
                .is_some_and(|host| host.eq_ignore_ascii_case(own)))
}

/// Replaces the last segment of the request's path by a relative path (RFC 3986 §5.2.3).
fn merge_paths(base: &[u8], path: &[u8], relative: &[u8]) -> Vec<u8> {
    let mut merged = [base, path].concat();
    if !relative.is_empty() {
        let slash = merged.iter().rposition(|b| *b == b'/');
        merged.truncate(slash.map_or(0, |at| at + 1));
        merged.extend_from_slice(relative);
    }
    merged
}

/// Removes dot segments from a path that starts with a slash (RFC 3986 §5.2.4).
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut output: Vec<&[u8]> = Vec::new();
    let mut segments = path
        .strip_prefix(b"/")
        .unwrap_or(path)
        .split(|b| *b == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    output.pop();
                }
                if last {
                    output.push(b"");
                }
            }
            _ => output.push(segment),
        }
    }
    let mut joined = Vec::with_capacity(path.len());
    for segment in output {
        joined.push(b'/');
        joined.extend_from_slice(segment);
    }
    joined
}

/// Returns the part of a path after the base URL's path. `None` if the path is outside, or if some
/// client could normalise it into another one.
fn path_below_base<'t>(target: &'t [u8], connection: &Connection) -> Option<&'t [u8]> {
    let rest = target.strip_prefix(connection.base_url.path().as_bytes())?;
    let canonical = CanonicalPath::parse(rest)
        .is_ok_and(|path| connection.allow_encoded_slash || !path.has_encoded_slash());
    canonical.then_some(rest)
}

/// Splits before the first occurrence of any of these bytes.
fn split_at_any<'a>(bytes: &'a [u8], any: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = bytes
        .iter()
        .position(|b| any.contains(b))
        .unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, b""))
}
