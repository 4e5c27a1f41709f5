//! Step one: what does the request ask for, and of which connection? Nothing is looked up before the request is unambiguous.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::code::Code;
use super::refusal::Refusal;
use crate::route::{CanonicalPath, NotCanonical};
use crate::snapshot::{Entry, Snapshot};

/// The most bytes that all fields may have together.
const MAX_FIELD_BYTES: usize = 64 * 1024;
/// The longest target, in bytes.
const MAX_TARGET_BYTES: usize = 8 * 1024;

/// A request that names a live connection with a canonical path.
pub(super) struct Call<'r> {
    pub(super) parts: &'r Parts,
    entry: Arc<Entry>,
    path: CanonicalPath<'r>,
}

impl<'r> Call<'r> {
    /// The connection.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The path behind the connection's id.
    pub(super) fn path(&self) -> CanonicalPath<'r> {
        self.path
    }
}

/// A request that could be read, and the path that it names.
pub(super) struct Addressed<'r> {
    parts: &'r Parts,
    path: CanonicalPath<'r>,
}

impl Addressed<'_> {
    /// `GET /`: the request asks which connections there are.
    pub(super) fn asks_for_connections(&self) -> bool {
        self.path.as_bytes() == b"/" && matches!(self.parts.method, Method::GET | Method::HEAD)
    }
}

/// Everything that is judged before a connection is looked up.
pub(super) fn address<'r>(
    parts: &'r Parts,
    allowed_hosts: &[String],
) -> Result<Addressed<'r>, Refusal> {
    refuse_unclear_framing(&parts.headers)?;
    refuse_other_forms(parts)?;
    refuse_long_target(parts)?;
    refuse_large_head(&parts.headers)?;
    refuse_foreign_host(&parts.headers, allowed_hosts)?;
    refuse_browsers(&parts.headers)?;
    let path = CanonicalPath::parse(parts.uri.path().as_bytes()).map_err(not_canonical)?;
    Ok(Addressed { parts, path })
}

/// Finds the connection that the first segment names.
pub(super) fn identify<'r>(
    request: &Addressed<'r>,
    snapshot: &Snapshot,
) -> Result<Call<'r>, Refusal> {
    let (id, rest) = request.path.split_first_segment();
    let live = |entry: &&Arc<Entry>| entry.connection.is_live();
    let entry = std::str::from_utf8(id)
        .ok()
        .and_then(|id| snapshot.find(id))
        .filter(live)
        .ok_or_else(unknown)?;
    let Some(path) = rest else {
        let id = &entry.connection.id;
        return Err(Refusal::new(
            Code::RouteNotAllowed,
            format!(
                "`/{id}` names a connection but no path of its API; start the path with `/{id}/`."
            ),
        )
        .listing_routes());
    };
    Ok(Call {
        parts: request.parts,
        entry: Arc::clone(entry),
        path,
    })
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::ConnectionNotFound,
        "The first path segment is the id of a connection, and none has this one. `GET /` lists the connections.",
    )
}

/// Where and why, for the agent.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(super) fn not_canonical(error: NotCanonical) -> Refusal {
    Refusal::new(
        Code::PathNotCanonical,
        format!(
            "The path is refused as it stands, never rewritten: {error}. Send the path that you mean in its plain form."
        ),
    )
}

/// hyper takes any list that ends in `chunked`, and the same coding twice (F-31). Only one reading is safe.
fn refuse_unclear_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let clear = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if clear {
        return Ok(());
    }
    Err(Refusal::new(
        Code::MalformedRequest,
        "`Transfer-Encoding` may only say `chunked`, once.",
    ))
}

/// hyper looks at its limit only between two reads, and so lets up to twice as much pass (F-43).
fn refuse_large_head(headers: &HeaderMap) -> Result<(), Refusal> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + ": \r\n".len()
    };
    if headers.iter().map(line).sum::<usize>() <= MAX_FIELD_BYTES {
        return Ok(());
    }
    Err(Refusal::new(
        Code::HeadersTooLarge,
        "The request's header fields are over 64 KiB in all.",
    ))
}

fn refuse_other_forms(parts: &Parts) -> Result<(), Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::new(
            Code::ConnectRefused,
            "egressd builds no tunnels. Use `http://<this host>/<connection id>/<path>` as the base URL instead of a proxy setting.",
        ));
    }
    if parts.uri.scheme().is_some() {
        return Err(Refusal::new(
            Code::ForwardProxyRefused,
            "The target is a whole URL, as a client with a proxy setting sends it. Use `http://<this host>/<connection id>/<path>` as the base URL and unset HTTP_PROXY.",
        ));
    }
    if parts.version != Version::HTTP_11 {
        return Err(Refusal::new(
            Code::HttpVersionRefused,
            "Speak HTTP/1.1: in HTTP/1.0 a truncated answer looks like a whole one.",
        ));
    }
    if !parts.uri.path().starts_with('/') {
        return Err(Refusal::new(
            Code::MalformedRequest,
            "The target must be a path that starts with `/`.",
        ));
    }
    let offers_websocket = parts.headers.get_all(UPGRADE).iter().any(|offer| {
        offer
            .as_bytes()
            .split(|b| *b == b',')
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if offers_websocket {
        return Err(Refusal::new(
            Code::UpgradeRefused,
            "egressd carries no WebSockets; use the API's plain HTTP routes.",
        ));
    }
    Ok(())
}

fn refuse_long_target(parts: &Parts) -> Result<(), Refusal> {
    let length = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if length <= MAX_TARGET_BYTES {
        return Ok(());
    }
    Err(Refusal::new(
        Code::TargetTooLong,
        format!("The target has {length} bytes; {MAX_TARGET_BYTES} are the most."),
    ))
}

/// A page in a browser can make it send requests here under any name that resolves to loopback; only names that nobody else controls are served.
fn refuse_foreign_host(headers: &HeaderMap, allowed_hosts: &[String]) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let malformed = || {
        Refusal::new(
            Code::MalformedRequest,
            "The request needs exactly one `Host` header, with exactly one host in it.",
        )
    };
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(malformed());
    };
    let host = host
        .to_str()
        .ok()
        .and_then(host_name)
        .ok_or_else(malformed)?;
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

fn is_local(host: &str) -> bool {
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

fn refuse_browsers(headers: &HeaderMap) -> Result<(), Refusal> {
    let foreign_site = headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"));
    if foreign_site || headers.contains_key(ORIGIN) {
        return Err(Refusal::new(
            Code::BrowserRequestRefused,
            "The request comes from a web page (`Origin` or `Sec-Fetch-Site`); pages may not use the agent's connections.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{host_name, is_local};

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
