//! Reads single values of a JSON document. Other values, which may be tokens, are not copied.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Returns the value to which a JSON Pointer (RFC 6901) leads, as text. `None` if there is none, or
/// if it is empty, an object or a list.
pub(super) fn text_at(document: &[u8], pointer: &str) -> Option<Zeroizing<String>> {
    let text = match scalar_at(document, pointer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then(|| Zeroizing::new(text))
}

/// Returns the whole seconds that a member states, as a number or a string.
pub(super) fn seconds_at(document: &[u8], pointer: &str) -> Option<u64> {
    match scalar_at(document, pointer)? {
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().map(|number| number as u64)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn scalar_at(document: &[u8], pointer: &str) -> Option<Value> {
    let text = std::str::from_utf8(document).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut at: &RawValue = serde_json::from_str(text).ok()?;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        at = match at.get().as_bytes().first()? {
            b'{' => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(at.get()).ok()?;
                members.get(&step).copied()?
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(at.get()).ok()?;
                items.get(step.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    match at.get().as_bytes().first()? {
        b'{' | b'[' => None,
        _ => serde_json::from_str(at.get()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{seconds_at, text_at};

    #[test]
    fn pointers_lead_to_scalars() {
        let document = br#"{"a": {"b/c": ["x", {"d": 7}]}, "t": "", "s": "12", "f": 1.5}"#;
        let at = |pointer: &str| text_at(document, pointer).map(|text| text.to_string());
        assert_eq!(at("/a/b~1c/0").as_deref(), Some("x"));
        assert_eq!(at("/a/b~1c/1/d").as_deref(), Some("7"));
        for nothing in ["", "/a", "/t", "/a/b~1c/2", "/a/b~1c/x", "/x", "/s/0"] {
            assert_eq!(at(nothing), None, "{nothing}");
        }
        assert_eq!(seconds_at(document, "/s"), Some(12));
        assert_eq!(seconds_at(document, "/f"), Some(1));
        assert_eq!(seconds_at(document, "/t"), None);
        assert_eq!(text_at(b"[", "/0"), None);
    }
}
