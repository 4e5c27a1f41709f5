//! The path of a tool, as a URI template (RFC 6570).

use std::fmt::Write as _;

use crate::route::Segment;

/// Returns `/{connection}` and the pattern's path, with escaped literals and with the wildcards
/// under these names.
pub(super) fn uri_template(
    connection: &str,
    segments: &[Segment],
    names: &[Option<String>],
) -> String {
    let mut path = format!("/{connection}");
    for (segment, name) in segments.iter().zip(names) {
        path.push('/');
        match (segment, name) {
            (Segment::Literal(text), _) => push_escaped(text, &mut path),
            (Segment::Wildcard(_), Some(name)) => path.extend(["{", name, "}"]),
            (Segment::Remainder(_), Some(name)) => path.extend(["{+", name, "}"]),
            (Segment::Wildcard(_) | Segment::Remainder(_), None) | (Segment::End, _) => {}
        }
    }
    path
}

/// Appends text and escapes every byte except those that a segment may contain (`pchar` of RFC
/// 3986, section 3.3). A brace would start a template expression.
fn push_escaped(text: &[u8], path: &mut String) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a `String` does not fail.
            let _written = write!(path, "%{byte:02X}");
        }
    }
}
