//! The fields by which records are filtered and ordered, and how a record lets them be read.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One scalar field of a list's records.
#[derive(Debug)]
pub(in crate::management) struct FieldSpec {
    /// In snake case, with dots between the parts of a nested one: `connection_status.code`. Its spelling in camel case is known as well.
    pub name: &'static str,
    pub kind: FieldKind,
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) enum FieldKind {
    Text,
    /// One of a few names, which all begin with the same letters.
    Enum {
        /// `CONNECTION_TYPE_`
        prefix: &'static str,
    },
    Time,
    Bool,
    Number,
}

/// What one record has in one field. Text is ordered by Unicode scalar values; the values of one field are of one kind.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(in crate::management) enum FieldValue<'a> {
    Absent,
    /// For [`FieldKind::Text`], and for [`FieldKind::Enum`] the whole name.
    Text(Cow<'a, str>),
    Time(Timestamp),
    Bool(bool),
    Number(f64),
}

/// Something that is listed.
pub(in crate::management) trait Record {
    /// The values, in the order of the list of fields.
    fn values(&self) -> Vec<FieldValue<'_>>;

    /// What no other record of the list is called.
    fn name(&self) -> &str;

    /// About how many bytes it takes on a page, where that may be many.
    fn weight(&self) -> usize {
        0
    }
}

impl FieldSpec {
    pub(in crate::management) const fn new(name: &'static str, kind: FieldKind) -> Self {
        Self { name, kind }
    }
}

/// Returns the index and the field of this name, in either spelling.
pub(super) fn find_field<'f>(
    fields: &'f [FieldSpec],
    name: &str,
) -> Option<(usize, &'f FieldSpec)> {
    let called = |field: &FieldSpec| field.name == name || camel(field.name) == name;
    fields.iter().enumerate().find(|(_, field)| called(field))
}

/// The message about a field that does not exist: the same, whatever the name.
pub(super) fn unknown_field(fields: &[FieldSpec], name: &str) -> String {
    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
    format!(
        "unknown field {}; there are {}",
        quoted(name),
        known.join(", ")
    )
}

/// What a caller wrote, between backquotes, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// What a caller wrote, cut where it is long.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 64;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// Returns `connection_status.code` as `connectionStatus.code`.
pub(super) fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{camel, quoted};

    #[test]
    fn spellings() {
        for (snake, expected) in [
            ("name", "name"),
            ("display_name", "displayName"),
            ("connection_status.code", "connectionStatus.code"),
            ("a_b_c.d_e", "aBC.dE"),
        ] {
            assert_eq!(camel(snake), expected);
        }
    }

    #[test]
    fn quotes_are_short() {
        assert_eq!(quoted("a`b"), "`a`b`");
        assert_eq!(quoted(&"é".repeat(64)), format!("`{}`", "é".repeat(64)));
        assert_eq!(quoted(&"é".repeat(65)), format!("`{}…`", "é".repeat(64)));
    }
}
