//! Which of the agent's header fields go up.
//!
//! An agent can never override, duplicate or observe a field that egressd sets: every such name is dropped first, in any spelling
//! that some upstream might read as the same name (`_` for `-`), and the `Connection` header can only nominate the agent's own.

use http::header::{ACCEPT_ENCODING, CONNECTION};
use http::{HeaderMap, HeaderName};

use crate::domain::Connection;
use crate::domain::agent_headers::{Family, GROUPS, family};
use crate::upstream::Field;

/// The names that are dropped on this connection, for people. `searched`: as for [`pass`].
pub(super) fn dropped_names(connection: &Connection, searched: bool) -> Vec<String> {
    let listed = GROUPS.iter().flat_map(|group| group.names);
    let listed = listed.filter(|name| is_dropped_by_name(name, connection));
    let listed = listed.map(|name| (*name).to_owned());
    let own = connection.injected_names().map(ToString::to_string);
    let coding = searched.then(|| ACCEPT_ENCODING.to_string());
    let mut names: Vec<_> = listed.chain(coding).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns whether a header of this name is dropped because of what it states.
fn is_dropped_by_name(name: &str, connection: &Connection) -> bool {
    match family(name) {
        None => false,
        Some(Family::Cookie) => !connection.allow_cookies,
        Some(Family::Credential) => {
            let mut allowed = connection.allow_agent_headers.iter();
            !allowed.any(|allowed| is_alike(allowed.as_str(), name))
        }
        Some(_) => true,
    }
}

/// Appends the agent's fields that may pass, unchanged and in order. Returns whether the agent sent a `User-Agent`. `searched`: the response is searched,
/// and how it is encoded is not the agent's to say.
pub(super) fn pass<'r>(
    headers: &'r HeaderMap,
    connection: &Connection,
    searched: bool,
    fields: &mut Vec<Field<'r>>,
) -> bool {
    let nominated = Nominated::by(headers);
    let mut has_user_agent = false;
    for (name, value) in headers {
        if is_dropped(name, connection, searched) || nominated.contains(name) {
            continue;
        }
        has_user_agent |= name == http::header::USER_AGENT;
        fields.push(Field {
            name,
            value: value.as_bytes(),
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
        || (searched && is_alike(ACCEPT_ENCODING.as_str(), name))
}

/// Whether two names are the same to a reader that takes `_` for `-`.
fn is_alike(one: &str, other: &str) -> bool {
    let dashed = |b: u8| if b == b'_' { b'-' } else { b };
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
