//! Explains a request without sending it: its connection, its pattern and the changes to its
//! headers, or its refusal.
//!
//! Runs the code that serves requests. Resolves nothing, sends nothing, and returns names of
//! headers, never their values. Body caps, limits and timeouts are not checked: the explained
//! request has no body, and no other request is in flight.

mod request;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use serde::{Serialize, Serializer};

use super::code::RefusalCode;
use super::identify::OwnResource;
use super::refusal::{Document, Refusal};
use super::request_fields::{Accept, FieldSources, RequestFields};
use super::request_id::{RequestIds, X_REQUEST_ID};
use super::served_connections::ServedConnections;
use super::written_target::written_query;
use super::{authorize, forward, identify};
use crate::credential::signing::X_WEBHOOK_SIGNATURE;
use crate::reflection;
use crate::snapshot::{ConnectionEntry, Snapshot};
use crate::upstream::expects_body;
use request::parse_request;
pub use request::{HeaderFault, InvalidRequest, RequestInput, ServedAddresses};

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
    /// egressd itself answers as a server of the Model Context Protocol.
    Mcp,
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
    /// The status of the connection, if it depends on files and the caller has read them.
    #[serde(flatten)]
    pub status: Option<ExplainedStatus>,
}

/// The status that a connection has when `serve` starts now.
#[derive(Debug, Serialize)]
pub struct ExplainedStatus {
    /// The name of the status. The document of a refusal has a number called `status`.
    #[serde(rename = "consent_status")]
    pub status: &'static str,
    /// The reason of the status, if there is one.
    #[serde(rename = "consent_status_reason")]
    pub reason: Option<&'static str>,
    /// What a person has to do before requests are forwarded. `None` if they are forwarded.
    #[serde(rename = "consent_remedy")]
    pub remedy: Option<String>,
}

impl ExplainOutcome {
    /// Returns the id of the connection that the request names, if it exists.
    pub fn connection(&self) -> Option<&str> {
        match self {
            Self::Forwarded(forwarded) => Some(&forwarded.connection),
            Self::Refused(refused) => refused.named.as_deref(),
            Self::Listing | Self::Mcp => None,
        }
    }
}

/// A refusal, and the connection if it was found before the refusal.
pub struct ExplainedRefusal {
    /// The refusal.
    pub refusal: Refusal,
    /// The id of the soft-deleted connection that the request names. An agent cannot see that it
    /// exists, so the document of the refusal does not contain it.
    pub deleted: Option<String>,
    /// The id of the connection that the request names, soft-deleted or not.
    named: Option<String>,
    entry: Option<Arc<ConnectionEntry>>,
}

impl ExplainedRefusal {
    /// Returns whether no connection, not even a soft-deleted one, has the id of the request.
    pub fn is_connection_unknown(&self) -> bool {
        self.refusal.code() == RefusalCode::ConnectionNotFound && self.deleted.is_none()
    }

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

/// Explains a request.
///
/// # Errors
///
/// Returns [`InvalidRequest`] if the input does not describe a request.
pub fn explain(
    request: RequestInput<'_>,
    served: ServedAddresses<'_>,
    snapshot: &Snapshot,
) -> Result<ExplainOutcome, InvalidRequest> {
    let (mut entry, mut named) = (None, None);
    let mut has_framing = false;
    let explained = parse_request(request, served)?.and_then(|parts| {
        has_framing = FRAMING.iter().any(|name| parts.headers.contains_key(name));
        let connections = ServedConnections::new(&served.listener.scope, snapshot);
        named = identify::named_entry(&parts, connections).cloned();
        explain_parts(&parts, served, snapshot, &mut entry)
    });
    // Invalid framing is the reason of a refusal. Valid framing decides about a body that the
    // explained request does not have.
    if has_framing && explained.is_ok() {
        return Err(InvalidRequest::Body);
    }
    Ok(explained.unwrap_or_else(|refusal| {
        let is_not_found = refusal.code() == RefusalCode::ConnectionNotFound;
        let id = |entry: &Arc<ConnectionEntry>| entry.connection.id.to_string();
        let deleted = named
            .as_ref()
            .filter(|entry| is_not_found && !entry.is_live());
        ExplainOutcome::Refused(Box::new(ExplainedRefusal {
            refusal,
            deleted: deleted.map(id),
            named: named.as_ref().map(id),
            entry,
        }))
    }))
}

/// Explains a parsed request. Sets `found` once the connection is found, even if the request is
/// refused afterwards.
fn explain_parts(
    parts: &Parts,
    addresses: ServedAddresses<'_>,
    snapshot: &Snapshot,
    found: &mut Option<Arc<ConnectionEntry>>,
) -> Result<ExplainOutcome, Refusal> {
    let ServedAddresses {
        listener,
        serves_mcp,
        ..
    } = addresses;
    let addressed = identify::address(parts, &listener.allowed_hosts)?;
    let served = ServedConnections::new(&listener.scope, snapshot);
    match addressed.own_resource(served) {
        Some(OwnResource::ConnectionList) => return Ok(ExplainOutcome::Listing),
        Some(OwnResource::Mcp) if serves_mcp => return Ok(ExplainOutcome::Mcp),
        Some(OwnResource::Mcp) | None => {}
    }
    let identified = identify::identify(addressed, served)?;
    let entry = found.insert(Arc::clone(identified.entry()));
    let permitted = authorize::authorize(identified)?;
    let connection = &entry.connection;
    let query = written_query(parts);
    let target = forward::upstream_target(connection, permitted.path(), query).concat();
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
        upstream_url: format!(
            "https://{}{}",
            connection.base_url.authority(),
            String::from_utf8_lossy(&target)
        ),
        passed,
        added,
        // Any method may have a body (RFC 9110 §9.3).
        added_to_body: names(signature.map(|_| &X_WEBHOOK_SIGNATURE)),
        dropped,
        status: None,
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
