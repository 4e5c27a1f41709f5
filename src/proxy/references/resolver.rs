//! Resolves one reference against the URL of the request (RFC 3986 §5.2), and maps the result to
//! what the agent can follow.
//!
//! Inside the base URL the result is a path below the prefix under which the agent reaches the
//! connection. Everywhere else, and wherever a client might normalise the path into something else,
//! it is the absolute upstream URL, which no agent can follow through egressd. Two kinds of
//! references have no result: those that name egressd itself, which could only lead into another
//! connection, and those whose host depends on the parser. RFC 3986 and the URL Standard
//! (<https://url.spec.whatwg.org/>) disagree about backslashes, missing slashes and control
//! characters.

use std::cell::Cell;

use super::ReferenceContext;
use super::authority::{is_clear, is_same, is_same_without_tls, split_at_any};
use crate::route::CanonicalPath;

/// The bytes that the references of one response may become. A short relative reference becomes as
/// long as the request's target, and one `Link` has room for thousands of them.
const MAX_RESOLVED_BYTES: usize = 1024 * 1024;

/// Resolves the references of one response.
pub(super) struct Resolver<'a> {
    context: &'a ReferenceContext<'a>,
    /// The rest of [`MAX_RESOLVED_BYTES`].
    budget: Cell<usize>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(context: &'a ReferenceContext<'a>) -> Self {
        Self {
            context,
            budget: Cell::new(MAX_RESOLVED_BYTES),
        }
    }

    /// Returns the reference for the agent, or `None` if it must not reach the agent.
    pub(super) fn resolve(&self, whole: &[u8]) -> Option<Vec<u8>> {
        let context = self.context;
        self.charge(whole)?;
        // The URL Standard removes tabs and line breaks anywhere, and control characters and spaces
        // at the start.
        if whole.iter().any(u8::is_ascii_control) || whole.starts_with(b" ") {
            return None;
        }
        let (reference, suffix) = split_at_any(whole, b"?#");
        // A reference with an unclear host must not reach the agent in any form (F-237).
        let target = match Reference::parse(reference)? {
            Reference::Https { authority, path } | Reference::Network { authority, path }
                if is_same(authority, context.base_url) =>
            {
                or_root(path).to_vec()
            }
            Reference::Https { authority, .. }
            | Reference::Http { authority, .. }
            | Reference::OtherScheme { authority }
            | Reference::Network { authority, .. }
                if !authority.is_empty() && context.leads_back(authority, whole) =>
            {
                return None;
            }
            Reference::Http { authority, path }
                if is_same_without_tls(authority, context.base_url) =>
            {
                let target = without_dot_segments(or_root(path));
                let local = self.local_reference(&target, b"", suffix);
                return Some(local.unwrap_or_else(|| whole.to_vec()));
            }
            Reference::Https { .. } | Reference::Http { .. } | Reference::OtherScheme { .. } => {
                return Some(whole.to_vec());
            }
            Reference::Network { authority, path } => {
                return Some([b"https://", authority, path, suffix].concat());
            }
            Reference::Path(absolute) if absolute.starts_with(b"/") => absolute.to_vec(),
            Reference::Path(relative) => {
                merge_paths(context.base_url.path().as_bytes(), context.path, relative)
            }
        };
        let target = without_dot_segments(&target);
        let query = self.inherited_query(reference, suffix);
        let local = self.local_reference(&target, &query, suffix);
        Some(local.unwrap_or_else(|| {
            let authority = context.base_url.authority().as_bytes();
            [b"https://", authority, &target, &query, suffix].concat()
        }))
    }

    /// Subtracts the most bytes that this reference can become from the budget.
    fn charge(&self, whole: &[u8]) -> Option<()> {
        let context = self.context;
        let target = context.parts.uri.path_and_query();
        let longest = whole.len()
            + "https://".len()
            + context.base_url.authority().len()
            + context.base_url.path().len()
            + target.map_or(0, |target| target.as_str().len());
        self.budget.set(self.budget.get().checked_sub(longest)?);
        Some(())
    }

    /// Returns the query of the request, if the reference has neither path nor query and so
    /// inherits it (RFC 3986 §5.2.2).
    fn inherited_query(&self, reference: &[u8], suffix: &[u8]) -> Vec<u8> {
        let own = self.context.parts.uri.query();
        let own = own.filter(|_| reference.is_empty());
        own.filter(|_| !suffix.starts_with(b"?"))
            .map_or_else(Vec::new, |query| [b"?", query.as_bytes()].concat())
    }

    /// Returns the path below the connection's prefix for an upstream path without dot segments.
    /// `None` if the path is outside the base URL, or if some client could normalise it into
    /// another one.
    fn local_reference(&self, target: &[u8], query: &[u8], suffix: &[u8]) -> Option<Vec<u8>> {
        let context = self.context;
        let rest = target.strip_prefix(context.base_url.path().as_bytes())?;
        // A canonical path does not begin with two slashes, so without a prefix it is not
        // read as a host.
        let is_canonical = CanonicalPath::parse(rest)
            .is_ok_and(|path| context.allow_encoded_slash || !path.has_encoded_slash());
        is_canonical.then(|| [context.prefix.as_bytes(), rest, query, suffix].concat())
    }
}

enum Reference<'a> {
    /// `https://authority/path`
    Https { authority: &'a [u8], path: &'a [u8] },
    /// `http://authority/path`
    Http { authority: &'a [u8], path: &'a [u8] },
    /// `data:…` or `ftp://authority/…`; the authority may be empty.
    OtherScheme { authority: &'a [u8] },
    /// `//authority/path`
    Network { authority: &'a [u8], path: &'a [u8] },
    /// An absolute or relative path, maybe empty.
    Path(&'a [u8]),
}

impl<'a> Reference<'a> {
    /// Parses a reference without its query. `None` if URL parsers disagree about its host, or if
    /// its scheme may name a socket.
    fn parse(reference: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = split_at_any(reference, b":/");
        let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if is_scheme && let Some(rest) = rest.strip_prefix(b":") {
            return Self::parse_absolute(&scheme.to_ascii_lowercase(), rest);
        }
        match reference {
            [b'/', b'/', rest @ ..] => {
                let (authority, path) = split_at_any(rest, b"/");
                is_clear(authority).then_some(Self::Network { authority, path })
            }
            // In the URL Standard a backslash equals a slash.
            [b'\\', ..] | [b'/', b'\\', ..] => None,
            _ => Some(Self::Path(reference)),
        }
    }

    /// Parses what follows a scheme in lower case and its colon.
    fn parse_absolute(scheme: &[u8], rest: &'a [u8]) -> Option<Self> {
        // After these schemes, the URL Standard accepts any number of slashes and backslashes
        // before the host, also none: `ws:localhost` names a host. Other parsers read a path.
        if matches!(scheme, b"http" | b"https" | b"ws" | b"wss" | b"ftp") {
            let (authority, path) = split_at_any(rest.strip_prefix(b"//")?, b"/");
            return is_clear(authority).then_some(match scheme {
                b"http" => Self::Http { authority, path },
                b"https" => Self::Https { authority, path },
                _ => Self::OtherScheme { authority },
            });
        }
        // Schemes such as `http+unix` name a socket, which egressd may listen on.
        let names_socket = [&b"http"[..], b"unix"]
            .iter()
            .any(|name| memchr::memmem::find(scheme, name).is_some());
        // Some contain a URL, such as `feed:http://example.com`.
        let start = memchr::memmem::find(rest, b"//").map_or(rest.len(), |at| at + 2);
        let (authority, _) = split_at_any(rest.get(start..)?, b"/");
        (!names_socket).then_some(Self::OtherScheme { authority })
    }
}

/// Returns the path of an absolute URL, which is `/` if it is empty.
fn or_root(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

/// Replaces the last segment of the request's path by a relative path (RFC 3986 §5.2.3).
fn merge_paths(base: &[u8], path: &[u8], relative: &[u8]) -> Vec<u8> {
    let mut merged = [base, path].concat();
    if !relative.is_empty() {
        let slash = merged.iter().rposition(|b| *b == b'/');
        merged.truncate(slash.map_or(0, |at| at + 1));
        merged.extend_from_slice(relative);
    }
    merged
}

/// Removes dot segments from a path that starts with a slash (RFC 3986 §5.2.4).
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut output: Vec<&[u8]> = Vec::new();
    let mut segments = path
        .strip_prefix(b"/")
        .unwrap_or(path)
        .split(|b| *b == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    output.pop();
                }
                if last {
                    output.push(b"");
                }
            }
            _ => output.push(segment),
        }
    }
    let mut joined = Vec::with_capacity(path.len());
    for segment in output {
        joined.push(b'/');
        joined.extend_from_slice(segment);
    }
    joined
}
