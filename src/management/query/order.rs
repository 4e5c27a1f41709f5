//! `order_by` (AIP-132): `field [asc|desc], …`.
//!
//! Text is ordered by its Unicode scalar values. Records without a value come last, whichever the direction, so that `last_used_time desc` begins with what was
//! used. What is still equal is ordered by name, which makes every order a total one.

use std::cmp::Ordering;

use super::field::{FieldSpec, Record, Value, find, quoted, unknown};

/// An order over records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order(Vec<By>);

#[derive(Debug, PartialEq, Eq)]
struct By {
    field: usize,
    descending: bool,
}

/// A record's name and what it is ordered by.
struct Key<'r> {
    place: usize,
    values: Vec<Value<'r>>,
    name: &'r str,
}

impl Order {
    /// Reads an order; empty text is the order by name.
    ///
    /// # Errors
    /// What is wrong with it, for the caller.
    pub(super) fn parse(text: &str, fields: &[FieldSpec]) -> Result<Self, String> {
        let mut order: Vec<By> = Vec::new();
        if text.trim().is_empty() {
            return Ok(Self(order));
        }
        for part in text.split(',') {
            let mut words = part.split_whitespace();
            let Some(name) = words.next() else {
                return Err("expected a field before and after each `,`".to_owned());
            };
            let (field, _) = find(fields, name).ok_or_else(|| unknown(fields, name))?;
            let descending = match words.next() {
                None => false,
                Some(word) if word.eq_ignore_ascii_case("asc") => false,
                Some(word) if word.eq_ignore_ascii_case("desc") => true,
                Some(word) => return Err(unexpected(word, name)),
            };
            if let Some(word) = words.next() {
                return Err(unexpected(word, name));
            }
            if order.iter().any(|by| by.field == field) {
                return Err(format!("{} stands there twice", quoted(name)));
            }
            order.push(By { field, descending });
        }
        Ok(Self(order))
    }

    /// The places of these records, in order. Each value is read once: one that changes meanwhile does not upset the order.
    pub(super) fn sorted<'r, R: Record + 'r>(
        &self,
        records: impl Iterator<Item = (usize, &'r R)>,
    ) -> Vec<usize> {
        let key = |(place, record): (usize, &'r R)| Key {
            place,
            values: self.0.iter().map(|by| record.value(by.field)).collect(),
            name: record.name(),
        };
        let mut keys: Vec<Key<'r>> = records.map(key).collect();
        keys.sort_unstable_by(|this, other| self.compare(this, other));
        keys.into_iter().map(|key| key.place).collect()
    }

    fn compare(&self, this: &Key<'_>, other: &Key<'_>) -> Ordering {
        let values = this.values.iter().zip(&other.values);
        let mut by = self.0.iter().zip(values);
        let first = by.find_map(|(by, (this, other))| {
            let found = by.compare(this, other);
            found.is_ne().then_some(found)
        });
        first.unwrap_or_else(|| this.name.cmp(other.name))
    }
}

impl By {
    fn compare(&self, this: &Value<'_>, other: &Value<'_>) -> Ordering {
        let absent = |value: &Value<'_>| *value == Value::Absent;
        let presence = absent(this).cmp(&absent(other));
        let values = this.compare(other);
        presence.then(if self.descending {
            values.reverse()
        } else {
            values
        })
    }
}

fn unexpected(word: &str, name: &str) -> String {
    format!(
        "expected asc, desc or `,` after {}, found {}",
        quoted(name),
        quoted(word)
    )
}
