//! Reads the rows of `tests/vectors/servemux`.

use egressd::route::{CanonicalPath, InvalidPatternKind as Kind, Pattern};
use serde_json::Value;
use std::collections::BTreeMap;

/// The number of rows of each kind.
pub(crate) type Counts = BTreeMap<&'static str, usize>;

pub(crate) fn rows(text: &str) -> impl Iterator<Item = Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row is JSON"))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .map(|c| c.to_digit(16).expect("a hex digit"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte"))
        .collect()
}

/// A string of a row, from `key` or, where it is not UTF-8, from `key_hex`.
pub(crate) fn bytes(row: &Value, key: &str) -> Vec<u8> {
    match (row.get(key), row.get(format!("{key}_hex"))) {
        (Some(text), None) => text.as_str().expect("a string").as_bytes().to_vec(),
        (None, Some(hex)) => unhex(hex.as_str().expect("a string")),
        other => panic!("{key} in {row}: {other:?}"),
    }
}

pub(crate) fn text<'r>(row: &'r Value, key: &str) -> &'r str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn index(row: &Value, key: &str) -> Option<usize> {
    let index = row
        .get(key)
        .and_then(Value::as_i64)
        .unwrap_or_else(|| panic!("{key} in {row}"));
    usize::try_from(index).ok()
}

/// The list, if each of its patterns is one of ours.
pub(crate) fn parse_all<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Option<Vec<Pattern>> {
    let parsed: Result<Vec<_>, _> = patterns.into_iter().map(Pattern::parse).collect();
    match parsed {
        Ok(patterns) => Some(patterns),
        Err(invalid) => {
            assert!(
                matches!(
                    invalid.kind,
                    Kind::Host | Kind::Url | Kind::UnsupportedMethod | Kind::Query | Kind::Fragment
                ),
                "{invalid}"
            );
            None
        }
    }
}

/// A path as it is matched where the connection allows encoded slashes, if the gate admits it.
pub(crate) fn admitted(path: &[u8]) -> Option<CanonicalPath<'_>> {
    CanonicalPath::parse(path)
        .ok()
        .map(CanonicalPath::allowing_encoded_slash)
}
