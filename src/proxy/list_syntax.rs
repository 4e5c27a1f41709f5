//! Splits header fields whose values are lists (RFC 9110 §5.6.1).

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Returns the members of a list that has no quoted strings.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Returns the values of all fields of this name, in order. Compares the name of each field,
/// because a header map hashes a name to look it up, which costs more when a head has few fields,
/// as most have.
pub(super) fn field_values(
    headers: &HeaderMap,
    name: HeaderName,
) -> impl Iterator<Item = &HeaderValue> {
    let fields = headers.iter();
    fields.filter_map(move |(other, value)| (*other == name).then_some(value))
}

/// Returns the members of all fields of this name. Must not be used for fields whose grammar allows
/// quoted strings, because a comma always separates members here.
pub(super) fn field_members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    field_values(headers, name).flat_map(|field| members(field.as_bytes()))
}

/// Returns the names that `Connection` makes hop-by-hop, without the options `keep-alive` and
/// `close`, which are all that most requests have.
pub(super) fn hop_by_hop_names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    field_members(headers, CONNECTION).filter(|name| {
        !name.is_empty()
            && !name.eq_ignore_ascii_case(b"keep-alive")
            && !name.eq_ignore_ascii_case(b"close")
    })
}

/// Returns the parts between separators that are not in quoted strings, without the white space
/// around them.
pub(super) fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.iter().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                byte => return *byte == separator && !is_quoted,
            }
            false
        });
        let part = text.get(..end.unwrap_or(text.len()))?;
        rest = end.and_then(|end| text.get(end + 1..));
        Some(part.trim_ascii())
    })
}
