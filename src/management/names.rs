//! Short lists of connections.

/// The number of connections that a list names.
const MAX_NAMES: usize = 10;

/// Lists the first [`MAX_NAMES`] identifiers, and the number of the others.
pub(super) fn first_names(ids: &[&str]) -> String {
    // Bounds the response, since there can be thousands of connections.
    let first = ids.iter().take(MAX_NAMES).copied().collect::<Vec<_>>();
    let more = match ids.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}
