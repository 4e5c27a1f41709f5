//! The stages *address* and *identify*: checks that the request is unambiguous, and only then looks
//! its connection up.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Method, Version};

use super::code::RefusalCode;
use super::head_fields::HeadFields;
use super::refusal::Refusal;
use super::served_connections::ServedConnections;
use super::suggestion::nearest_id;
use super::written_target::target_length;
use crate::domain::ConnectionId;
use crate::domain::caller::{ServedHost, check_host};
use crate::route::{CanonicalPath, MethodSet, NotCanonical, NotCanonicalReason};
use crate::snapshot::ConnectionEntry;

/// The longest target, in bytes.
pub(super) const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The way in which the agent addresses the connection of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// The first segment of the path is the connection's id.
    Prefixed,
    /// The whole path belongs to the connection, because the listener mounts it, or because `Host`
    /// is `<id>.localhost`.
    Root,
}

/// A request that names a live connection.
pub(super) struct Identified<'r> {
    pub(super) parts: &'r Parts,
    pub(super) mount: Mount,
    entry: Arc<ConnectionEntry>,
    path: Result<CanonicalPath<'r>, Refusal>,
}

impl<'r> Identified<'r> {
    pub(super) fn entry(&self) -> &Arc<ConnectionEntry> {
        &self.entry
    }

    /// Returns the connection, and the path of its API or the refusal of the path. The refusal is
    /// kept until here, because a disabled connection is reported first.
    pub(super) fn into_parts(self) -> (Arc<ConnectionEntry>, Result<CanonicalPath<'r>, Refusal>) {
        (self.entry, self.path)
    }
}

/// A request that passed every check that does not depend on its connection.
pub(super) struct Addressed<'r> {
    parts: &'r Parts,
    /// The part of `Host` before `.localhost`, if it has that form.
    local_name: Option<&'r str>,
    /// An error here is about an encoded slash. The lookup comes first, because only a connection
    /// can allow such slashes: `/nope/a%2Fb` is a 404.
    path: Result<CanonicalPath<'r>, NotCanonical>,
}

/// A resource that egressd itself serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnResource {
    /// `GET /` or `HEAD /`: the list of connections.
    ConnectionList,
    /// `/mcp`: the Model Context Protocol.
    Mcp,
}

impl<'r> Addressed<'r> {
    /// Returns the resource of egressd that the request names. `None` if the request is for a
    /// connection, such as one that is mounted at the root.
    pub(super) fn own_resource(&self, served: ServedConnections<'_>) -> Option<OwnResource> {
        let resource = match self.parts.uri.path() {
            "/" if matches!(self.parts.method, Method::GET | Method::HEAD) => {
                OwnResource::ConnectionList
            }
            "/mcp" => OwnResource::Mcp,
            _ => return None,
        };
        let is_mounted =
            served.mounted_id().is_some() || self.entry_named_by_host(served).is_some();
        (!is_mounted).then_some(resource)
    }

    /// Returns the live connection that `Host` names.
    fn entry_named_by_host<'s>(
        &self,
        served: ServedConnections<'s>,
    ) -> Option<&'s Arc<ConnectionEntry>> {
        served.find_live(&lowercase_id(self.local_name?))
    }

    fn identified_at_root(self, entry: &Arc<ConnectionEntry>) -> Identified<'r> {
        Identified {
            parts: self.parts,
            mount: Mount::Root,
            entry: Arc::clone(entry),
            path: self.path.map_err(not_canonical),
        }
    }
}

/// Makes every check that does not depend on the connection, in a fixed order.
pub(super) fn address<'r>(
    parts: &'r Parts,
    allowed_hosts: &[String],
) -> Result<Addressed<'r>, Refusal> {
    let fields = HeadFields::read(&parts.headers);
    // Framing is first, because the end of an ambiguous request is unknown.
    fields.refuse_unclear_framing()?;
    refuse_other_forms(parts)?;
    refuse_non_ascii_query(parts)?;
    fields.refuse_websocket()?;
    refuse_long_target(parts)?;
    fields.refuse_large_head()?;
    let served = fields.refuse_foreign_host(allowed_hosts)?;
    fields.refuse_browsers(served, &parts.headers)?;
    let path = match CanonicalPath::parse(parts.uri.path().as_bytes()) {
        Err(error) if error.reason != NotCanonicalReason::EmptyAroundEncodedSlash => {
            return Err(not_canonical(error));
        }
        path => path,
    };
    let local_name = match served {
        ServedHost::LocalName(name) => Some(name),
        ServedHost::Local | ServedHost::Allowed => None,
    };
    Ok(Addressed {
        parts,
        local_name,
        path,
    })
}

/// Finds the connection that the listener mounts, or that `Host` or else the first path segment
/// names.
pub(super) fn identify<'r>(
    request: Addressed<'r>,
    served: ServedConnections<'_>,
) -> Result<Identified<'r>, Refusal> {
    if let Some(id) = served.mounted_id() {
        let entry = served
            .find_live(id)
            .ok_or_else(mounted_connection_missing)?;
        return Ok(request.identified_at_root(entry));
    }
    if let Some(entry) = request.entry_named_by_host(served) {
        return Ok(request.identified_at_root(entry));
    }
    let entry = first_segment(request.parts)
        .and_then(|id| served.find_live(id))
        .ok_or_else(|| connection_not_found(request.parts, served))?;
    let path = match request.path {
        Ok(path) => path
            .split_first_segment()
            .1
            .ok_or_else(|| refuse_missing_path(&entry.connection.id)),
        Err(error) => Err(not_canonical(error)),
    };
    Ok(Identified {
        parts: request.parts,
        mount: Mount::Prefixed,
        entry: Arc::clone(entry),
        path,
    })
}

/// Returns the connection id that the part of a host before `.localhost` stands for. Host names are
/// compared without regard to case (RFC 9110 §4.2.3), and ids have lower-case letters only.
fn lowercase_id(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// Returns the connection that [`identify`] would look up, whatever else may be wrong with the
/// request, and even if it is soft-deleted.
#[cold]
pub(super) fn named_entry<'s>(
    parts: &Parts,
    served: ServedConnections<'s>,
) -> Option<&'s Arc<ConnectionEntry>> {
    if let Some(id) = served.mounted_id() {
        return served.find(id);
    }
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let named = match check_host(host.unwrap_or_default(), &[]) {
        Ok(ServedHost::LocalName(name)) => served.find_live(&lowercase_id(name)),
        Ok(_) | Err(_) => None,
    };
    named.or_else(|| served.find(first_segment(parts)?))
}

fn first_segment(parts: &Parts) -> Option<&str> {
    let path = parts.uri.path().strip_prefix('/')?;
    let end = memchr::memchr(b'/', path.as_bytes()).unwrap_or(path.len());
    path.get(..end)
}

fn refuse_missing_path(id: &ConnectionId) -> Refusal {
    Refusal::new(
        RefusalCode::RouteNotAllowed,
        format!(
            "`/{id}` names a connection, but no path of its API. Start the path with `/{id}/`."
        ),
    )
    .listing_routes()
}

/// Returns the refusal of an unknown id. A suggestion reveals nothing: `GET /` lists the same
/// connections.
#[cold]
fn connection_not_found(parts: &Parts, served: ServedConnections<'_>) -> Refusal {
    let ids = served.usable().map(|entry| &entry.connection.id);
    let nearest = first_segment(parts).and_then(|segment| nearest_id(segment, ids));
    let suggestion = nearest.map_or_else(String::new, |id| format!("; did you mean `{id}`?"));
    let end = if suggestion.is_empty() { "." } else { "" };
    Refusal::new(
        RefusalCode::ConnectionNotFound,
        format!(
            "No connection has the id in the first path segment{suggestion}{end} `GET /` lists the connections."
        ),
    )
    .suggesting(nearest)
}

/// Returns the refusal on a listener whose connection a reload removed.
#[cold]
fn mounted_connection_missing() -> Refusal {
    Refusal::new(
        RefusalCode::ConnectionNotFound,
        "This address serves one connection, which the operator has removed.",
    )
}

/// Returns the refusal of a path, with the place and the reason.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(super) fn not_canonical(error: NotCanonical) -> Refusal {
    Refusal::new(
        RefusalCode::PathNotCanonical,
        format!(
            "The path is refused, because egressd never rewrites paths: {error}. Send the path in its plain form."
        ),
    )
}

fn refuse_other_forms(parts: &Parts) -> Result<(), Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::new(
            RefusalCode::ConnectRefused,
            "egressd does not open tunnels. Use `http://<this host>/<connection id>/<path>` as the base URL, and remove the proxy setting (such as HTTPS_PROXY).",
        )
        // RFC 9110 §15.5.6: a 405 must have an `Allow` field.
        .allowing(MethodSet::ALL));
    }
    if parts.uri.scheme().is_some() {
        return Err(Refusal::new(
            RefusalCode::ForwardProxyRefused,
            "The target is an absolute URL, as clients send it to a forward proxy. Use `http://<this host>/<connection id>/<path>` as the base URL, and remove the proxy setting (such as HTTP_PROXY).",
        ));
    }
    if parts.version != Version::HTTP_11 {
        return Err(Refusal::new(
            RefusalCode::HttpVersionRefused,
            "Use HTTP/1.1. An HTTP/1.0 client cannot distinguish a truncated response from a complete one.",
        ));
    }
    if !parts.uri.path().starts_with('/') {
        return Err(Refusal::new(
            RefusalCode::MalformedRequest,
            "The request target must be a path that starts with `/`.",
        ));
    }
    Ok(())
}

fn refuse_long_target(parts: &Parts) -> Result<(), Refusal> {
    let length = target_length(parts);
    if length <= MAX_TARGET_BYTES {
        return Ok(());
    }
    Err(target_too_long(length))
}

/// Refuses a query with bytes above 0x7f, which `http::Uri` accepts if they are valid UTF-8.
/// Servers and clients disagree about the charset of such bytes.
fn refuse_non_ascii_query(parts: &Parts) -> Result<(), Refusal> {
    match parts.uri.query() {
        Some(query) if !query.is_ascii() => Err(Refusal::new(
            RefusalCode::MalformedRequest,
            "The query has a character outside ASCII. Percent-encode it in UTF-8.",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Returns the refusal of a target of this many bytes.
pub(super) fn target_too_long(length: usize) -> Refusal {
    Refusal::new(
        RefusalCode::TargetTooLong,
        format!("The request target has {length} bytes; at most {MAX_TARGET_BYTES} are allowed."),
    )
    .exceeding(MAX_TARGET_BYTES, length)
}
