//! Who sent a request, as far as its `Host` and its browser fields tell: the agent or the operator beside us, or a page in some browser.
//!
//! A page can make a browser send requests to loopback, under any name that it lets resolve there. So only names that nobody else controls are served, and
//! what a browser says of the page is believed.

use std::net::IpAddr;

/// Why a `Host` is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHost {
    /// It is not one host, with a port or without.
    Unclear,
    /// Somebody else may control the name.
    Foreign,
}

/// Whether a `Host` of this value is ours: localhost, a name under `.localhost`, a loopback address or one of `allowed_hosts`.
pub fn judge_host(value: &[u8], allowed_hosts: &[String]) -> Result<(), InvalidHost> {
    if is_usual(value) {
        return Ok(());
    }
    let host = std::str::from_utf8(value)
        .ok()
        .and_then(host_name)
        .ok_or(InvalidHost::Unclear)?;
    let is_allowed = |allowed: &String| allowed.eq_ignore_ascii_case(host);
    if is_local(host) || allowed_hosts.iter().any(is_allowed) {
        Ok(())
    } else {
        Err(InvalidHost::Foreign)
    }
}

/// Whether this `Sec-Fetch-Site` (W3C Fetch Metadata) is of a person's own doing or of a page of ours.
pub fn is_same_site(sec_fetch_site: &[u8]) -> bool {
    matches!(sec_fetch_site, b"none" | b"same-origin")
}

/// `127.0.0.1` or `localhost`, with a port or without: what nearly every agent says, told without a parser.
fn is_usual(host: &[u8]) -> bool {
    let rest = host
        .strip_prefix(b"127.0.0.1")
        .or_else(|| host.strip_prefix(b"localhost"));
    match rest {
        Some([]) => true,
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        Some(_) | None => false,
    }
}

/// The host of `host[:port]`, if it is one (RFC 3986 §3.2.2, without its percent escapes).
fn host_name(value: &str) -> Option<&str> {
    let (host, port) = match value.strip_prefix('[') {
        Some(inner) => {
            let end = inner.find(']')? + 2;
            value.split_at_checked(end)?
        }
        None => value.split_at_checked(value.find(':').unwrap_or(value.len()))?,
    };
    let port_is_legal =
        port.is_empty() || port.strip_prefix(':')?.bytes().all(|b| b.is_ascii_digit());
    let literal = host.starts_with('[');
    let legal = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_')
            || (literal && matches!(b, b'[' | b']' | b':'))
    };
    (port_is_legal && !host.is_empty() && host.bytes().all(legal)).then_some(host)
}

/// Whether the host is localhost, a name under `.localhost` or a loopback address, in brackets or not.
pub fn is_local(host: &str) -> bool {
    let name = |suffix: &str| {
        host.len() >= suffix.len()
            && host
                .as_bytes()
                .iter()
                .rev()
                .zip(suffix.as_bytes().iter().rev())
                .all(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    if host.eq_ignore_ascii_case("localhost")
        || (name(".localhost") && host.len() > ".localhost".len())
    {
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

#[cfg(test)]
mod tests {
    use super::{InvalidHost, host_name, is_local, is_usual, judge_host};

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
    fn a_host_is_ours_allowed_foreign_or_unclear() {
        // F-20, F-21
        let allowed = ["box.internal".to_owned()];
        for (value, judged) in [
            (&b"localhost:8081"[..], Ok(())),
            (b"[::1]:1", Ok(())),
            (b"BOX.internal:8081", Ok(())),
            (b"box.internal.example", Err(InvalidHost::Foreign)),
            (b"169.254.169.254", Err(InvalidHost::Foreign)),
            (b"localhost, localhost", Err(InvalidHost::Unclear)),
            (b"", Err(InvalidHost::Unclear)),
            (b"caf\xc3\xa9", Err(InvalidHost::Unclear)),
            (b"\xff", Err(InvalidHost::Unclear)),
        ] {
            assert_eq!(judge_host(value, &allowed), judged, "{value:?}");
        }
    }
}
