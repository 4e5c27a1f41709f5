//! Reads the authorities of references: which host every client takes from one, and whether it may
//! be egressd itself.

use http::header::HOST;

use super::ReferenceContext;
use crate::domain::BaseUrl;
use crate::domain::caller::is_local;

impl ReferenceContext<'_> {
    /// Returns whether a reference may name egressd itself. The scheme makes no difference: egressd
    /// does not accept TLS, but a proxy before it may. `whole` is the reference with its query.
    pub(super) fn leads_back(&self, authority: &[u8], whole: &[u8]) -> bool {
        // Some old clients took `?` and `#` as part of the authority, up to the next slash
        // (CVE-2016-8624).
        let start = memchr::memmem::find(whole, b"//").map_or(0, |at| at + 2);
        let (longer, _) = split_at_any(whole.get(start..).unwrap_or_default(), b"/");
        self.may_name_egressd(authority)
            || (longer.contains(&b'@') && self.may_name_egressd(longer))
    }

    /// Returns whether some client could reach egressd under an authority.
    fn may_name_egressd(&self, authority: &[u8]) -> bool {
        let Ok(authority) = std::str::from_utf8(without_userinfo(authority)) else {
            return true;
        };
        let agent_host = self.parts.headers.get(HOST);
        let agent_host = agent_host.and_then(|host| host.to_str().ok()).unwrap_or("");
        let (host, port) = host_and_port(authority);
        // If ports are mapped, the agent uses another port than egressd listens on.
        let may_be_own_port =
            |port| (self.is_own_port)(port) || host_and_port(agent_host).1 == Some(port);
        let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(host);
        authority.eq_ignore_ascii_case(agent_host)
            || ((may_be_local(host) || self.allowed_hosts.iter().any(is_allowed))
                && port.is_none_or(may_be_own_port))
    }
}

/// Returns an authority without its userinfo.
fn without_userinfo(authority: &[u8]) -> &[u8] {
    let at = authority.iter().rposition(|b| *b == b'@');
    authority
        .get(at.map_or(0, |at| at + 1)..)
        .unwrap_or_default()
}

/// Returns whether every URL parser takes the same host from an authority.
pub(super) fn is_clear(authority: &[u8]) -> bool {
    let host = without_userinfo(authority);
    let is_odd = |b: &u8| b" \"<>\\^`{|}".contains(b);
    // URL parsers differ in which of several `@` ends the userinfo, and in whether they decode
    // escapes in a host.
    !host.is_empty()
        && !authority.iter().any(is_odd)
        && !host.contains(&b'%')
        && memchr::memchr_iter(b'@', authority).count() <= 1
}

/// Returns whether the authority of an `https` reference is the base URL's: the host without regard
/// to upper and lower case, port 443 written or not, and no userinfo.
pub(super) fn is_same(authority: &[u8], base_url: &BaseUrl) -> bool {
    let own = base_url.authority().as_bytes();
    authority.eq_ignore_ascii_case(own)
        || (base_url.port() == 443
            && authority
                .strip_suffix(b":443")
                .is_some_and(|host| host.eq_ignore_ascii_case(own)))
}

/// Returns whether the authority of an `http` reference is the base URL's host. Servers behind a
/// proxy that ends TLS often write `http://`, with port 80 or with the port of the request.
pub(super) fn is_same_without_tls(authority: &[u8], base_url: &BaseUrl) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else {
        return false;
    };
    let (host, port) = host_and_port(authority);
    let (own, _) = host_and_port(base_url.authority());
    host.eq_ignore_ascii_case(own) && port.is_some_and(|port| port == 80 || port == base_url.port())
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

/// Splits before the first occurrence of any of these bytes.
pub(super) fn split_at_any<'a>(bytes: &'a [u8], any: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = bytes
        .iter()
        .position(|b| any.contains(b))
        .unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, b""))
}
