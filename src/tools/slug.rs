//! The names of tools: the connection and the name of the route. The name of a route without one is
//! made of its method and path; if that is ambiguous or too long, a hash of connection and pattern
//! is appended.
//!
//! A runtime has one namespace for the tools of all connections. The id of a connection contains no
//! `_`, so the first `_` of a slug ends the id, and no two connections share a slug.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::ToolRoute;
use crate::domain::route_description::TOOL_NAME_MAX_BYTES as MAX_BYTES;
use crate::route::{Method, Pattern, Segment};

/// The number of hexadecimal digits of a hash.
const HASH_DIGITS: usize = 12;

/// Returns one slug for each route of a connection, all of them different. A slug with a hash
/// depends only on its pattern, so the order of routes does not matter.
pub(super) fn tool_slugs(connection: &str, routes: &[ToolRoute<'_>]) -> Vec<String> {
    let named: Vec<Option<String>> = routes.iter().map(|r| named_slug(connection, r)).collect();
    // Names of the definition are unique, and are reserved before any slug is made of a pattern.
    let mut taken: HashSet<String> = named.iter().flatten().cloned().collect();
    let plain: Vec<Option<String>> = routes
        .iter()
        .zip(&named)
        .map(|(route, named)| match named {
            Some(_) => None,
            None => plain_slug(connection, route.pattern),
        })
        .collect();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for slug in plain.iter().flatten() {
        *times.entry(slug).or_default() += 1;
    }
    let is_alone = |slug: &&String| times.get(slug.as_str()) == Some(&1);
    let alone: HashSet<String> = plain
        .iter()
        .flatten()
        .filter(is_alone)
        .filter(|slug| !taken.contains(*slug))
        .cloned()
        .collect();
    taken.extend(alone.iter().cloned());
    routes
        .iter()
        .zip(named)
        .zip(plain)
        .map(|((route, named), plain)| {
            let made = named.or(plain.filter(|slug| alone.contains(slug)));
            made.unwrap_or_else(|| slug_with_hash(connection, route.pattern, &mut taken))
        })
        .collect()
}

/// Returns the slug of a route that has a name in the definition.
fn named_slug(connection: &str, route: &ToolRoute<'_>) -> Option<String> {
    let name = route.description?.name.as_ref()?;
    Some(format!("{connection}_{}", name.as_str()))
}

/// Returns a slug without a hash, such as `crm_get_users_id`. Returns `None` if it is too long or
/// does not show every segment.
fn plain_slug(connection: &str, pattern: &Pattern) -> Option<String> {
    let (slug, whole) = words_of_route(connection, pattern);
    (whole && slug.len() <= MAX_BYTES).then_some(slug)
}

fn slug_with_hash(connection: &str, pattern: &Pattern, taken: &mut HashSet<String>) -> String {
    let (mut start, _) = words_of_route(connection, pattern);
    start.truncate(MAX_BYTES - HASH_DIGITS - 1);
    // No double `_` before the hash.
    let start = start.trim_end_matches('_');
    // A slug is taken only if two hashes collide, or if another pattern spells out this slug.
    (0_u64..)
        .map(|salt| format!("{start}_{}", short_hash(connection, pattern, salt)))
        .find(|slug| taken.insert(slug.clone()))
        // Not reached: there are 2^64 candidates.
        .unwrap_or_default()
}

fn short_hash(connection: &str, pattern: &Pattern, salt: u64) -> String {
    // A pattern never starts with a lower-case letter, a digit or `-`, so the boundary between the
    // id and the pattern is unambiguous.
    let mut hash = Sha256::new_with_prefix(connection);
    hash.update(pattern.as_str());
    hash.update(salt.to_be_bytes());
    let hash = hash.finalize();
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.take(HASH_DIGITS).collect()
}

/// Joins the connection, the method and the segments with single `_`. The flag is `true` if every
/// segment contributed at least one letter or digit.
fn words_of_route(connection: &str, pattern: &Pattern) -> (String, bool) {
    let method = pattern.method().map_or("any", Method::as_str);
    let mut slug = format!("{connection}_{}", method.to_ascii_lowercase());
    let mut whole = true;
    for (index, segment) in pattern.segments().iter().enumerate() {
        let words = words_of_segment(segment, index == 0);
        whole &= !words.is_empty();
        if !words.is_empty() {
            slug.push('_');
            slug.push_str(&words);
        }
    }
    (slug, whole)
}

fn words_of_segment(segment: &Segment, is_first: bool) -> String {
    let text = match segment {
        Segment::Literal(text) => text,
        Segment::Remainder(name) if name.is_empty() => "rest".as_bytes(),
        Segment::Wildcard(name) | Segment::Remainder(name) => name.as_bytes(),
        Segment::End if is_first => b"root",
        Segment::End => b"slash",
    };
    let runs = text.split(|byte| !byte.is_ascii_alphanumeric());
    let runs = runs.filter(|run| !run.is_empty());
    let runs: Vec<String> = runs
        .map(|run| String::from_utf8_lossy(run).to_ascii_lowercase())
        .collect();
    runs.join("_")
}
