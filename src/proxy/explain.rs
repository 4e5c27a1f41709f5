//! Explains a request without sending it: its connection, its pattern and the changes to its
//! headers, or its refusal.
//!
//! Runs the code that serves requests. Resolves nothing, sends nothing, and returns names of
//! headers, never their values. Body caps, limits and timeouts are not checked: the explained
//! request has no body, and no other request is in flight.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::code::RefusalCode;
use super::identify::not_canonical;
use super::refusal::{Document, Refusal};
use super::request_fields::{Accept, FieldSources, RequestFields};
use super::request_id::{RequestIds, X_REQUEST_ID};
use super::{authorize, forward, identify};
use crate::credential::signing::X_WEBHOOK_SIGNATURE;
use crate::domain::caller;
use crate::reflection;
use crate::route::CanonicalPath;
use crate::snapshot::{ConnectionEntry, Snapshot};
use crate::upstream::expects_body;

/// The most headers of a request. hyper answers a request that has more with 431 itself.
const MAX_HEADERS: usize = 100;

/// The headers that describe a body.
const FRAMING: [HeaderName; 2] = [CONTENT_LENGTH, TRANSFER_ENCODING];

/// The result of an explanation.
#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ExplainOutcome {
    /// The request goes to an upstream.
    Forwarded(Box<Explanation>),
    /// egressd itself answers with the list of connections.
    Listing,
    /// The request is refused.
    Refused(Box<ExplainedRefusal>),
}

/// The upstream request that an allowed request would cause.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The connection's id.
    pub connection: String,
    /// The pattern that allows the request, as the operator wrote it.
    pub pattern: String,
    /// The method of the request.
    pub method: String,
    /// The URL that the request would be sent to.
    pub upstream_url: String,
    /// The names of the request's headers that reach the upstream.
    pub passed: Vec<String>,
    /// The names of the headers that egressd adds.
    pub added: Vec<String>,
    /// The names of the headers that egressd adds if the request has a body.
    pub added_to_body: Vec<String>,
    /// The names of the request's headers that egressd drops.
    pub dropped: Vec<String>,
}

/// A refusal, and the connection if it was found before the refusal.
pub struct ExplainedRefusal {
    /// The refusal.
    pub refusal: Refusal,
    /// The id of the soft-deleted connection that the request names. An agent cannot see that it
    /// exists, so the document of the refusal does not contain it.
    pub deleted: Option<String>,
    entry: Option<Arc<ConnectionEntry>>,
}

impl ExplainedRefusal {
    /// Returns the connection's patterns, if the refusal lists them.
    pub fn allowed_routes(&self) -> Vec<&str> {
        let listed = self.refusal.listed_routes(self.entry.as_deref());
        listed.unwrap_or_default()
    }
}

impl Serialize for ExplainedRefusal {
    /// Writes the document that an agent would get, and the methods of `Allow`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct RefusalDocument<'a> {
            #[serde(flatten)]
            document: Document<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            allowed_methods: Option<String>,
        }
        let reply = RefusalDocument {
            document: self.refusal.document(self.entry.as_deref(), None),
            allowed_methods: self.refusal.allowed_methods(),
        };
        reply.serialize(serializer)
    }
}

/// The reason why the arguments do not describe a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    /// The method is not an HTTP token (RFC 9110 §9.1).
    #[error("the method is not a valid HTTP token; write one such as GET")]
    Method,
    /// The target is neither a path nor an `http://` URL that hyper could parse.
    #[error("the target is neither `/<connection id>/<path>` nor an http:// URL of this proxy")]
    Target,
    /// The target is an `https://` URL of this proxy, which serves plain HTTP.
    #[error("agents reach egressd over plain HTTP; write `http://` instead of `https://`")]
    Https,
    /// A header is not valid. `number` counts the headers from 1.
    #[error("header {number} (`-H`) {fault}")]
    Header {
        /// The number of the header, from 1.
        number: usize,
        /// The reason.
        fault: HeaderFault,
    },
    /// There are more headers than hyper accepts.
    #[error("a request has at most {MAX_HEADERS} headers; egressd answers more with 431")]
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

/// Explains a request.
///
/// # Errors
///
/// [`InvalidRequest`] if the input does not describe a request.
pub fn explain(
    request: RequestInput<'_>,
    allowed_hosts: &[String],
    snapshot: &Snapshot,
) -> Result<ExplainOutcome, InvalidRequest> {
    let (mut entry, mut deleted) = (None, None);
    let mut has_framing = false;
    let explained = parse_request(request, allowed_hosts)?.and_then(|parts| {
        has_framing = FRAMING.iter().any(|name| parts.headers.contains_key(name));
        let named = identify::named_entry(&parts, snapshot);
        deleted = named.filter(|entry| !entry.is_live()).cloned();
        explain_parts(&parts, allowed_hosts, snapshot, &mut entry)
    });
    // Invalid framing is the reason of a refusal. Valid framing decides about a body that the
    // explained request does not have.
    if has_framing && explained.is_ok() {
        return Err(InvalidRequest::Body);
    }
    Ok(explained.unwrap_or_else(|refusal| {
        let is_not_found = refusal.code() == RefusalCode::ConnectionNotFound;
        let deleted = deleted.filter(|_| is_not_found);
        ExplainOutcome::Refused(Box::new(ExplainedRefusal {
            refusal,
            deleted: deleted.map(|entry| entry.connection.id.to_string()),
            entry,
        }))
    }))
}

/// Explains a parsed request. Sets `found` once the connection is found, even if the request is
/// refused afterwards.
fn explain_parts(
    parts: &Parts,
    allowed_hosts: &[String],
    snapshot: &Snapshot,
    found: &mut Option<Arc<ConnectionEntry>>,
) -> Result<ExplainOutcome, Refusal> {
    let addressed = identify::address(parts, allowed_hosts)?;
    if addressed.asks_for_connections() {
        return Ok(ExplainOutcome::Listing);
    }
    let identified = identify::identify(addressed, snapshot)?;
    let entry = found.insert(Arc::clone(identified.entry()));
    let permitted = authorize::authorize(identified)?;
    let connection = &entry.connection;
    let target = forward::upstream_target(connection, permitted.path(), parts.uri.query())?;
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let sources = FieldSources {
        headers: &parts.headers,
        connection,
        is_response_searched: reflection::is_response_searched(
            connection,
            live.map(|entry| &*entry.connection),
        ),
        accept: Accept::new(),
        request_id: &RequestIds::new().for_request(&parts.headers),
    };
    let (passed, added, dropped) = header_changes(&parts.method, &sources);
    let signature = connection.webhook_signing_secret.as_ref();
    let pattern = connection.routes.patterns().get(permitted.route());
    Ok(ExplainOutcome::Forwarded(Box::new(Explanation {
        connection: connection.id.to_string(),
        pattern: pattern.map_or_else(String::new, |pattern| pattern.as_str().to_owned()),
        method: parts.method.to_string(),
        upstream_url: format!("https://{}{target}", connection.base_url.authority()),
        passed,
        added,
        // Any method may have a body (RFC 9110 §9.3).
        added_to_body: names(signature.map(|_| &X_WEBHOOK_SIGNATURE)),
        dropped,
    })))
}

/// Returns the names of the headers that pass, that are added, and that are dropped from a request
/// without a body.
fn header_changes(
    method: &Method,
    sources: &FieldSources<'_>,
) -> (Vec<String>, Vec<String>, Vec<String>) {
    let FieldSources {
        headers,
        connection,
        ..
    } = sources;
    let RequestFields { fields, passed } = sources.build();
    let (agents, own) = fields.split_at_checked(passed).unwrap_or_default();
    // A harmless id of the agent is dropped first and then added unchanged. No other header may be
    // compared with the agent's value: the result would reveal a configured value.
    let (kept, own): (Vec<_>, Vec<_>) = own.iter().partition(|field| {
        let sent = headers.get(field.name).map(HeaderValue::as_bytes);
        *field.name == X_REQUEST_ID && sent == Some(field.value)
    });
    let passed = names(agents.iter().chain(kept).map(|field| field.name));
    let length = expects_body(method).then_some(&CONTENT_LENGTH);
    let own = own.iter().map(|field| field.name);
    // The value of a credential may not exist yet, but its header is known.
    let own = own.chain(connection.injected_names());
    let added = names([&HOST].into_iter().chain(length).chain(own));
    let is_dropped =
        |name: &&HeaderName| **name != HOST && !passed.iter().any(|passed| **name == **passed);
    let dropped = names(headers.keys().filter(is_dropped));
    (passed, added, dropped)
}

/// Returns each name once.
fn names<'n>(all: impl IntoIterator<Item = &'n HeaderName>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in all {
        if !names.iter().any(|known| name == known.as_str()) {
            names.push(name.to_string());
        }
    }
    names
}

/// Parses a request. A path that hyper's parser would refuse with an empty body is refused as a
/// path that is not canonical.
fn parse_request(
    request: RequestInput<'_>,
    allowed_hosts: &[String],
) -> Result<Result<Parts, Refusal>, InvalidRequest> {
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| InvalidRequest::Method)?;
    // Clients never send a fragment (RFC 9110 §7.1).
    let target = request.target.split('#').next().unwrap_or_default();
    if target.is_empty() {
        return Err(InvalidRequest::Target);
    }
    let (host, path) = match target.strip_prefix("http://") {
        Some(rest) => rest
            .split_at_checked(rest.find('/').unwrap_or(rest.len()))
            .ok_or(InvalidRequest::Target)?,
        None => ("localhost", target),
    };
    if names_own_host_over_https(request.target, allowed_hosts) {
        return Err(InvalidRequest::Https);
    }
    let host = HeaderValue::from_str(host).map_err(|_| InvalidRequest::Target)?;
    if request.headers.len() > MAX_HEADERS {
        return Err(InvalidRequest::TooManyHeaders);
    }
    let headers = parse_headers(request.headers, host)?;
    let path = if path.is_empty() { "/" } else { path };
    let Ok(uri) = Uri::try_from(path) else {
        let path = path.split('?').next().unwrap_or_default();
        if !path.starts_with('/') {
            return Err(InvalidRequest::Target);
        }
        return match CanonicalPath::parse(path.as_bytes()) {
            Err(error) => Ok(Err(not_canonical(error))),
            Ok(_) => Err(InvalidRequest::Query),
        };
    };
    let mut parsed = Request::new(());
    *parsed.method_mut() = method;
    *parsed.uri_mut() = uri;
    *parsed.headers_mut() = headers;
    Ok(Ok(parsed.into_parts().0))
}

/// Returns whether the target is an `https://` URL of egressd itself. A client with such a base URL
/// fails in its TLS handshake, so there is no request to explain. Any other `https://` URL is
/// explained as a request to a forward proxy.
fn names_own_host_over_https(target: &str, allowed_hosts: &[String]) -> bool {
    let Some(rest) = target.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    caller::check_host(authority.as_bytes(), allowed_hosts).is_ok()
}

/// Parses the headers, and adds `host` if they have no Host.
fn parse_headers(texts: &[String], host: HeaderValue) -> Result<HeaderMap, InvalidRequest> {
    let mut headers = HeaderMap::new();
    let mut has_host = true;
    for (number, text) in (1..).zip(texts) {
        let parsed = parse_header(text);
        match parsed.map_err(|fault| InvalidRequest::Header { number, fault })? {
            (name, Some(value)) => {
                headers.append(name, value);
            }
            (name, None) => has_host &= name != HOST,
        }
    }
    if has_host {
        headers.entry(HOST).or_insert(host);
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
    let name = name.parse().map_err(|_| HeaderFault::Name)?;
    // hyper accepts bytes above 0x7f in a value as well.
    let value = value.map(|value| HeaderValue::from_bytes(value.as_bytes()));
    let value = value.transpose().map_err(|_| HeaderFault::Value)?;
    Ok((name, value))
}
