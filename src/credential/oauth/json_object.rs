//! Strict reading of a JSON object that a token endpoint has sent. Values stay slices of the body,
//! so that a token is never copied to a buffer that is not wiped.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::domain::auth::JsonPointer;

/// The members of an object in which no key occurs twice.
pub(super) struct JsonObject<'b> {
    members: Vec<(String, &'b RawValue)>,
}

impl<'b> JsonObject<'b> {
    /// Parses a body that is one object.
    pub(super) fn parse(body: &'b [u8]) -> Option<Self> {
        // The whole body must be valid UTF-8. `serde_json` would not check the bytes that it skips.
        let text = std::str::from_utf8(body).ok()?;
        // RFC 8259 §8.1: a parser may ignore a byte order mark.
        Self::parse_text(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    fn parse_text(text: &'b str) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = reader.deserialize_map(UniqueMembersVisitor).ok()?;
        reader.end().ok()?;
        Some(Self { members })
    }

    /// Returns the JSON text of a member.
    pub(super) fn get(&self, name: &str) -> Option<&'b RawValue> {
        let mut members = self.members.iter();
        members.find_map(|(key, value)| (key == name).then_some(*value))
    }

    /// Returns the value of a member. A number that is too large for the JSON library becomes the
    /// largest or smallest integer.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        self.get(name).and_then(parse_clamped)
    }

    /// Returns the string of a member, or `None` if it is absent, empty or not a string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = serde_json::from_str::<String>(self.get(name)?.get()).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Returns the object to which the pointer leads. Returns `None` for the empty pointer, and if
    /// there is no object.
    pub(super) fn object_at(&self, pointer: &JsonPointer) -> Option<Self> {
        let mut steps = pointer.as_str().split('/').skip(1);
        let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let mut object = Self::parse_text(self.get(&step(steps.next()?))?.get())?;
        for name in steps {
            object = Self::parse_text(object.get(&step(name))?.get())?;
        }
        Some(object)
    }

    /// Returns the names and values of all members.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, Value)> {
        let members = self.members.iter();
        members.filter_map(|(name, value)| Some((name.as_str(), parse_clamped(value)?)))
    }
}

/// Returns the content of an ASCII JSON string in one buffer that is wiped on drop. `serde_json`
/// would leave unwiped copies if there are escapes (PHP writes `\/`). Returns `None` for any other
/// value.
pub(super) fn unescape_ascii(json: &RawValue) -> Option<Zeroizing<Vec<u8>>> {
    let json = json.get();
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?.bytes();
    // The buffer never grows, because an escape is longer than its character. So no unwiped copy
    // remains.
    let mut bytes = Zeroizing::new(Vec::with_capacity(rest.len()));
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next()? {
                escaped @ (b'"' | b'\\' | b'/') => escaped,
                b'u' => {
                    let digit = |byte: u8| char::from(byte).to_digit(16);
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code * 16 + digit(rest.next()?)?;
                    }
                    u8::try_from(code).ok().filter(u8::is_ascii)?
                }
                // An escape for a control character, which no token contains.
                _ => return None,
            },
            byte => byte,
        };
        bytes.push(byte);
    }
    Some(bytes)
}

fn parse_clamped(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get())
        .ok()
        .or_else(|| match raw.get().as_bytes() {
            [b'-', ..] => Some(Value::from(i64::MIN)),
            [b'0'..=b'9', ..] => Some(Value::from(u64::MAX)),
            _ => None,
        })
}

struct UniqueMembersVisitor;

impl<'de> Visitor<'de> for UniqueMembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, value)) = map.next_entry::<String, _>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom("a key occurs twice"));
            }
            members.push((key, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::JsonObject;
    use crate::domain::auth::JsonPointer;

    #[test]
    fn a_pointer_leads_to_an_object_or_to_nothing() {
        let body = br#"{"authed_user": {"a/b": {"~": {"x": "1"}}}, "list": [{}], "text": "t"}"#;
        let object = JsonObject::parse(body).unwrap();
        let at = |pointer: &str| object.object_at(&JsonPointer::parse(pointer).unwrap());
        assert_eq!(at("/authed_user/a~1b/~0").unwrap().text("x").unwrap(), "1");
        for nothing in ["", "/absent", "/list", "/list/0", "/text", "/authed_user/x"] {
            assert!(at(nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn a_key_occurs_once_in_each_object_on_the_way() {
        let body = br#"{"nested": {"a": 1, "a": 2}}"#;
        let object = JsonObject::parse(body).unwrap();
        assert!(
            object
                .object_at(&JsonPointer::parse("/nested").unwrap())
                .is_none()
        );
    }
}
