//! The names of the input's properties for the wildcards of a pattern. Every agent runtime accepts
//! names of the form `^[a-zA-Z0-9_-]{1,64}$`.

use std::collections::HashSet;

use super::schema::{BODY, METHOD, QUERY};
use crate::route::Segment;

/// The maximum length of a property's name.
const MAX_BYTES: usize = 64;
/// The name for a remainder without a name: a slash at the end of the pattern.
const REST: &str = "rest";
/// The prefix of a wildcard's name if another property has that name.
const PREFIX: &str = "path_";

/// Returns one name for each segment, and `None` for literals and ends.
///
/// A wildcard keeps its name if possible. `{query}`, `{body}` and `{method}` become `path_query`
/// and so on, because the input has properties of these names. A name that is not ASCII or too long
/// becomes `segment_3`, by its position in the pattern.
pub(super) fn property_names(segments: &[Segment]) -> Vec<Option<String>> {
    let mut taken: HashSet<String> = [QUERY, BODY, METHOD].map(str::to_owned).into();
    // Names that are kept are reserved first, so that no generated name takes one of them.
    let wildcards = segments.iter().filter_map(wildcard_name);
    let kept: HashSet<&str> = wildcards
        .filter(|name| is_portable(name) && taken.insert((*name).to_owned()))
        .collect();
    let named = |(at, segment): (usize, &Segment)| {
        let name = wildcard_name(segment)?;
        if kept.contains(name) {
            return Some(name.to_owned());
        }
        let mut made = match name {
            "" => REST.to_owned(),
            name if is_portable(name) => format!("{PREFIX}{name}"),
            _ => format!("segment_{at}"),
        };
        while !taken.insert(made.clone()) {
            made.insert_str(0, PREFIX);
        }
        Some(made)
    };
    (1..).zip(segments).map(named).collect()
}

fn wildcard_name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Wildcard(name) | Segment::Remainder(name) => Some(name),
        Segment::Literal(_) | Segment::End => None,
    }
}

fn is_portable(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    // Leaves room for one `PREFIX`.
    (1..=MAX_BYTES - PREFIX.len()).contains(&name.len()) && name.bytes().all(legal)
}
