//! The header fields of a request to the upstream: which of the agent's pass, and which are added.
//!
//! An agent can never override, duplicate or observe a field that egressd sets (S4). Every such
//! name is dropped first, in any spelling that some upstream might read as the same name (`_` for
//! `-`). `Connection` can nominate only the agent's own fields, because they are dropped before any
//! other is added.

use std::sync::OnceLock;

use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName};

use super::charset;
use super::list_syntax::hop_by_hop_names;
use super::request_id::{RequestId, X_EGRESSD_REQUEST_ID, X_REQUEST_ID};
use crate::domain::Connection;
use crate::domain::agent_headers::{HeaderCategory, family};
use crate::upstream::{DEFAULT_USER_AGENT, Field};

static REQUEST_ID_NAME: HeaderName = X_REQUEST_ID;
static EGRESSD_REQUEST_ID_NAME: HeaderName = X_EGRESSD_REQUEST_ID;
static USER_AGENT_NAME: HeaderName = USER_AGENT;
static ACCEPT_ENCODING_NAME: HeaderName = ACCEPT_ENCODING;

/// Headers that choose the encoding of a response. They are dropped if the response is searched, so
/// that the agent cannot choose an encoding that cannot be searched. `TE` is always dropped.
const ENCODINGS: [&str; 4] = [
    // Includes `grpc-accept-encoding` and `connect-accept-encoding` (gRPC-Web, Connect).
    "*accept-encoding",
    "accept-charset",
    // Delta encoding (RFC 3229).
    "a-im",
    // Trino's spooling protocol compresses result segments.
    "x-trino-query-data-encoding",
];

/// Returns whether a header of this name is dropped because of what it states.
fn is_dropped_by_name(name: &str, connection: &Connection) -> bool {
    match family(name) {
        None => false,
        Some(HeaderCategory::Cookie) => !connection.allow_cookies,
        Some(family) if family.can_be_listed() => {
            let mut allowed = connection.allow_agent_headers.iter();
            !allowed.any(|allowed| is_alike(allowed.as_str(), name))
        }
        Some(_) => true,
    }
}

/// The agent's `Accept` fields as they are sent. Filled when the first of them is read.
pub(super) type Accept = OnceLock<Vec<Vec<u8>>>;

/// Returns the agent's `Accept` fields without `charset` parameters, in order. Returns nothing if
/// no field has one.
fn without_charsets(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let values = || headers.get_all(ACCEPT).iter();
    if !values().any(|value| charset::without_charset(value.as_bytes()).is_some()) {
        return Vec::new();
    }
    let stripped = |value: &[u8]| charset::without_charset(value).unwrap_or_else(|| value.to_vec());
    values().map(|value| stripped(value.as_bytes())).collect()
}

/// The sources of the fields of a request to the upstream, without the credential.
pub(super) struct FieldSources<'r> {
    /// The agent's fields.
    pub(super) headers: &'r HeaderMap,
    pub(super) connection: &'r Connection,
    /// `true` if the response is searched. The agent then cannot choose its encoding: headers that
    /// do are dropped, and `Accept` is sent without a charset.
    pub(super) is_response_searched: bool,
    pub(super) accept: Accept,
    pub(super) request_id: &'r RequestId,
}

/// The fields of a request to the upstream, before the credential is added. The upstream module
/// writes `Host` and the framing.
pub(super) struct RequestFields<'r> {
    pub(super) fields: Vec<Field<'r>>,
    /// The number of fields from the agent. They are at the beginning of the list.
    pub(super) passed: usize,
}

impl FieldSources<'_> {
    /// Returns the agent's fields that may pass, in order, and then those that egressd adds.
    pub(super) fn build(&self) -> RequestFields<'_> {
        // Room for the fields of egressd and the credential, so that the list does not grow.
        let mut fields = Vec::with_capacity(self.headers.len() + 8);
        let has_user_agent = self.append_passing_fields(&mut fields);
        let passed = fields.len();
        let plain = |name, value| Field {
            name,
            value,
            sensitive: false,
        };
        // Compressed text cannot be searched, so nothing else may set this field, not even
        // `headers` of the connection.
        let own = self.connection.headers.iter();
        let own = own.filter(|header| !self.is_response_searched || header.name != ACCEPT_ENCODING);
        fields.extend(own.map(|header| plain(&header.name, header.value.as_bytes())));
        let mut injected = self.connection.injected_names();
        if !has_user_agent && !injected.any(|name| *name == USER_AGENT) {
            fields.push(plain(&USER_AGENT_NAME, DEFAULT_USER_AGENT.as_bytes()));
        }
        let request_id = self.request_id.as_bytes();
        fields.push(plain(&REQUEST_ID_NAME, request_id));
        fields.push(plain(&EGRESSD_REQUEST_ID_NAME, request_id));
        if self.is_response_searched {
            fields.push(plain(&ACCEPT_ENCODING_NAME, b"identity"));
        }
        RequestFields { fields, passed }
    }

    /// Appends the agent's fields that may pass, in order and unchanged. Returns whether a
    /// `User-Agent` is among them.
    fn append_passing_fields<'s>(&'s self, fields: &mut Vec<Field<'s>>) -> bool {
        let Self {
            headers,
            connection,
            is_response_searched,
            accept,
            ..
        } = self;
        let nominated: Vec<&[u8]> = hop_by_hop_names(headers).collect();
        let mut replaced = None;
        let mut has_user_agent = false;
        for (name, value) in *headers {
            let is_nominated = |nominated: &&[u8]| nominated.eq_ignore_ascii_case(name.as_ref());
            if is_dropped(name, connection, *is_response_searched)
                || nominated.iter().any(is_nominated)
            {
                continue;
            }
            let mut value = value.as_bytes();
            if *is_response_searched && *name == ACCEPT {
                let values = replaced
                    .get_or_insert_with(|| accept.get_or_init(|| without_charsets(headers)).iter());
                value = match values.next() {
                    Some(rest) if rest.is_empty() => continue,
                    Some(rest) => rest,
                    None => value,
                };
            }
            has_user_agent |= name == USER_AGENT;
            fields.push(Field {
                name,
                value,
                sensitive: false,
            });
        }
        has_user_agent
    }
}

/// Returns whether an agent's field of this name is dropped on this connection, whatever else the
/// request contains.
fn is_dropped(name: &HeaderName, connection: &Connection, is_response_searched: bool) -> bool {
    let name = name.as_str();
    // A configured name may hold underscores of its own.
    is_dropped_by_name(name, connection)
        || connection
            .injected_names()
            .any(|set| is_alike(set.as_str(), name))
        || (is_response_searched && chooses_encoding(name))
}

fn chooses_encoding(name: &str) -> bool {
    ENCODINGS
        .iter()
        .any(|listed| match listed.strip_prefix('*') {
            Some(end) => {
                let start = name.len().checked_sub(end.len());
                let given = start.and_then(|start| name.get(start..));
                given.is_some_and(|given| is_alike(end, given))
            }
            None => is_alike(listed, name),
        })
}

/// Returns whether two names are equal to a server that maps every character other than a letter or
/// digit to the same one, as lighttpd does for CGI variables.
pub(super) fn is_alike(one: &str, other: &str) -> bool {
    let dashed = |b: u8| if b.is_ascii_alphanumeric() { b } else { b'-' };
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .all(|(a, b)| dashed(a) == dashed(b))
}
