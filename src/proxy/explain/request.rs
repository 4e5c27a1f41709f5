//! Parses the request that an operator writes, as curl and hyper would parse it.

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use thiserror::Error;

use super::super::identify::{not_canonical, target_too_long};
use super::super::listener::Listener;
use super::super::refusal::Refusal;
use crate::domain::caller::{self, ServedHost};
use crate::domain::query::escape_query;
use crate::route::CanonicalPath;
use crate::server::{MAX_FIELDS, WrittenTarget};

/// The longest target that hyper parses, in bytes. It answers a longer one with 414 itself.
const MAX_URI_BYTES: usize = 65_534;

/// The longest name of a header, in bytes. hyper answers a longer one with 431 itself.
const MAX_NAME_BYTES: usize = 65_535;

/// The port of an `https://` URL without one (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// The reason why the arguments do not describe a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    /// The method is not an HTTP token (RFC 9110 §9.1).
    #[error("the method is not a valid HTTP token; write one such as GET")]
    Method,
    /// The target is neither a path nor an `http://` URL that hyper could parse.
    #[error(
        "the target is neither a path nor an http:// URL of this proxy; begin with `/`, as in `/<connection id>/<path>`"
    )]
    Target,
    /// The target is an `https://` URL of this proxy, which serves plain HTTP.
    #[error("agents reach egressd over plain HTTP; write `http://` instead of `https://`")]
    Https,
    /// The target is an `https://` URL of this machine with a port that egressd does not listen on,
    /// such as the URL of a local API.
    #[error(
        "that is not a URL of egressd; write what the agent sends, such as `/<connection id>/<path>`"
    )]
    ForeignPort,
    /// A header is not valid. `number` counts the headers from 1.
    #[error("header {number} (`-H`) {fault}")]
    Header {
        /// The number of the header, from 1.
        number: usize,
        /// The reason.
        fault: HeaderFault,
    },
    /// There are more headers than hyper accepts.
    #[error(
        "a request may have at most {MAX_FIELDS} headers, including Host; egressd rejects more with status 431"
    )]
    TooManyHeaders,
    /// A header describes a body, but the explained request has none.
    #[error(
        "a request is explained without a body; leave out Content-Length and Transfer-Encoding"
    )]
    Body,
    /// The query has a character that must be percent-encoded.
    #[error("the query has a character that must be percent-encoded; write a space as `%20`")]
    Query,
}

/// The reason why a text is not a header. The message must not contain the text, which may hold a
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// The text has no colon.
    #[error("has no colon; write `NAME: VALUE`, or `NAME;` for an empty value")]
    NoColon,
    /// The text is `@FILE`, with which curl reads headers from a file.
    #[error("names a file, which is not supported; write each header as `-H 'NAME: VALUE'`")]
    File,
    /// The name is empty.
    #[error("has no name; write `NAME: VALUE`")]
    NoName,
    /// The name has a space or a tab, or one stands before the colon.
    #[error("has a blank in its name or before the colon; write `NAME: VALUE`")]
    BlankInName,
    /// The name has another character that is not allowed (RFC 9110 §5.6.2).
    #[error("has a character in its name that is not allowed; use letters, digits and `-`")]
    Name,
    /// The name is longer than hyper accepts.
    #[error("has a name of more than {MAX_NAME_BYTES} bytes; egressd answers it with 431")]
    LongName,
    /// The value has a control character (RFC 9110 §5.5).
    #[error("has a line break or another control character in its value; remove it")]
    Value,
}

/// A request as an operator writes it.
#[derive(Clone, Copy, Debug)]
pub struct RequestInput<'a> {
    /// The method, such as `GET`.
    pub method: &'a str,
    /// The target as an agent writes it: `/id/path` or `http://127.0.0.1:8080/id/path`.
    pub target: &'a str,
    /// Headers, each as curl's `-H` takes it: `NAME: VALUE`, or `NAME;` for an empty value. curl
    /// sends no header for `NAME:`.
    pub headers: &'a [String],
}

/// The addresses at which agents reach the proxy.
#[derive(Clone, Copy)]
pub struct ServedAddresses<'a> {
    /// The listener that the request arrives on.
    pub listener: &'a Listener,
    /// The setting `mcp.enabled`.
    pub serves_mcp: bool,
    /// The TCP ports of all listeners for agents. Port 0 is one that the system chooses.
    pub ports: &'a [u16],
}

impl ServedAddresses<'_> {
    fn has_port(self, port: u16) -> bool {
        self.ports.iter().any(|own| *own == port || *own == 0)
    }
}

/// Parses a request. For a target that hyper would refuse with an empty body, returns a refusal
/// with the same status: the target is too long, or the path is not canonical.
pub(super) fn parse_request(
    request: RequestInput<'_>,
    served: ServedAddresses<'_>,
) -> Result<Result<Parts, Refusal>, InvalidRequest> {
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| InvalidRequest::Method)?;
    // Clients never send a fragment (RFC 9110 §7.1).
    let target = request.target.split('#').next().unwrap_or_default();
    if target.is_empty() {
        return Err(InvalidRequest::Target);
    }
    let (host, path) = match target.strip_prefix("http://") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, path) = rest.split_at_checked(end).ok_or(InvalidRequest::Target)?;
            // Clients send `/` for an empty path, also before a query (RFC 9112 §3.2.1).
            let slash = if path.starts_with('/') { "" } else { "/" };
            (host, format!("{slash}{path}"))
        }
        None => ("localhost", target.to_owned()),
    };
    let path = path.as_str();
    refuse_own_host_over_https(request.target, served)?;
    let host = HeaderValue::from_str(host).map_err(|_| InvalidRequest::Target)?;
    let headers = parse_headers(request.headers, host)?;
    // A query is treated as in `head_refusals::replace_query`.
    let escaped = escape_query(path);
    let Ok(uri) = Uri::try_from(escaped.as_deref().unwrap_or(path)) else {
        if path.len() > MAX_URI_BYTES {
            return Ok(Err(target_too_long(path.len())));
        }
        let path = path.split('?').next().unwrap_or_default();
        if !path.starts_with('/') {
            return Err(InvalidRequest::Target);
        }
        return match CanonicalPath::parse(path.as_bytes()) {
            Err(error) => Ok(Err(not_canonical(error))),
            Ok(_) => Err(InvalidRequest::Query),
        };
    };
    // `crm` without a slash is parsed as an authority, which only CONNECT sends (RFC 9112 §3.2.3).
    let is_authority = uri.scheme().is_none() && uri.authority().is_some();
    if is_authority && method != Method::CONNECT {
        return Err(InvalidRequest::Target);
    }
    let mut parsed = Request::new(());
    *parsed.method_mut() = method;
    *parsed.uri_mut() = uri;
    *parsed.headers_mut() = headers;
    if escaped.is_some() {
        parsed.extensions_mut().insert(WrittenTarget(path.into()));
    }
    Ok(Ok(parsed.into_parts().0))
}

/// Refuses an `https://` URL of egressd itself. A client with such a base URL fails in its TLS
/// handshake, so there is no request to explain. Any other `https://` URL is explained as a request
/// to a forward proxy.
fn refuse_own_host_over_https(
    target: &str,
    served: ServedAddresses<'_>,
) -> Result<(), InvalidRequest> {
    let Some(rest) = target.strip_prefix("https://") else {
        return Ok(());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    match caller::check_host(authority.as_bytes(), &served.listener.allowed_hosts) {
        // On loopback, another port is most likely that of a local API. Port 0 stands for any.
        Ok(ServedHost::Local | ServedHost::LocalName(_))
            if served.has_port(port.unwrap_or(HTTPS_PORT)) =>
        {
            Err(InvalidRequest::Https)
        }
        Ok(ServedHost::Local | ServedHost::LocalName(_)) => Err(InvalidRequest::ForeignPort),
        // A container or a Service may publish egressd under this name with any port.
        Ok(ServedHost::Allowed) => Err(InvalidRequest::Https),
        Err(_) => Ok(()),
    }
}

/// Parses the headers, and adds `host` if they have no Host.
fn parse_headers(texts: &[String], host: HeaderValue) -> Result<HeaderMap, InvalidRequest> {
    let mut headers = HeaderMap::new();
    let mut sends_host = true;
    for (number, text) in (1..).zip(texts) {
        let parsed = parse_header(text);
        match parsed.map_err(|fault| InvalidRequest::Header { number, fault })? {
            // A map panics if it gets tens of thousands of headers.
            (name, Some(value)) if headers.len() <= MAX_FIELDS => {
                headers.append(name, value);
            }
            (_, Some(_)) => {}
            (name, None) => sends_host &= name != HOST,
        }
    }
    if sends_host {
        headers.entry(HOST).or_insert(host);
    }
    if headers.len() > MAX_FIELDS {
        return Err(InvalidRequest::TooManyHeaders);
    }
    Ok(headers)
}

/// Parses a header as curl's `-H` does. The value is `None` for `NAME:`, which curl does not send,
/// not even if it would add the header itself (curl(1)).
fn parse_header(text: &str) -> Result<(HeaderName, Option<HeaderValue>), HeaderFault> {
    let blanks = [' ', '\t'];
    let (name, value) = match (text.split_once(':'), text.trim_end().strip_suffix(';')) {
        (Some((name, value)), _) => (
            name,
            Some(value.trim_matches(blanks)).filter(|v| !v.is_empty()),
        ),
        (None, Some(name)) => (name, Some("")),
        (None, None) if text.starts_with('@') => return Err(HeaderFault::File),
        (None, None) => return Err(HeaderFault::NoColon),
    };
    if name.is_empty() {
        return Err(HeaderFault::NoName);
    }
    if name.contains(blanks) {
        return Err(HeaderFault::BlankInName);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(HeaderFault::LongName);
    }
    let name = name.parse().map_err(|_| HeaderFault::Name)?;
    // hyper accepts bytes above 0x7f in a value as well.
    let value = value.map(|value| HeaderValue::from_bytes(value.as_bytes()));
    let value = value.transpose().map_err(|_| HeaderFault::Value)?;
    Ok((name, value))
}
