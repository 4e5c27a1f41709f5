//! Checks the `Host` and the browser headers of a request, to distinguish the agent and the
//! operator from a web page in a browser.
//!
//! A page can make a browser send requests to loopback, under any name that the page's owner lets
//! resolve to it (DNS rebinding). So only names that no third party can control are served.
//! Browsers do not let a page change the fields that describe it, so these are trusted.

use std::net::IpAddr;

/// The reason why a `Host` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHost {
    /// The value is not one host with an optional port.
    Unclear,
    /// A third party may control the name.
    Foreign,
}

/// A host that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedHost<'h> {
    /// localhost or a loopback address: a trustworthy origin to browsers (W3C Secure Contexts
    /// §3.1), so they send `Sec-Fetch-Site`.
    Local,
    /// A name under `.localhost`, which is trustworthy too. Holds the part before `.localhost`.
    LocalName(&'h str),
    /// A name of `allowed_hosts`. Over plain HTTP browsers send no Fetch Metadata to it.
    Allowed,
}

/// Checks that the value of a `Host` field is served: localhost, a name under `.localhost`, a
/// loopback address, or one of `allowed_hosts`.
pub fn check_host<'h>(
    value: &'h [u8],
    allowed_hosts: &[String],
) -> Result<ServedHost<'h>, InvalidHost> {
    if is_usual(value) {
        return Ok(ServedHost::Local);
    }
    let host = std::str::from_utf8(value)
        .ok()
        .and_then(host_name)
        .ok_or(InvalidHost::Unclear)?;
    let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(host);
    if let Some(name) = name_under_localhost(host) {
        Ok(ServedHost::LocalName(name))
    } else if is_local(host) {
        Ok(ServedHost::Local)
    } else if allowed_hosts.iter().any(is_allowed) {
        Ok(ServedHost::Allowed)
    } else {
        Err(InvalidHost::Foreign)
    }
}

/// Returns whether a `Referer` (RFC 9110 §10.1.3) names another host than this `Host` header.
///
/// The port makes no difference. A partial URI names no host.
pub fn is_foreign_referer(referer: &[u8], host: &[u8]) -> bool {
    let host_of = |value| std::str::from_utf8(value).ok().and_then(host_name);
    let Some(at) = memchr::memmem::find(referer, b"://") else {
        return false;
    };
    let authority = referer.get(at + 3..).unwrap_or_default();
    // Browsers end the authority at a backslash too (WHATWG URL, special schemes).
    let end = authority
        .iter()
        .position(|b| matches!(b, b'/' | b'\\' | b'?' | b'#'));
    let authority = authority.get(..end.unwrap_or(authority.len()));
    match (authority.and_then(host_of), host_of(host)) {
        (Some(referring), Some(own)) => !referring.eq_ignore_ascii_case(own),
        _ => true,
    }
}

/// Returns whether a `Sec-Fetch-Site` value (W3C Fetch Metadata) means that a person caused the
/// request directly, or a page of egressd did.
pub fn is_same_site(sec_fetch_site: &[u8]) -> bool {
    matches!(sec_fetch_site, b"none" | b"same-origin")
}

/// Returns whether the value is `127.0.0.1` or `localhost` with an optional port. Nearly all agents
/// send one of these, so the parser is skipped for them.
fn is_usual(host: &[u8]) -> bool {
    let rest = host
        .strip_prefix(b"127.0.0.1")
        .or_else(|| host.strip_prefix(b"localhost"));
    match rest {
        Some([]) => true,
        Some([b':', port @ ..]) => is_port(port),
        Some(_) | None => false,
    }
}

/// Returns whether the text is at most five digits. The length is limited because responses repeat
/// the value.
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// The length of the longest DNS name (RFC 1035 §2.3.4), without its final dot.
const LONGEST_HOST: usize = 253;

/// Returns the host of `host[:port]`, if the text is valid (RFC 3986 §3.2.2, without percent
/// escapes).
fn host_name(value: &str) -> Option<&str> {
    let (host, port) = match value.strip_prefix('[') {
        Some(inner) => {
            let end = inner.find(']')? + 2;
            value.split_at_checked(end)?
        }
        None => value.split_at_checked(value.find(':').unwrap_or(value.len()))?,
    };
    let port_is_legal = port.is_empty() || is_port(port.strip_prefix(':')?.as_bytes());
    let literal = host.starts_with('[');
    let legal = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_')
            || (literal && matches!(b, b'[' | b']' | b':'))
    };
    let length_is_legal = (1..=LONGEST_HOST).contains(&host.len());
    (port_is_legal && length_is_legal && host.bytes().all(legal)).then_some(host)
}

/// Returns whether the host is localhost, a name under `.localhost` or a loopback address, with or
/// without brackets.
pub fn is_local(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") || name_under_localhost(host).is_some() {
        return true;
    }
    let literal = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    literal
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the part of a host name before `.localhost`. Such names always mean loopback (RFC 6761
/// §6.3), so no third party controls them.
fn name_under_localhost(host: &str) -> Option<&str> {
    let at = host.len().checked_sub(".localhost".len())?;
    let (name, suffix) = host.split_at_checked(at)?;
    (!name.is_empty() && suffix.eq_ignore_ascii_case(".localhost")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{
        InvalidHost, ServedHost, check_host, host_name, is_foreign_referer, is_local, is_usual,
    };

    #[test]
    fn hosts() {
        // F-20, F-21
        for (value, host) in [
            ("localhost", Some("localhost")),
            ("127.0.0.1:8080", Some("127.0.0.1")),
            ("[::1]:8080", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("a, b", None),
            ("u@x", None),
            ("x/y", None),
            ("", None),
            (":80", None),
            ("a:b", None),
            ("[::1", None),
            ("[::1]x", None),
            ("a:1:2", None),
        ] {
            assert_eq!(host_name(value), host, "{value}");
        }
        for usual in ["localhost", "127.0.0.1:8080", "localhost:1", "127.0.0.1:"] {
            assert!(
                is_usual(usual.as_bytes()) && is_local(host_name(usual).unwrap()),
                "{usual}"
            );
        }
        for unusual in [
            "localhost.",
            "127.0.0.1x",
            "127.0.0.1:x",
            "127.0.0.10",
            "localhost:1:2",
            "",
        ] {
            assert!(!is_usual(unusual.as_bytes()), "{unusual}");
        }
        for local in [
            "localhost",
            "LOCALHOST",
            "crm.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "example.com",
            ".localhost",
            "xlocalhost",
            "localhost.example.com",
            "10.0.0.1",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_host_is_at_most_as_long_as_a_dns_name() {
        // F-20: the listing for agents repeats the host for each connection.
        let of_length = |length: usize| format!("{}.localhost", "a".repeat(length - 10));
        let longest = of_length(253);
        let judged = check_host(longest.as_bytes(), &[]);
        assert_eq!(judged, Ok(ServedHost::LocalName(&"a".repeat(243))));
        for long in [
            of_length(254),
            of_length(60_000),
            format!("localhost:{}", "1".repeat(6)),
            format!("127.0.0.1:{}", "0".repeat(60_000)),
            format!("[::1]:{}", "0".repeat(60_000)),
        ] {
            let judged = check_host(long.as_bytes(), &[]);
            assert_eq!(judged, Err(InvalidHost::Unclear), "{long:.40}");
        }
    }

    #[test]
    fn a_host_is_local_allowed_foreign_or_unclear() {
        // F-20, F-21
        let allowed = ["box.internal".to_owned()];
        for (value, judged) in [
            (&b"localhost:8081"[..], Ok(ServedHost::Local)),
            (b"[::1]:1", Ok(ServedHost::Local)),
            (b"crm.localhost", Ok(ServedHost::LocalName("crm"))),
            (b"a.Crm.LOCALHOST:80", Ok(ServedHost::LocalName("a.Crm"))),
            (b".localhost", Err(InvalidHost::Foreign)),
            (b"crm.localhost.", Err(InvalidHost::Foreign)),
            (b"BOX.internal:8081", Ok(ServedHost::Allowed)),
            (b"box.internal.example", Err(InvalidHost::Foreign)),
            (b"169.254.169.254", Err(InvalidHost::Foreign)),
            (b"localhost, localhost", Err(InvalidHost::Unclear)),
            (b"", Err(InvalidHost::Unclear)),
            (b"caf\xc3\xa9", Err(InvalidHost::Unclear)),
            (b"\xff", Err(InvalidHost::Unclear)),
        ] {
            assert_eq!(check_host(value, &allowed), judged, "{value:?}");
        }
    }

    #[test]
    fn a_referer_of_another_host_is_foreign() {
        // F-236
        for (referer, foreign) in [
            ("http://box.internal:8080/crm/x", false),
            ("http://BOX.internal", false),
            ("https://box.internal:3000/?q=http://evil.com", false),
            ("/crm/x", false),
            ("about:blank", false),
            ("", false),
            ("http://evil.com/", true),
            ("https://evil.com?box.internal", true),
            ("http://box.internal.evil.com/", true),
            ("http://box.internal@evil.com/", true),
            ("http:///", true),
        ] {
            let judged = is_foreign_referer(referer.as_bytes(), b"box.internal:8080");
            assert_eq!(judged, foreign, "{referer}");
        }
    }
}
