//! Rewrites the references in header fields of responses, so that a reference that an agent follows
//! stays inside the connection or visibly leaves it.
//!
//! To an agent, all connections are paths of one host. `Link: </erp/x>` from the upstream of the
//! connection `crm` would lead it to the connection `erp`, which adds another credential. So every
//! reference is resolved against the request's upstream URL, and then mapped to what the agent can
//! follow (`resolver`). `Link` (`link`) and `Refresh` (`refresh`) have a syntax of their own;
//! the other fields hold one reference each. What cannot be parsed is removed.

mod authority;
mod link;
mod refresh;
mod resolver;

use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use self::resolver::Resolver;
use super::reference_fields::{REFERENCE_FIELDS, Syntax};
use super::response_fields::rewrite_values;
use crate::domain::BaseUrl;

/// The request that the references of its response are relative to, and the names of egressd, which
/// no reference may lead to.
#[derive(Clone, Copy)]
pub struct ReferenceContext<'a> {
    /// The base URL of the connection.
    pub base_url: &'a BaseUrl,
    /// `true` if paths of the connection may contain encoded slashes.
    pub allow_encoded_slash: bool,
    /// The path under which the agent reaches the base URL: `/<id>`, or empty if the connection is
    /// mounted at the root.
    pub prefix: &'a str,
    /// The path of the request after the prefix.
    pub path: &'a [u8],
    /// The agent's request.
    pub parts: &'a Parts,
    /// Returns whether egressd listens on a port.
    pub is_own_port: &'a dyn Fn(u16) -> bool,
    /// The host names of egressd, besides loopback.
    pub allowed_hosts: &'a [String],
}

/// A rewritten value.
#[derive(Default)]
struct Rewritten {
    /// `None` if the field is removed.
    value: Option<Vec<u8>>,
    /// The number of references that were removed.
    dropped: u64,
}

impl Rewritten {
    /// Returns the result for a value that is removed. It counts as one reference, also if it may
    /// contain more.
    fn dropped() -> Self {
        Self {
            value: None,
            dropped: 1,
        }
    }
}

impl From<Option<Vec<u8>>> for Rewritten {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self {
            dropped: value.is_none().into(),
            value,
        }
    }
}

/// Rewrites all fields with references. Returns the number of references and parameters that were
/// removed, because they were not clear, led to egressd or exceeded the limit of a response.
pub fn rewrite(context: &ReferenceContext<'_>, headers: &mut HeaderMap) -> u64 {
    let resolver = Resolver::new(context);
    let mut dropped = 0;
    for (name, syntax) in &REFERENCE_FIELDS {
        if !headers.contains_key(name) {
            continue;
        }
        rewrite_values(headers, name, |value| {
            let value = value.as_bytes();
            let rewritten = match syntax {
                Syntax::Reference => resolver.resolve(value).into(),
                Syntax::Links => link::rewrite(&resolver, value),
                Syntax::Refresh => refresh::rewrite(&resolver, value),
            };
            dropped += rewritten.dropped;
            HeaderValue::try_from(rewritten.value?).ok()
        });
    }
    dropped
}

/// Returns whether a reference consists of bytes that a URI may contain (RFC 3986 §2), or that are
/// not ASCII. Values with several references need such bytes as delimiters.
fn is_undelimited(reference: &[u8]) -> bool {
    let may_delimit = |b: &u8| b.is_ascii_control() || b" \"<>\\^`{|}".contains(b);
    !reference.iter().any(may_delimit)
}

/// Returns whether a text has a segment `..` after a slash, in any encoding. A client that reads
/// more than the reference as its target would resolve it, although it is in no path.
fn has_parent_segment(text: &[u8]) -> bool {
    let mut segments = text.split(|b| b"/\\?#".contains(b)).skip(1);
    segments.any(|segment| {
        let plain = segment.to_ascii_lowercase();
        let mut rest = &*plain;
        let mut dots = 0;
        while let Some(behind) = rest.strip_prefix(b".").or(rest.strip_prefix(b"%2e")) {
            (rest, dots) = (behind, dots + 1);
        }
        rest.is_empty() && dots == 2
    })
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
