//! Strict reading of JSON: no key occurs twice in an object, at any depth.
//!
//! Values stay slices of the text. So a value that egressd does not use is written again byte for
//! byte, and a token is never copied to a buffer that is not wiped.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::invalid_document::InvalidDocument;

/// The deepest nesting of objects and lists.
const MAX_DEPTH: usize = 32;

/// The members of an object, in the order of the text.
pub(super) struct Members<'t>(pub(super) Vec<(String, &'t RawValue)>);

impl<'t> Members<'t> {
    /// Parses a text that is one object.
    pub(super) fn parse(text: &'t str) -> Result<Self, InvalidDocument> {
        let members = Self::parse_object(text)?;
        members.check_values(MAX_DEPTH)?;
        Ok(members)
    }

    fn parse_object(text: &'t str) -> Result<Self, InvalidDocument> {
        let members: Self = serde_json::from_str(text).map_err(|error| describe(&error))?;
        let mut seen = HashSet::new();
        if members.0.iter().all(|(key, _)| seen.insert(key.as_str())) {
            Ok(members)
        } else {
            Err(InvalidDocument::DuplicateKey)
        }
    }

    fn check_values(&self, depth: usize) -> Result<(), InvalidDocument> {
        self.0
            .iter()
            .try_for_each(|(_, value)| check_value(value, depth))
    }
}

/// Checks the keys of all objects in a value.
fn check_value(value: &RawValue, depth: usize) -> Result<(), InvalidDocument> {
    let text = value.get();
    let below = || depth.checked_sub(1).ok_or(InvalidDocument::Depth);
    match text.as_bytes() {
        [b'{', ..] => Members::parse_object(text)?.check_values(below()?),
        [b'[', ..] => {
            let below = below()?;
            let items: Vec<&RawValue> =
                serde_json::from_str(text).map_err(|error| describe(&error))?;
            items
                .into_iter()
                .try_for_each(|item| check_value(item, below))
        }
        _ => Ok(()),
    }
}

/// Describes an error by its place only: the text of `serde_json` can contain a value.
fn describe(error: &serde_json::Error) -> InvalidDocument {
    match error.classify() {
        Category::Eof => InvalidDocument::Incomplete,
        Category::Data => InvalidDocument::NotObject,
        Category::Syntax | Category::Io => InvalidDocument::Syntax {
            line: error.line(),
            column: error.column(),
        },
    }
}

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(entry) = map.next_entry()? {
            members.push(entry);
        }
        Ok(Members(members))
    }
}
