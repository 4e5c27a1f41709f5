//! Which of the agent's header fields go up.
//!
//! An agent can never override, duplicate or observe a field that egressd sets: every such name is dropped first, in any spelling
//! that some upstream might read as the same name (`_` for `-`), and the `Connection` header can only nominate the agent's own.

use http::header::{ACCEPT_ENCODING, CONNECTION};
use http::{HeaderMap, HeaderName};

use crate::domain::Connection;
use crate::upstream::Field;

/// Makes a list of names and the test for it from one text.
macro_rules! names {
    ($($(#[doc = $why:literal])* $($name:literal)+;)*) => {
        /// What is dropped from every request, in lower case.
        const DROPPED: &[&str] = &[$($($name),+),*];

        fn is_listed(name: &str) -> bool {
            matches!(name, $($($name)|+)|*)
        }
    };
}

names! {
    /// Hop-by-hop (RFC 9110 §7.6.1), and framing, which is made anew.
    "connection" "keep-alive" "te" "trailer" "transfer-encoding" "upgrade" "content-length" "host" "expect" "http2-settings" "proxy";
    /// Credentials are ours alone, and so is the request id.
    "authorization" "x-webhook-signature" "x-request-id";
    /// Who asked, from where, by which way: not the agent's to say.
    "forwarded" "x-real-ip" "via" "cdn-loop" "origin" "baggage";
    /// Another target or method than the one that was matched.
    "x-original-url" "x-rewrite-url" "x-http-method-override" "x-http-method" "x-method-override";
}

/// All names that start so are dropped.
const DROPPED_PREFIXES: [&str; 3] = ["proxy-", "x-forwarded-", "sec-fetch-"];

fn is_dropped_by_name(name: &str, allow_cookies: bool) -> bool {
    is_listed(name)
        || (name == "cookie" && !allow_cookies)
        || DROPPED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The names that are dropped on this connection, for people. `searched`: as for [`pass`].
pub(super) fn dropped_names(connection: &Connection, searched: bool) -> Vec<String> {
    let cookie = (!connection.allow_cookies).then(|| "cookie".to_owned());
    let fixed = DROPPED.iter().map(|name| (*name).to_owned());
    let prefixes = DROPPED_PREFIXES.iter().map(|prefix| format!("{prefix}*"));
    let own = connection.injected_names().map(ToString::to_string);
    let coding = searched.then(|| ACCEPT_ENCODING.to_string());
    let all = fixed.chain(cookie).chain(coding).chain(prefixes).chain(own);
    let mut names: Vec<_> = all.collect();
    names.sort();
    names.dedup();
    names
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
    if is_dropped_by_name(name, connection.allow_cookies)
        || connection
            .injected_names()
            .any(|set| is_alike(set.as_str(), name))
        || (searched && is_alike(ACCEPT_ENCODING.as_str(), name))
    {
        return true;
    }
    name.contains('_') && is_dropped_by_name(&name.replace('_', "-"), connection.allow_cookies)
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
