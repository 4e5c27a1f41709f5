//! The fields by which records are filtered and ordered, and how a record lets them be read.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One scalar field of a list's records.
#[derive(Debug)]
pub(in crate::management) struct FieldSpec {
    /// In snake case, with dots between the parts of a nested one: `connection_status.code`. Its spelling in camel case is known as well.
    pub name: &'static str,
    /// What its values are.
    pub kind: FieldKind,
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) enum FieldKind {
    /// Any text.
    Text,
    /// One of a few names, which all begin with the same letters.
    Enum {
        /// `CONNECTION_TYPE_`
        prefix: &'static str,
    },
    /// An instant.
    Time,
    /// True or false.
    Bool,
    /// A whole number.
    Number,
}

/// What one record has in one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::management) enum FieldValue<'a> {
    /// Nothing.
    Absent,
    /// For [`FieldKind::Text`], and for [`FieldKind::Enum`] the whole name.
    Text(Cow<'a, str>),
    /// For [`FieldKind::Time`].
    Time(Timestamp),
    /// For [`FieldKind::Bool`].
    Bool(bool),
    /// For [`FieldKind::Number`].
    Number(i64),
}

/// Something that is listed.
pub(in crate::management) trait Record {
    /// The value in the field with this place in the list of fields.
    fn value(&self, field: usize) -> FieldValue<'_>;

    /// What no other record of the list is called.
    fn name(&self) -> &str;

    /// About how many bytes it takes on a page, where that may be many.
    fn weight(&self) -> usize {
        0
    }
}

impl FieldValue<'_> {
    /// Text by Unicode scalar values, `false` before `true`. Values of one field are of one kind; others are equal.
    pub(super) fn compare(&self, other: &FieldValue<'_>) -> Ordering {
        match (self, other) {
            (FieldValue::Text(this), FieldValue::Text(other)) => this.cmp(other),
            (FieldValue::Time(this), FieldValue::Time(other)) => this.cmp(other),
            (FieldValue::Bool(this), FieldValue::Bool(other)) => this.cmp(other),
            (FieldValue::Number(this), FieldValue::Number(other)) => this.cmp(other),
            (
                FieldValue::Absent
                | FieldValue::Text(_)
                | FieldValue::Time(_)
                | FieldValue::Bool(_)
                | FieldValue::Number(_),
                _,
            ) => Ordering::Equal,
        }
    }
}

/// The place and the field of this name, in either spelling.
pub(super) fn find<'f>(fields: &'f [FieldSpec], name: &str) -> Option<(usize, &'f FieldSpec)> {
    let called = |field: &FieldSpec| field.name == name || camel(field.name) == name;
    fields.iter().enumerate().find(|(_, field)| called(field))
}

/// What somebody is told who names a field that there is not: the same, whatever the name.
pub(super) fn unknown(fields: &[FieldSpec], name: &str) -> String {
    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
    format!(
        "unknown field {}; there are {}",
        quoted(name),
        known.join(", ")
    )
}

/// What a caller wrote, between backquotes, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", cut(text))
}

/// What a caller wrote, cut where it is long.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// `connection_status.code` as `connectionStatus.code`.
fn camel(snake: &str) -> String {
    let mut after_line = false;
    let mut name = String::with_capacity(snake.len());
    for letter in snake.chars() {
        if letter == '_' {
            after_line = true;
        } else {
            name.push(if after_line {
                letter.to_ascii_uppercase()
            } else {
                letter
            });
            after_line = false;
        }
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
