//! Rewrites `Link` (RFC 8288): the target of each link, and its `anchor`, which states that another
//! resource has the link. All other parameters are kept byte for byte.
//!
//! Many agents do not parse the field. They split it at commas or search it with a regular
//! expression, and may take text from a parameter for a target. So a parameter that could become
//! part of a path to another connection is removed.

use super::resolver::Resolver;
use super::{Rewritten, has_parent_segment, is_undelimited};

/// Rewrites a list of links. A link that cannot be parsed is removed. If it is not certain where it
/// ends, the whole value is.
pub(super) fn rewrite(resolver: &Resolver<'_>, value: &[u8]) -> Rewritten {
    let Some(members) = split_list(value) else {
        return Rewritten::dropped();
    };
    let mut dropped = 0;
    let mut links = Vec::new();
    for member in members {
        match rewrite_link(resolver, member, &mut dropped) {
            Some(link) => links.push(link),
            None => dropped += 1,
        }
    }
    Rewritten {
        value: (!links.is_empty()).then(|| links.join(&b", "[..])),
        dropped,
    }
}

/// Splits a list into its members that are not empty. `None` if clients may disagree about where a
/// member ends.
fn split_list(mut list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut members = Vec::new();
    while !list.is_empty() {
        let (member, rest) = list.split_at_checked(member_length(list)?)?;
        let member = member.trim_ascii();
        if !member.is_empty() {
            members.push(member);
        }
        list = rest.get(1..).unwrap_or_default();
    }
    Some(members)
}

/// Returns the number of bytes before the comma that ends the first member. `None` if angle
/// brackets or quotes are not where the grammar has them.
fn member_length(list: &[u8]) -> Option<usize> {
    let mut at = list.len() - list.trim_ascii_start().len();
    if list.get(at) == Some(&b'<') {
        let target = list.get(at + 1..)?;
        let end = target.iter().position(|b| b"<>\"".contains(b))?;
        if target.get(end) != Some(&b'>') {
            return None;
        }
        at += 1 + end + 1;
    }
    loop {
        let rest = list.get(at..)?;
        let Some(offset) = rest.iter().position(|b| b",\"<>\\".contains(b)) else {
            return Some(list.len());
        };
        at += offset;
        match list.get(at)? {
            b',' => return Some(at),
            b'"' if list.get(..at)?.trim_ascii_end().ends_with(b"=") => {
                at += quoted_length(list.get(at..)?)?;
                let after = list.get(at..)?.trim_ascii_start();
                if !matches!(after, [] | [b',' | b';', ..]) {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

/// Returns the length of the quoted string at the beginning of a text, with both quotes.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = !is_escaped && *byte == b'"';
        is_escaped = !is_escaped && *byte == b'\\';
        is_end
    })?;
    Some(1 + end + 1)
}

/// Returns a link with its target and anchor rewritten. `None` if it is not valid. Adds the
/// parameters that are removed to `dropped`.
fn rewrite_link(resolver: &Resolver<'_>, member: &[u8], dropped: &mut u64) -> Option<Vec<u8>> {
    let text = member.strip_prefix(b"<")?;
    let end = memchr::memchr(b'>', text)?;
    let (target, rest) = text.split_at_checked(end)?;
    let mut link = [b"<", &*rewrite_target(resolver, target)?, b">"].concat();
    let mut rest = rest.get(1..)?.trim_ascii_start();
    while !rest.is_empty() {
        let text = rest.strip_prefix(b";")?;
        let (whole, behind) = text.split_at_checked(parameter_length(text)?)?;
        let parameter = Parameter::parse(whole)?;
        if parameter.name.eq_ignore_ascii_case(b"anchor") {
            // Without its anchor, the link would state something else.
            let anchor = rewrite_target(resolver, &parameter.value.to_text())?;
            link.extend([b"; anchor=\"", &*anchor, b"\""].concat());
        } else if parameter.value.may_mislead() {
            *dropped += 1;
        } else {
            link.push(b';');
            link.extend_from_slice(whole);
        }
        rest = behind;
    }
    Some(link)
}

/// Returns the target or anchor for the agent. `None` if there is none, or if a client could take a
/// part of it for another reference.
fn rewrite_target(resolver: &Resolver<'_>, target: &[u8]) -> Option<Vec<u8>> {
    let target = resolver.resolve(target)?;
    if !is_undelimited(&target) || has_parent_segment(&target) {
        return None;
    }
    // A client that splits the list at each comma would take what follows for a target.
    let comma = memchr::memchr(b',', &target);
    let is_split = comma.is_some_and(|comma| target.iter().skip(comma).any(|b| *b == b'/'));
    if !is_split {
        return Some(target);
    }
    Some(
        target
            .split(|b| *b == b',')
            .collect::<Vec<_>>()
            .join(&b"%2C"[..]),
    )
}

/// Returns the number of bytes before the semicolon that ends the first parameter.
fn parameter_length(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|b| b";\"".contains(b));
    let Some(end) = end else {
        return Some(text.len());
    };
    if text.get(end) == Some(&b';') {
        return Some(end);
    }
    let end = end + quoted_length(text.get(end..)?)?;
    let rest = text.get(end..)?;
    Some(end + memchr::memchr(b';', rest).unwrap_or(rest.len()))
}

/// A parameter of a link. The name is empty between two semicolons.
struct Parameter<'a> {
    name: &'a [u8],
    value: Value<'a>,
}

enum Value<'a> {
    Absent,
    Token(&'a [u8]),
    /// The text between the quotes, with its escapes.
    Quoted(&'a [u8]),
}

impl<'a> Parameter<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let Some(equals) = memchr::memchr(b'=', text) else {
            let value = Value::Absent;
            return text
                .iter()
                .all(is_token)
                .then_some(Self { name: text, value });
        };
        let (name, value) = text.split_at_checked(equals)?;
        let name = name.trim_ascii_end();
        let value = match value.get(1..)?.trim_ascii_start() {
            [b'"', text @ .., b'"'] => Value::Quoted(text),
            // Servers also send values that are not tokens, such as `type=text/html`.
            text if text.iter().all(u8::is_ascii_graphic) => Value::Token(text),
            _ => return None,
        };
        (!name.is_empty() && name.iter().all(is_token)).then_some(Self { name, value })
    }
}

impl Value<'_> {
    /// Returns the value without quotes and escapes.
    fn to_text(&self) -> Vec<u8> {
        match self {
            Self::Absent => Vec::new(),
            Self::Token(text) => text.to_vec(),
            Self::Quoted(text) => {
                let mut is_escaped = false;
                let mut plain = text.to_vec();
                plain.retain(|byte| {
                    is_escaped = !is_escaped && *byte == b'\\';
                    !is_escaped
                });
                plain
            }
        }
    }

    /// Returns whether a client that does not parse the field could follow the text of this value.
    fn may_mislead(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Token(text) => has_parent_segment(text),
            Self::Quoted(text) => {
                // What follows is read as another link. URL parsers remove tabs, and read a
                // backslash as a slash.
                let separator = text.iter().position(|b| b",<".contains(b));
                let behind = separator.and_then(|at| text.get(at..)).unwrap_or_default();
                let mut pairs = behind.iter().zip(behind.iter().skip(1).chain(b"\\"));
                pairs.any(|(byte, next)| *byte == b'/' || (*byte == b'\\' && *next != b'"'))
                    || text.contains(&b'\t')
                    || has_parent_segment(text)
            }
        }
    }
}

/// Returns whether a byte may be part of a token (RFC 9110 §5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
