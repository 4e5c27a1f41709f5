//! The URI to which an authorization server sends the browser.

use std::fmt;

use thiserror::Error;

use crate::domain::url::TokenUrl;
use crate::route::CanonicalPath;

/// The URI to which the provider sends the browser after the consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectUri {
    /// `http://` with a loopback host, at which `login` listens (RFC 8252 section 7.3).
    Loopback(LoopbackUri),
    /// `https://`, where `login` does not listen. It works with `login --paste` only, because the
    /// person has to copy the address from the browser.
    Remote(TokenUrl),
}

/// A redirect URI at which `login` listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopbackUri {
    /// The host, as the URI has it.
    pub host: LoopbackHost,
    /// The port; `None` for any free port.
    pub port: Option<u16>,
    /// The path, which begins with a slash.
    pub path: Box<str>,
}

/// The host of a loopback redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopbackHost {
    /// `127.0.0.1`
    Ipv4,
    /// `[::1]`
    Ipv6,
    /// `localhost`, which may be either.
    Localhost,
}

/// The reason why a text is not an accepted redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRedirectUri {
    /// Neither an `https://` URI nor an `http://` URI with a loopback host.
    #[error("must be `http://127.0.0.1/…`, `http://[::1]/…`, `http://localhost/…` or `https://…`")]
    Kind,
    /// The URI has a query, a fragment or userinfo.
    #[error("must not contain a query, a fragment or a user name")]
    Extra,
    /// The port is not a number from 1 to 65535.
    #[error("has an invalid port")]
    Port,
    /// The path has characters that a URI cannot contain, or dot segments.
    #[error("has a path that is not canonical")]
    Path,
    /// The path is one that `login` serves itself.
    #[error("`/done` and `/start/` are paths that `egressd login` itself serves")]
    ReservedPath,
}

impl RedirectUri {
    const RESERVED: [&str; 2] = ["/done", "/start/"];

    /// Parses a redirect URI.
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.contains(['?', '#', '@']) {
            return Err(InvalidRedirectUri::Extra);
        }
        if text.starts_with("https://") {
            let url = TokenUrl::parse(text).map_err(|_| InvalidRedirectUri::Kind)?;
            return Ok(Self::Remote(url));
        }
        let rest = text.strip_prefix("http://");
        let rest = rest.ok_or(InvalidRedirectUri::Kind)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let hosts = [
            ("127.0.0.1", LoopbackHost::Ipv4),
            ("[::1]", LoopbackHost::Ipv6),
            ("localhost", LoopbackHost::Localhost),
        ];
        let found = hosts
            .into_iter()
            .find_map(|(name, host)| Some((host, authority.strip_prefix(name)?)));
        let (host, port) = found.ok_or(InvalidRedirectUri::Kind)?;
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(InvalidRedirectUri::Kind),
            Some(digits) => Some(parse_port(digits).ok_or(InvalidRedirectUri::Port)?),
        };
        let is_canonical = CanonicalPath::parse(path.as_bytes()).is_ok();
        if !is_canonical {
            return Err(InvalidRedirectUri::Path);
        }
        if Self::RESERVED.iter().any(|reserved| {
            path == *reserved || (path.starts_with(reserved) && reserved.ends_with('/'))
        }) {
            return Err(InvalidRedirectUri::ReservedPath);
        }
        let path = path.into();
        Ok(Self::Loopback(LoopbackUri { host, port, path }))
    }
}

impl Default for RedirectUri {
    /// Returns `http://127.0.0.1/callback`.
    fn default() -> Self {
        Self::Loopback(LoopbackUri {
            host: LoopbackHost::Ipv4,
            port: None,
            path: "/callback".into(),
        })
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(LoopbackUri { host, port, path }) => {
                write!(f, "http://{}", host.as_str())?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(path)
            }
            Self::Remote(url) => url.fmt(f),
        }
    }
}

impl LoopbackUri {
    /// Returns the URI with the port at which `login` listens.
    pub fn with_port(&self, port: u16) -> String {
        format!("http://{}:{port}{}", self.host.as_str(), self.path)
    }
}

impl LoopbackHost {
    /// Returns the host as a URI has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "127.0.0.1",
            Self::Ipv6 => "[::1]",
            Self::Localhost => "localhost",
        }
    }
}

/// Parses a port in its shortest form.
fn parse_port(digits: &str) -> Option<u16> {
    let is_shortest = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_shortest)
}

#[cfg(test)]
mod tests {
    use super::{InvalidRedirectUri, LoopbackHost, LoopbackUri, RedirectUri};

    #[test]
    fn redirect_uris() {
        let loopback = |host, port, path: &str| {
            let path = path.into();
            Ok(RedirectUri::Loopback(LoopbackUri { host, port, path }))
        };
        let parse = RedirectUri::parse;
        assert_eq!(
            parse("http://127.0.0.1/callback"),
            Ok(RedirectUri::default())
        );
        let localhost = parse("http://localhost:8765/callback");
        assert_eq!(
            localhost,
            loopback(LoopbackHost::Localhost, Some(8765), "/callback")
        );
        assert_eq!(
            parse("http://[::1]"),
            loopback(LoopbackHost::Ipv6, None, "/")
        );
        assert!(matches!(
            parse("https://app.test/callback"),
            Ok(RedirectUri::Remote(_))
        ));
        for text in [
            "http://127.0.0.1/callback",
            "http://[::1]:1/",
            "https://app.test:8443/callback",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for (bad, why) in [
            ("http://example.test/", InvalidRedirectUri::Kind),
            ("http://127.0.0.10/", InvalidRedirectUri::Kind),
            ("http://localhost.test/", InvalidRedirectUri::Kind),
            ("ftp://localhost/", InvalidRedirectUri::Kind),
            ("http://localhost:0/", InvalidRedirectUri::Port),
            ("http://localhost:/", InvalidRedirectUri::Port),
            ("http://localhost:65536/", InvalidRedirectUri::Port),
            ("http://localhost/a?b", InvalidRedirectUri::Extra),
            ("http://localhost/#", InvalidRedirectUri::Extra),
            ("http://me@localhost/", InvalidRedirectUri::Extra),
            ("http://localhost/../a", InvalidRedirectUri::Path),
            ("http://localhost/done", InvalidRedirectUri::ReservedPath),
            ("http://localhost/start/a", InvalidRedirectUri::ReservedPath),
        ] {
            assert_eq!(parse(bad), Err(why), "{bad}");
        }
    }
}
