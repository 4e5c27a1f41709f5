//! The fields by which records are filtered and ordered, and access to their values.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A scalar field of the records of a list.
#[derive(Debug)]
pub(in crate::management) struct FieldSpec {
    /// The name in snake case, with dots between the parts of a nested field:
    /// `connection_status.code`. Requests may use the spelling in camel case too, as in the JSON of
    /// a response.
    pub name: &'static str,
    pub kind: FieldKind,
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) enum FieldKind {
    Text,
    /// A name of a fixed set, all with the same prefix.
    Enum {
        /// The common prefix, such as `CONNECTION_TYPE_`. A filter may leave it out.
        prefix: &'static str,
    },
    Time,
    Bool,
    Number,
}

/// The value of one field of a record. Text is ordered by Unicode scalar values. All values of a
/// field are of one kind.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(in crate::management) enum FieldValue<'a> {
    Absent,
    /// The value of a [`FieldKind::Text`], or the whole name of a [`FieldKind::Enum`].
    Text(Cow<'a, str>),
    Time(Timestamp),
    Bool(bool),
    Number(f64),
}

/// An item of a list.
pub(in crate::management) trait Record {
    /// Returns the values, in the order of the list's fields.
    fn values(&self) -> Vec<FieldValue<'_>>;

    /// Returns the name, which is unique in the list.
    fn name(&self) -> &str;

    /// Returns the approximate size of the record on a page, in bytes. Zero for records that are
    /// always small.
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

/// Returns the error for an unknown field. It is the same for the name of a secret as for any other
/// name.
pub(super) fn unknown_field(fields: &[FieldSpec], name: &str) -> String {
    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
    format!(
        "unknown field {}; the fields are {}",
        quoted(name),
        known.join(", ")
    )
}

/// Returns text of a caller between backquotes, shortened if it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// Returns text of a caller, shortened to 64 characters if it is longer.
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
        // The names of fields are ASCII.
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
