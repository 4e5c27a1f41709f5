//! Checks the arguments of a call against the schema of its tool.
//!
//! Only the keywords that `schema` and descriptions of queries use are known. Others are
//! annotations, and have no effect.

use serde_json::{Map, Value};
use thiserror::Error;

use super::schema::matches_pattern;

/// The most bytes of an argument's name that a message shows.
const MAX_SHOWN: usize = 64;

/// The reason why arguments do not fit the schema, as a sentence for a language model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidArguments(pub(super) String);

/// Checks the arguments against the schema of an object.
pub(super) fn check(
    schema: &Value,
    arguments: &Map<String, Value>,
) -> Result<(), InvalidArguments> {
    check_object(schema, arguments, "")
}

/// Checks a value. `place` is the path to it, such as `query.page`.
fn check_value(schema: &Value, value: &Value, place: &str) -> Result<(), InvalidArguments> {
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = |choice: &Value| check_value(choice, value, place).is_ok();
        return if choices.iter().any(fits) {
            Ok(())
        } else {
            Err(wrong_type(schema, place))
        };
    }
    if let Some(types) = schema.get("type") {
        let is_named = |name: &Value| name.as_str().is_some_and(|name| has_type(value, name));
        if !list_or_one(types).iter().any(is_named) {
            return Err(wrong_type(schema, place));
        }
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let allowed = allowed.join(", ");
        return Err(InvalidArguments(format!(
            "`{place}` must be one of {allowed}."
        )));
    }
    match value {
        Value::String(text) => check_text(schema, text, place),
        Value::Array(items) => check_items(schema, items, place),
        Value::Object(members) => check_object(schema, members, place),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_text(schema: &Value, text: &str, place: &str) -> Result<(), InvalidArguments> {
    if text.is_empty() && schema.get("minLength").and_then(Value::as_u64) > Some(0) {
        return Err(InvalidArguments(format!("`{place}` must not be empty.")));
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    match pattern.filter(|pattern| !matches_pattern(pattern, text)) {
        Some(pattern) => Err(InvalidArguments(format!(
            "`{place}` does not match the pattern `{pattern}`."
        ))),
        None => Ok(()),
    }
}

fn check_items(schema: &Value, items: &[Value], place: &str) -> Result<(), InvalidArguments> {
    let Some(schema) = schema.get("items") else {
        return Ok(());
    };
    for (at, item) in items.iter().enumerate() {
        check_value(schema, item, &format!("{place}[{at}]"))?;
    }
    Ok(())
}

fn check_object(
    schema: &Value,
    members: &Map<String, Value>,
    place: &str,
) -> Result<(), InvalidArguments> {
    let inside = |name: &str| {
        let shown = name.get(..name.floor_char_boundary(MAX_SHOWN));
        let dot = if place.is_empty() { "" } else { "." };
        format!("{place}{dot}{}", shown.unwrap_or_default())
    };
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !members.contains_key(name) {
            return Err(InvalidArguments(format!("`{}` is missing.", inside(name))));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    for (name, value) in members {
        let known = properties.and_then(|properties| properties.get(name));
        match known.or(others) {
            Some(Value::Bool(false)) => {
                let names = properties.into_iter().flat_map(Map::keys);
                let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                return Err(InvalidArguments(format!(
                    "`{}` is not an argument; the arguments are {}.",
                    inside(name),
                    names.join(", ")
                )));
            }
            Some(schema) => check_value(schema, value, &inside(name))?,
            None => {}
        }
    }
    Ok(())
}

/// Returns the items of a list, or a value that is not a list as the only item.
pub(super) fn list_or_one(value: &Value) -> &[Value] {
    value
        .as_array()
        .map_or_else(|| std::slice::from_ref(value), Vec::as_slice)
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        // JSON Schema counts 1.0 as an integer.
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
        }
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn wrong_type(schema: &Value, place: &str) -> InvalidArguments {
    let mut names = Vec::new();
    add_type_names(schema, &mut names);
    InvalidArguments(format!("`{place}` must be {}.", names.join(" or ")))
}

/// Adds the types that a schema allows, such as `a list`.
fn add_type_names<'s>(schema: &'s Value, names: &mut Vec<&'s str>) {
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        for choice in choices {
            add_type_names(choice, names);
        }
        return;
    }
    let types = schema.get("type").map_or(&[][..], list_or_one);
    for name in types.iter().filter_map(Value::as_str) {
        names.push(match name {
            "array" => "a list",
            "object" => "an object",
            "integer" => "an integer",
            "null" => "null",
            "string" => "a string",
            "boolean" => "a boolean",
            "number" => "a number",
            other => other,
        });
    }
}
