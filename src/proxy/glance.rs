//! One look at the request's header fields, for everything that is judged before a connection is looked up.
//!
//! The fields are walked once: each look-up in a header map costs a hash, and this runs for every request.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};

use super::code::Code;
use super::refusal::Refusal;

/// The most bytes that all fields may have together.
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// What a request's fields say of its framing, its destination and its sender.
#[derive(Default)]
pub(super) struct Glance<'r> {
    bytes: usize,
    codings: Single<'r>,
    host: Single<'r>,
    offers_websocket: bool,
    of_a_page: bool,
}

/// A field that may stand there once.
#[derive(Default)]
enum Single<'r> {
    #[default]
    Absent,
    Present(&'r HeaderValue),
    Repeated,
}

impl<'r> Single<'r> {
    fn note(&mut self, value: &'r HeaderValue) {
        *self = match self {
            Self::Absent => Self::Present(value),
            Self::Present(_) | Self::Repeated => Self::Repeated,
        };
    }
}

impl<'r> Glance<'r> {
    pub(super) fn at(headers: &'r HeaderMap) -> Self {
        let mut glance = Self::default();
        for (name, value) in headers {
            glance.bytes += name.as_str().len() + value.len() + ": \r\n".len();
            if *name == HOST {
                glance.host.note(value);
            } else if *name == TRANSFER_ENCODING {
                glance.codings.note(value);
            } else if *name == UPGRADE {
                glance.offers_websocket |= names_websocket(value);
            } else if *name == ORIGIN {
                glance.of_a_page = true;
            } else if name.as_str() == "sec-fetch-site" {
                glance.of_a_page |= !matches!(value.as_bytes(), b"none" | b"same-origin");
            }
        }
        glance
    }

    /// hyper takes any list that ends in `chunked`, and the same coding twice (F-31). Only one reading is safe.
    pub(super) fn refuse_unclear_framing(&self) -> Result<(), Refusal> {
        let clear = match self.codings {
            Single::Absent => true,
            Single::Present(coding) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
            Single::Repeated => false,
        };
        if clear {
            return Ok(());
        }
        Err(Refusal::new(
            Code::MalformedRequest,
            "`Transfer-Encoding` may only say `chunked`, once.",
        ))
    }

    pub(super) fn refuse_websocket(&self) -> Result<(), Refusal> {
        if !self.offers_websocket {
            return Ok(());
        }
        Err(Refusal::new(
            Code::UpgradeRefused,
            "egressd carries no WebSockets; use the API's plain HTTP routes.",
        ))
    }

    /// hyper looks at its limit only between two reads, and so lets up to twice as much pass (F-43).
    pub(super) fn refuse_large_head(&self) -> Result<(), Refusal> {
        if self.bytes <= MAX_FIELD_BYTES {
            return Ok(());
        }
        Err(Refusal::new(
            Code::HeadersTooLarge,
            "The request's header fields are over 64 KiB in all.",
        ))
    }

    /// A page in a browser can make it send requests here under any name that resolves to loopback; only names that nobody else controls are
    /// served.
    pub(super) fn refuse_foreign_host(&self, allowed_hosts: &[String]) -> Result<(), Refusal> {
        let Single::Present(host) = self.host else {
            return Err(unclear_host());
        };
        if is_usual(host.as_bytes()) {
            return Ok(());
        }
        let host = host
            .to_str()
            .ok()
            .and_then(host_name)
            .ok_or_else(unclear_host)?;
        if is_local(host)
            || allowed_hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(host))
        {
            return Ok(());
        }
        Err(Refusal::new(
            Code::HostNotAllowed,
            "The `Host` header must be localhost, a name under `.localhost` or a loopback address; the operator can add more in `proxy.allowed_hosts`.",
        ))
    }

    pub(super) fn refuse_browsers(&self) -> Result<(), Refusal> {
        if !self.of_a_page {
            return Ok(());
        }
        Err(Refusal::new(
            Code::BrowserRequestRefused,
            "The request comes from a web page (`Origin` or `Sec-Fetch-Site`); pages may not use the agent's connections.",
        ))
    }
}

fn unclear_host() -> Refusal {
    Refusal::new(
        Code::MalformedRequest,
        "The request needs exactly one `Host` header, with exactly one host in it.",
    )
}

fn names_websocket(offer: &HeaderValue) -> bool {
    let mut names = offer.as_bytes().split(|b| *b == b',');
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
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

pub(super) fn is_local(host: &str) -> bool {
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
    use super::{host_name, is_local, is_usual};

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
}
