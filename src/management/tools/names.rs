//! The input's properties for the wildcards of a pattern: names that every runtime takes, `^[a-zA-Z0-9_-]{1,64}$`.

use std::collections::HashSet;

use super::schema::{BODY, METHOD, QUERY};
use crate::route::Segment;

const MAX_BYTES: usize = 64;
/// Of a remainder without a name: a slash at the pattern's end.
const REST: &str = "rest";
/// Before the name of a wildcard that another property has taken.
const PREFIX: &str = "path_";

/// One name for each segment; `None` for literals and ends.
///
/// A wildcard keeps its name where it can. `{query}`, `{body}` and `{method}` become `path_query` and so on, since the input has properties of these names; a name
/// that is not ASCII or too long becomes `segment_3`, after its place in the pattern.
pub(super) fn property_names(segments: &[Segment]) -> Vec<Option<String>> {
    let mut taken: HashSet<String> = [QUERY, BODY, METHOD].map(str::to_owned).into();
    // Names that stay as they are come first, so that a made one cannot push them aside.
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
    (1..=MAX_BYTES - PREFIX.len()).contains(&name.len()) && name.bytes().all(legal)
}
