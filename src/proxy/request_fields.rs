//! Which of the agent's header fields go up.
//!
//! An agent can never override, duplicate or observe a field that egressd sets: every such name is dropped first, in any spelling
//! that some upstream might read as the same name (`_` for `-`), and the `Connection` header can only nominate the agent's own.

use std::sync::OnceLock;

use http::header::{ACCEPT, CONNECTION};
use http::{HeaderMap, HeaderName};

use super::charset;
use crate::domain::Connection;
use crate::domain::agent_headers::{Family, GROUPS, family};
use crate::upstream::Field;

/// Headers that choose the encoding of a response. They are dropped if the response is searched, so
/// that the agent cannot choose an encoding that cannot be searched. `TE` is always dropped.
const ENCODINGS: [&str; 4] = [
    // `grpc-accept-encoding` and `connect-accept-encoding` (gRPC-Web, Connect), too.
    "*accept-encoding",
    "accept-charset",
    // Delta encoding (RFC 3229).
    "a-im",
    // Trino's spooling protocol compresses result segments.
    "x-trino-query-data-encoding",
];

/// The names that are dropped on this connection, for people. `searched`: as for [`pass`].
pub(super) fn dropped_names(connection: &Connection, searched: bool) -> Vec<String> {
    let listed = GROUPS.iter().flat_map(|group| group.names);
    let listed = listed.filter(|name| is_dropped_by_name(name, connection));
    let listed = listed.map(|name| (*name).to_owned());
    let own = connection.injected_names().map(ToString::to_string);
    let encodings = ENCODINGS.iter().filter(|_| searched);
    let encodings = encodings.map(|name| (*name).to_owned());
    let mut names: Vec<_> = listed.chain(encodings).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns whether a header of this name is dropped because of what it states.
fn is_dropped_by_name(name: &str, connection: &Connection) -> bool {
    match family(name) {
        None => false,
        Some(Family::Cookie) => !connection.allow_cookies,
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

/// Appends the agent's fields that may pass, in order and unchanged. Returns whether the agent sent
/// a `User-Agent`. If `searched` is true, the response is searched, so the agent may not choose its
/// encoding: headers that do are dropped, and `Accept` is sent without a charset. `accept` stores
/// the changed `Accept` fields.
pub(super) fn pass<'r>(
    headers: &'r HeaderMap,
    connection: &Connection,
    searched: bool,
    accept: &'r Accept,
    fields: &mut Vec<Field<'r>>,
) -> bool {
    let nominated = Nominated::by(headers);
    let mut replaced = None;
    let mut has_user_agent = false;
    for (name, value) in headers {
        if is_dropped(name, connection, searched) || nominated.contains(name) {
            continue;
        }
        let mut value = value.as_bytes();
        if searched && *name == ACCEPT {
            let values = replaced
                .get_or_insert_with(|| accept.get_or_init(|| without_charsets(headers)).iter());
            value = match values.next() {
                Some(rest) if rest.is_empty() => continue,
                Some(rest) => rest,
                None => value,
            };
        }
        has_user_agent |= name == http::header::USER_AGENT;
        fields.push(Field {
            name,
            value,
            sensitive: false,
        });
    }
    has_user_agent
}

/// Whether an agent's field of this name is dropped on this connection, whatever else the request says.
fn is_dropped(name: &HeaderName, connection: &Connection, searched: bool) -> bool {
    let name = name.as_str();
    // A configured name may hold underscores of its own.
    is_dropped_by_name(name, connection)
        || connection
            .injected_names()
            .any(|set| is_alike(set.as_str(), name))
        || (searched && chooses_encoding(name))
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
fn is_alike(one: &str, other: &str) -> bool {
    let dashed = |b: u8| if b.is_ascii_alphanumeric() { b } else { b'-' };
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .all(|(a, b)| dashed(a) == dashed(b))
}

/// The names that the agent's `Connection` header makes hop-by-hop.
struct Nominated<'r>(Vec<&'r [u8]>);

impl<'r> Nominated<'r> {
    fn by(headers: &'r HeaderMap) -> Self {
        let tokens = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b','));
        let names = tokens.map(<[u8]>::trim_ascii).filter(|token| {
            !token.is_empty()
                && !token.eq_ignore_ascii_case(b"keep-alive")
                && !token.eq_ignore_ascii_case(b"close")
        });
        Self(names.collect())
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.0
            .iter()
            .any(|token| token.eq_ignore_ascii_case(name.as_str().as_bytes()))
    }
}
