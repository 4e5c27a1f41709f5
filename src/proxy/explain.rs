//! The first two steps of a request without the request: which connection, which pattern, what would be sent, or the very refusal.
//!
//! Runs the code that serves requests; resolves nothing, sends nothing, and shows names of headers, never values.

use http::header::{ACCEPT_ENCODING, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Uri};

use super::identify::not_canonical;
use super::refusal::Refusal;
use super::{authorize, forward, identify, request_fields};
use crate::credential::signing::X_WEBHOOK_SIGNATURE;
use crate::reflection;
use crate::route::CanonicalPath;
use crate::snapshot::Snapshot;

/// What would become of a request that is allowed.
#[derive(Debug)]
pub struct Explanation {
    /// The connection's id.
    pub connection: String,
    /// The pattern that admits it, as written.
    pub pattern: String,
    /// Where it would go.
    pub upstream_url: String,
    /// The names of the headers that egressd would add, each with the condition, where there is one.
    pub added: Vec<String>,
    /// The names of the headers that egressd would drop if the agent sent them; `x-*` stands for all that start so.
    pub dropped: Vec<String>,
    /// The names of the credential headers that pass because the connection lists them.
    pub passed: Vec<String>,
}

/// Why a text cannot be a request at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRequest {
    /// The method is no HTTP token (RFC 9110 §9.1).
    Method,
    /// The target is neither a path nor an `http://` URL that hyper could read.
    Target,
}

/// What becomes of a request that is not refused.
#[derive(Debug)]
pub enum Explained {
    /// It goes to an upstream.
    Forwarded(Box<Explanation>),
    /// egressd itself answers it with the list of connections.
    Listing,
}

/// Explains `METHOD target`, where the target is as an agent has it: `/id/path` or `http://127.0.0.1:8080/id/path`.
pub fn explain(
    method: &str,
    target: &str,
    allowed_hosts: &[String],
    snapshot: &Snapshot,
) -> Result<Result<Explained, Refusal>, NoRequest> {
    Ok(match parts(method, target)? {
        Ok(parts) => explain_parts(&parts, allowed_hosts, snapshot),
        Err(refusal) => Err(refusal),
    })
}

fn explain_parts(
    parts: &Parts,
    allowed_hosts: &[String],
    snapshot: &Snapshot,
) -> Result<Explained, Refusal> {
    let addressed = identify::address(parts, allowed_hosts)?;
    if addressed.asks_for_connections() {
        return Ok(Explained::Listing);
    }
    let call = identify::identify(addressed, snapshot)?;
    let permitted = authorize::authorize(call)?;
    let entry = permitted.entry();
    let connection = &entry.connection;
    let target = forward::target(connection, permitted.path(), parts.uri.query())?;
    let ours = [HOST, super::refusal::X_REQUEST_ID];
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let searched = reflection::searches(connection, live.map(|entry| &*entry.connection));
    let coding = searched.then_some(&ACCEPT_ENCODING);
    let injected = connection.injected_names();
    let injected = injected.filter(|name| !searched || **name != ACCEPT_ENCODING);
    let names = ours.iter().chain(coding).chain(injected);
    let names = names.map(ToString::to_string);
    // Any method may have a body (RFC 9110 §9.3).
    let signature = connection
        .webhook_signing_secret
        .as_ref()
        .map(|_| format!("{X_WEBHOOK_SIGNATURE} (if there is a body)"));
    let passed = connection.allow_agent_headers.iter();
    let pattern = entry.connection.routes.patterns().get(permitted.route());
    Ok(Explained::Forwarded(Box::new(Explanation {
        connection: connection.id.to_string(),
        pattern: pattern.map_or_else(String::new, |pattern| pattern.as_str().to_owned()),
        upstream_url: format!("https://{}{target}", connection.base_url.authority()),
        added: names.chain(signature).collect(),
        dropped: request_fields::dropped_names(connection, searched),
        passed: passed.map(ToString::to_string).collect(),
    })))
}

/// A path that hyper's parser would refuse with an empty body gets the words of the canonical path instead.
fn parts(method: &str, target: &str) -> Result<Result<Parts, Refusal>, NoRequest> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| NoRequest::Method)?;
    let (host, path) = match target.strip_prefix("http://") {
        Some(rest) => rest
            .split_at_checked(rest.find('/').unwrap_or(rest.len()))
            .ok_or(NoRequest::Target)?,
        None => ("localhost", target),
    };
    let path = if path.is_empty() { "/" } else { path };
    let Ok(uri) = Uri::try_from(path) else {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let error = CanonicalPath::parse(path.as_bytes()).err();
        let error = error.filter(|_| path.starts_with('/'));
        return error.map_or(Err(NoRequest::Target), |error| {
            Ok(Err(not_canonical(error)))
        });
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let host = HeaderValue::from_str(host).map_err(|_| NoRequest::Target)?;
    request.headers_mut().insert(HOST, host);
    Ok(Ok(request.into_parts().0))
}

impl std::fmt::Display for NoRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Method => "the method is no HTTP token; write one such as GET",
            Self::Target => {
                "the target is neither `/<connection id>/<path>` nor an http:// URL of this proxy"
            }
        })
    }
}

impl std::error::Error for NoRequest {}
