//! `Location` and `Content-Location`: read against the upstream's URL, so that what an agent follows stays inside the connection or visibly leaves it.
//!
//! A reference is resolved as RFC 3986 §5.2 says. Inside the base URL it becomes `/<id>/…`; everywhere else, and wherever a client might
//! normalise the path into something else, it becomes the absolute upstream URL, which no agent can follow through egressd.

use http::HeaderValue;

use crate::domain::Connection;
use crate::route::CanonicalPath;

/// The rewritten value, or `None` where it may stay as it is. `path` is the request's own path behind the connection's id.
pub(super) fn rewrite(value: &[u8], connection: &Connection, path: &[u8]) -> Option<HeaderValue> {
    let authority = connection.base_url.authority();
    let (reference, suffix) = split_at_any(value, b"?#");
    let target = match Reference::read(reference) {
        Reference::Absolute {
            authority: other,
            path,
        } if is_same(other, connection) => or_slash(path),
        Reference::Absolute { .. } | Reference::OtherScheme => return None,
        Reference::Network {
            authority: other,
            path,
        } if is_same(other, connection) => or_slash(path),
        Reference::Network {
            authority: other,
            path,
        } => {
            return HeaderValue::from_bytes(&[b"https://", other, path, suffix].concat()).ok();
        }
        Reference::Path(absolute) if absolute.starts_with(b"/") => absolute.to_vec(),
        Reference::Path(relative) => merge(connection.base_url.path().as_bytes(), path, relative),
    };
    let target = without_dot_segments(&target);
    let local = inside(&target, connection)
        .map(|rest| [b"/", connection.id.as_str().as_bytes(), rest, suffix].concat());
    let rewritten =
        local.unwrap_or_else(|| [b"https://", authority.as_bytes(), &target, suffix].concat());
    HeaderValue::from_bytes(&rewritten).ok()
}

enum Reference<'a> {
    /// `https://authority/path`
    Absolute { authority: &'a [u8], path: &'a [u8] },
    /// `http://…`, `data:…`
    OtherScheme,
    /// `//authority/path`
    Network { authority: &'a [u8], path: &'a [u8] },
    /// An absolute or relative path, maybe empty.
    Path(&'a [u8]),
}

impl<'a> Reference<'a> {
    fn read(reference: &'a [u8]) -> Self {
        let (before, rest) = split_at_any(reference, b":/");
        let is_scheme = before.first().is_some_and(u8::is_ascii_alphabetic)
            && before
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if is_scheme && rest.starts_with(b":") {
            return match rest.strip_prefix(b"://") {
                Some(rest) if before.eq_ignore_ascii_case(b"https") => {
                    let (authority, path) = split_at_any(rest, b"/");
                    Self::Absolute { authority, path }
                }
                Some(_) | None => Self::OtherScheme,
            };
        }
        match reference.strip_prefix(b"//") {
            Some(rest) => {
                let (authority, path) = split_at_any(rest, b"/");
                Self::Network { authority, path }
            }
            None => Self::Path(reference),
        }
    }
}

/// Whether an authority is the connection's own: host in any case, port 443 written or not, no userinfo.
fn is_same(authority: &[u8], connection: &Connection) -> bool {
    let own = connection.base_url.authority().as_bytes();
    authority.eq_ignore_ascii_case(own)
        || (connection.base_url.port() == 443
            && authority
                .strip_suffix(b":443")
                .is_some_and(|host| host.eq_ignore_ascii_case(own)))
}

fn or_slash(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        b"/".to_vec()
    } else {
        path.to_vec()
    }
}

/// RFC 3986 §5.2.3: the relative path put where the request's last segment was.
fn merge(base: &[u8], path: &[u8], relative: &[u8]) -> Vec<u8> {
    let whole = [base, path].concat();
    if relative.is_empty() {
        return whole;
    }
    let keep = whole
        .iter()
        .rposition(|b| *b == b'/')
        .map_or(0, |at| at + 1);
    let mut merged = whole;
    merged.truncate(keep);
    merged.extend_from_slice(relative);
    merged
}

/// RFC 3986 §5.2.4, on a path that starts with a slash.
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
    output
        .iter()
        .fold(Vec::with_capacity(path.len()), |mut sum, segment| {
            sum.push(b'/');
            sum.extend_from_slice(segment);
            sum
        })
}

/// The path behind the base URL's own, if it lies there and no client can read it as anything else.
fn inside<'t>(target: &'t [u8], connection: &Connection) -> Option<&'t [u8]> {
    let rest = target.strip_prefix(connection.base_url.path().as_bytes())?;
    let canonical = CanonicalPath::parse(rest)
        .is_ok_and(|path| connection.allow_encoded_slash || !path.has_encoded_slash());
    canonical.then_some(rest)
}

/// Splits before the first of these bytes.
fn split_at_any<'a>(bytes: &'a [u8], any: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = bytes
        .iter()
        .position(|b| any.contains(b))
        .unwrap_or(bytes.len());
    bytes.split_at_checked(at).unwrap_or((bytes, b""))
}
