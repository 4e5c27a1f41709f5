//! `order_by` (AIP-132): `field [asc|desc], …`.
//!
//! Text is ordered by the Unicode scalar values of its first [`MAX_KEY_CHARS`] characters. Records
//! without a value come last in both directions, so `last_used_time desc` starts with the
//! connections that were used. Ties are broken by name, which makes every order total.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::field::{FieldSpec, FieldValue, Record, find_field, quoted, unknown_field};

/// The number of characters of a text that an order compares. A page token contains these, so its
/// length is bounded.
const MAX_KEY_CHARS: usize = 256;

/// An order over records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order(Vec<SortField>);

#[derive(Debug, PartialEq, Eq)]
struct SortField {
    index: usize,
    is_descending: bool,
}

/// The position of a record in an order: the values that it is ordered by, and its name.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OrderKey<'r> {
    values: Vec<FieldValue<'r>>,
    name: Cow<'r, str>,
}

impl Order {
    /// Parses an order. Empty text is the order by name.
    ///
    /// # Errors
    ///
    /// Returns a message for the caller.
    pub(super) fn parse(text: &str, fields: &[FieldSpec]) -> Result<Self, String> {
        let mut order: Vec<SortField> = Vec::new();
        if text.trim().is_empty() {
            return Ok(Self(order));
        }
        for part in text.split(',') {
            let mut words = part.split_whitespace();
            let Some(name) = words.next() else {
                return Err("expected a field before and after each `,`".to_owned());
            };
            let (index, _) = find_field(fields, name).ok_or_else(|| unknown_field(fields, name))?;
            let (is_descending, surplus) = match words.next() {
                None => (false, None),
                // AIP-132 has only `desc`. `asc` is accepted because it is usual in SQL.
                Some(word) if word.eq_ignore_ascii_case("asc") => (false, words.next()),
                Some(word) if word.eq_ignore_ascii_case("desc") => (true, words.next()),
                Some(word) => (false, Some(word)),
            };
            if let Some(word) = surplus {
                let (name, word) = (quoted(name), quoted(word));
                return Err(format!(
                    "expected asc, desc or `,` after {name}, found {word}"
                ));
            }
            if order.iter().any(|sort| sort.index == index) {
                return Err(format!("{} is given more than once", quoted(name)));
            }
            order.push(SortField {
                index,
                is_descending,
            });
        }
        Ok(Self(order))
    }

    /// Returns the record's key. Each value is read once, so the order is consistent even if a
    /// value changes while the records are sorted.
    pub(super) fn key<'r>(&self, record: &'r impl Record) -> OrderKey<'r> {
        let values = record.values();
        let sorted_by = self.0.iter().filter_map(|sort| values.get(sort.index));
        OrderKey {
            values: sorted_by.cloned().map(key_value).collect(),
            name: record.name().into(),
        }
    }

    pub(super) fn compare(&self, one: &OrderKey<'_>, other: &OrderKey<'_>) -> Ordering {
        let values = one.values.iter().zip(&other.values);
        let mut compared = self.0.iter().zip(values).map(|(sort, (one, other))| {
            let is_absent = |value: &FieldValue<'_>| *value == FieldValue::Absent;
            // Values of a field are of one kind, and numbers are finite, so they can always be
            // compared.
            let values = one.partial_cmp(other).unwrap_or(Ordering::Equal);
            // Before the direction is applied, so that absent values are last in both.
            is_absent(one)
                .cmp(&is_absent(other))
                .then(if sort.is_descending {
                    values.reverse()
                } else {
                    values
                })
        });
        let first = compared.find(|order| order.is_ne());
        first.unwrap_or_else(|| one.name.cmp(&other.name))
    }
}

fn key_value(value: FieldValue<'_>) -> FieldValue<'_> {
    if let FieldValue::Text(text) = &value
        && let Some((end, _)) = text.char_indices().nth(MAX_KEY_CHARS)
    {
        let start = text.get(..end).unwrap_or_default();
        return FieldValue::Text(start.to_owned().into());
    }
    value
}
