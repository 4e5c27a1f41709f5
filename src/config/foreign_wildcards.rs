//! Segments that are wildcards in other route languages and literals in this one. Such a pattern
//! loads, and then refuses every request that it was meant for.

use super::field::Field;
use super::redaction::quoted;

/// Segments that begin with `$` and are literals in real APIs: OData 4.01 (URL Conventions,
/// sections 4 and 5) and the operations of FHIR R5.
const DOLLAR_LITERALS: &[&str] = &[
    "$all",
    "$apply",
    "$batch",
    "$count",
    "$crossjoin",
    "$each",
    "$entity",
    "$filter",
    "$it",
    "$links",
    "$metadata",
    "$query",
    "$ref",
    "$root",
    "$this",
    "$value", // OData
    "$apply-defaults",
    "$closure",
    "$conforms",
    "$diff",
    "$document",
    "$everything",
    "$expand",
    "$export",
    "$find",
    "$import",
    "$lastn",
    "$lookup",
    "$match",
    "$member-match",
    "$merge",
    "$meta",
    "$snapshot",
    "$stats",
    "$submit",
    "$subsumes",
    "$transform",
    "$translate",
    "$validate",
    "$versions", // FHIR
];

/// Warns about every such segment of a pattern, except percent-encoded ones, which are taken as
/// literals.
pub(super) fn warn_of_wildcards(field: &Field<'_>, pattern: &str) {
    let path = pattern.find('/').and_then(|at| pattern.get(at + 1..));
    let mut segments = path.unwrap_or_default().split('/').peekable();
    while let Some(segment) = segments.next() {
        let Some(name) = wildcard_name(segment) else {
            continue;
        };
        // Express and gin match the rest of the path with a final `*` or `*name`.
        let takes_rest = segment.starts_with('*') && segments.peek().is_none();
        let meant = match (name, takes_rest) {
            ("", true) => {
                "`{path...}` for everything below, or `{name}` for one segment".to_owned()
            }
            ("", false) => "`{name}`".to_owned(),
            (name, true) => format!("`{{{name}...}}`"),
            (name, false) => format!("`{{{name}}}`"),
        };
        let message = format!(
            "the segment {} is a literal, not a wildcard",
            quoted(segment)
        );
        let remedy =
            format!("write {meant}; if the literal is meant, percent-encode its first character");
        field.warn("literal_wildcard", message, remedy);
    }
}

/// Returns the wildcard's name in the other language, empty if it has none. `None` if the segment
/// is an ordinary literal.
fn wildcard_name(segment: &str) -> Option<&str> {
    let inner = match segment.split_at_checked(1)? {
        ("*", "" | "*") => return Some(""),
        // Rails, Express, gin: `:id`, `:id?`, `:rest*`, `*rest`.
        (":" | "*", name) => name.trim_end_matches(['?', '*', '+']),
        ("$", name) if !DOLLAR_LITERALS.contains(&segment) => name,
        // Flask: `<id>`, `<int:id>`.
        ("<", name) => name.strip_suffix('>')?.rsplit(':').next()?,
        _ => return None,
    };
    let mut bytes = inner.bytes();
    let starts = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    (starts && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::wildcard_name;

    #[test]
    fn wildcards_of_other_languages_and_literals() {
        // F-257
        for (segment, name) in [
            ("*", ""),
            ("**", ""),
            (":id", "id"),
            (":rest*", "rest"),
            ("*path", "path"),
            ("<id>", "id"),
            ("<int:user_id>", "user_id"),
            ("$id", "id"),
        ] {
            assert_eq!(wildcard_name(segment), Some(name), "{segment}");
        }
        for literal in [
            "",
            "a*b",
            "*.json",
            "users:batchGet",
            ":",
            "$",
            "$metadata",
            "$everything",
            "%3Aid",
            "%24id",
            "{id}",
            "<>",
            "a<b>",
            "***",
        ] {
            assert_eq!(wildcard_name(literal), None, "{literal}");
        }
    }
}
