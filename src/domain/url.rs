//! The two URLs of a definition, `base_url` and `token_url`.
//!
//! They are parsed here by a strict grammar and never by a URL library. Libraries repair their
//! input (`https:\\h`, `0x7f.1`, full-width letters), and a repaired URL sends a credential to a
//! host that the operator did not write.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::route::CanonicalPath;

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name in lower case: letters, digits, hyphens, punycode.
    Name(Box<str>),
    /// A literal address.
    Ip(IpAddr),
}

/// A canonical URL: `https://`, host, port and path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HttpsUrl {
    host: Host,
    port: u16,
    authority: Box<str>,
    path: Box<str>,
}

/// The URL that a connection's requests are sent to. Its path does not end with a slash, so
/// appending the path of a request never creates two in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl(HttpsUrl);

/// The URL that a connection's tokens are requested from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenUrl {
    url: HttpsUrl,
    /// The path, which is at least `/`, and the query with its question mark.
    target: Box<str>,
}

/// The reason why a text is not a valid URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// The URL does not start with `https://` in lower case.
    #[error("must start with `https://`")]
    NotHttps,
    /// The URL contains `user:password@`.
    #[error("must not contain a user name or password")]
    Userinfo,
    /// The base URL contains a query.
    #[error("must not contain a query")]
    Query,
    /// The query contains bytes that RFC 3986 does not allow.
    #[error("has a query with characters that a URL cannot contain")]
    QueryBytes,
    /// The URL contains a fragment (`#…`).
    #[error("must not contain a fragment")]
    Fragment,
    /// The URL has no host.
    #[error("has no host")]
    NoHost,
    /// The host contains an upper-case letter.
    #[error("has upper-case letters in its host")]
    UpperCase,
    /// The host is neither a canonical IP address nor an ASCII DNS name.
    #[error("has a host that is neither a canonical IP address nor an ASCII DNS name")]
    Host,
    /// The host is a number that some parsers read as an IPv4 address.
    #[error("has a numeric host that is not a canonical IPv4 address")]
    NumericHost,
    /// The port is outside 1 to 65535, or not in its shortest form.
    #[error("has an invalid port")]
    Port,
    /// The path is not canonical: it contains dot segments, empty segments, encoded slashes or
    /// invalid bytes.
    #[error("has a path that is not canonical")]
    Path,
}

impl BaseUrl {
    /// Parses a base URL: `https` only, without userinfo, query or fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let mut url = HttpsUrl::parse(text)?;
        if let Some(trimmed) = url.path.strip_suffix('/') {
            url.path = trimmed.into();
        }
        Ok(Self(url))
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Returns the port, which is 443 if the URL has none.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Returns the value of `Host` and `:authority`: the host, with the port if it is not 443.
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// Returns the path that precedes the path of every request: empty, or with a slash at its
    /// start and none at its end.
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

impl TokenUrl {
    /// Parses a token URL: `https` only, without userinfo or fragment. A query is kept (RFC 6749
    /// §3.2).
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        // A question mark in a fragment does not begin a query, and a text with one before `//` is
        // not a URL. Both are left unsplit here, so that the error names the actual fault.
        let (address, query) = match text.split_once('?') {
            Some((address, query)) if !query.contains('#') => (address, Some(query)),
            Some(_) | None => (text, None),
        };
        let url = HttpsUrl::parse(address)?;
        let path = if url.path.is_empty() { "/" } else { &*url.path };
        let target = match query {
            Some(query) if !is_query(query) => return Err(InvalidUrl::QueryBytes),
            Some(query) => format!("{path}?{query}").into(),
            None => path.into(),
        };
        Ok(Self { url, target })
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.url.host
    }

    /// Returns the port, which is 443 if the URL has none.
    pub fn port(&self) -> u16 {
        self.url.port
    }

    /// Returns the value of the `Host` field.
    pub fn authority(&self) -> &str {
        &self.url.authority
    }

    /// Returns the path, which is at least `/`.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Returns the request target: the path, and the query if there is one.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl HttpsUrl {
    fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let rest = text.strip_prefix("https://").ok_or(InvalidUrl::NotHttps)?;
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        if rest.contains('?') {
            return Err(InvalidUrl::Query);
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(InvalidUrl::Userinfo);
        }
        let (host_text, port) = split_port(authority)?;
        let host = Host::parse(host_text)?;
        // RFC 9110 §4.2.3: the normal form of a URI omits the default port.
        let authority = if port == 443 {
            host_text.into()
        } else {
            format!("{host_text}:{port}").into()
        };
        Ok(Self {
            host,
            port,
            authority,
            path: check_canonical(path)?.into(),
        })
    }
}

fn check_canonical(path: &str) -> Result<&str, InvalidUrl> {
    if path.is_empty() {
        return Ok(path);
    }
    let parsed = CanonicalPath::parse(path.as_bytes()).map_err(|_| InvalidUrl::Path)?;
    if parsed.has_encoded_slash() {
        Err(InvalidUrl::Path)
    } else {
        Ok(path)
    }
}

/// Returns whether a query is valid (RFC 3986 §3.4): `pchar`, `/` and `?`, where each percent sign
/// begins an escape.
fn is_query(query: &str) -> bool {
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        let legal = match byte {
            b'%' => {
                let mut is_hex = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_hex() && is_hex()
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte),
        };
        if !legal {
            return false;
        }
    }
    true
}

fn split_port(authority: &str) -> Result<(&str, u16), InvalidUrl> {
    if authority.starts_with('[') && !authority.contains(']') {
        return Err(InvalidUrl::Host);
    }
    let colon = match authority.rfind(']') {
        Some(bracket) => authority
            .get(bracket..)
            .and_then(|tail| tail.find(':'))
            .map(|at| bracket + at),
        None => authority.find(':'),
    };
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else {
        return Ok((authority, 443));
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    match digits.parse::<u16>() {
        Ok(port) if canonical && port > 0 => Ok((host, port)),
        Ok(_) | Err(_) => Err(InvalidUrl::Port),
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.is_empty() {
            return Err(InvalidUrl::NoHost);
        }
        if let Some(inner) = text.strip_prefix('[') {
            return Self::parse_v6(inner);
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidUrl::UpperCase);
        }
        // The WHATWG URL parser reads a host as an IPv4 address if its last label is a number, also
        // in hexadecimal. Such a host must be a complete decimal address here.
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.starts_with("0x") || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
        {
            let address: Ipv4Addr = text.parse().map_err(|_| InvalidUrl::NumericHost)?;
            return Ok(Self::Ip(address.into()));
        }
        if is_dns_name(text) {
            Ok(Self::Name(text.into()))
        } else {
            Err(InvalidUrl::Host)
        }
    }

    fn parse_v6(inner: &str) -> Result<Self, InvalidUrl> {
        let literal = inner.strip_suffix(']').ok_or(InvalidUrl::Host)?;
        let address: Ipv6Addr = literal.parse().map_err(|_| InvalidUrl::Host)?;
        // Only the canonical form (RFC 5952) is accepted, so an address has one spelling.
        if address.to_string() == literal {
            Ok(Self::Ip(address.into()))
        } else {
            Err(InvalidUrl::Host)
        }
    }
}

/// Returns whether the text is a DNS name: letters, digits and hyphens in labels of 1 to 63 bytes,
/// 253 bytes in all. `xn--` labels must be valid punycode.
fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        let legal = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        legal && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    // The conversion leaves a name unchanged only if its `xn--` labels are valid and canonical.
    let punycode = || idna::domain_to_ascii_strict(text).is_ok_and(|same| same == text);
    text.len() <= 253 && text.split('.').all(label) && (!text.contains("xn--") || punycode())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.0.authority, self.0.path)
    }
}

/// Omits the query, whose values may be secrets.
impl fmt::Display for TokenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path())
    }
}

impl InvalidUrl {
    /// Returns how to correct the URL.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotHttps => {
                "write `https://` and a host; plain HTTP would send the credential in the clear"
            }
            Self::Userinfo => {
                "remove `user:password@`; configure the credential in a field such as `basic_auth`"
            }
            Self::Query => "remove `?…`; agents add query parameters to their requests",
            Self::QueryBytes => {
                "percent-encode characters that a query cannot contain: spaces, quotes, brackets, non-ASCII characters, a literal `%`"
            }
            Self::Fragment => "remove `#…`; a fragment is never sent",
            Self::NoHost => "write `https://host` with nothing between the slashes and the host",
            Self::UpperCase => "write the host in lower case",
            Self::Host => {
                "write an ASCII DNS name without a final dot (internationalised names in punycode), or a canonical IP address"
            }
            Self::NumericHost => {
                "write an IPv4 address as four decimal numbers without leading zeros"
            }
            Self::Port => "write a port from 1 to 65535 without leading zeros, or omit it for 443",
            Self::Path => {
                "write a path without `.`, `..`, `//`, `%2F`, backslashes, spaces and unescaped non-ASCII characters"
            }
        }
    }
}

#[cfg(test)]
mod tests;
