//! Placeholders such as `{tenant}` in the texts of a connector.

use super::document::{Node, Value};

/// A placeholder that a connector declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The name, without braces.
    pub(super) name: String,
    /// The description of the value.
    pub(super) description: String,
    /// The value if no other one is given.
    pub(super) default: Option<String>,
}

/// The longest value, in bytes: that of a host name.
const MAX_VALUE_BYTES: usize = 253;

/// Returns whether a value may replace a placeholder. It can neither end a host nor add a segment
/// to a path.
pub(super) fn is_value(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    (1..=MAX_VALUE_BYTES).contains(&text.len()) && text.bytes().all(legal)
}

/// Returns whether a text is the name of a placeholder.
pub(super) fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(legal)
}

/// Splits a text at its placeholders: each piece of text is followed by the name of a placeholder,
/// except the last one.
fn split(text: &str) -> Vec<(&str, Option<&str>)> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(open) = rest.get(from..).and_then(|rest| rest.find('{')) {
        let open = from + open;
        let inside = rest.get(open + 1..).unwrap_or_default();
        let name = inside.split('}').next().unwrap_or_default();
        if name.len() < inside.len() && is_name(name) {
            pieces.push((rest.get(..open).unwrap_or_default(), Some(name)));
            rest = inside.get(name.len() + 1..).unwrap_or_default();
            from = 0;
        } else {
            from = open + 1;
        }
    }
    pieces.push((rest, None));
    pieces
}

/// Returns the names of the placeholders in a text.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    split(text).into_iter().filter_map(|(_, name)| name)
}

/// Returns the first placeholder in a text, without braces.
pub(super) fn first_placeholder(text: &str) -> Option<&str> {
    names(text).next()
}

/// Replaces the placeholders for which there is a value.
pub(super) fn fill(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let pieces = split(text).into_iter().map(|(text, name)| match name {
        Some(name) => format!("{text}{}", value(name).unwrap_or(format!("{{{name}}}"))),
        None => text.to_owned(),
    });
    pieces.collect()
}

/// Replaces the placeholders in all texts of a tree.
pub(super) fn fill_tree(node: &mut Node, value: &dyn Fn(&str) -> Option<String>) {
    match &mut node.value {
        Value::Text(text) => {
            let filled = fill(text, value);
            **text = filled;
        }
        Value::List(items) => items.iter_mut().for_each(|item| fill_tree(item, value)),
        Value::Map(entries) => {
            let values = entries.iter_mut().map(|(_, item)| item);
            values.for_each(|item| fill_tree(item, value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the names of the placeholders in all texts of a tree.
pub(super) fn names_in_tree(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Text(text) => names(text).collect(),
        Value::List(items) => items.iter().flat_map(names_in_tree).collect(),
        Value::Map(entries) => {
            let values = entries.iter().map(|(_, item)| item);
            values.flat_map(names_in_tree).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{fill, is_value, names};

    #[test]
    fn placeholders_of_a_text() {
        let found = |text| names(text).collect::<Vec<_>>();
        assert_eq!(found("https://{host}/a/{tenant_1}"), ["host", "tenant_1"]);
        for text in [
            "",
            "https://h/",
            "{",
            "{}",
            "{A}",
            "{a b}",
            "a}b{c",
            "{$}",
            "{x...}",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
        assert_eq!(found("{{a}}"), ["a"]);
        let value = |name: &str| (name == "host").then(|| "h.test".to_owned());
        assert_eq!(
            fill("https://{host}/{a}/{host}{", &value),
            "https://h.test/{a}/h.test{"
        );
    }

    #[test]
    fn values_of_placeholders() {
        for good in ["a", "acme.my.salesforce.com", "1-2", &"a".repeat(253)] {
            assert!(is_value(good), "{good}");
        }
        // F-360
        for bad in ["", "a/b", "a@b", "a:1", "a b", "ü", "a_b", &"a".repeat(254)] {
            assert!(!is_value(bad), "{bad}");
        }
    }
}
