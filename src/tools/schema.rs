//! The JSON Schema of a tool's input.

use serde_json::{Map, Value, json};

use super::ToolRoute;
use crate::domain::route_description::{ParameterType, QueryParameter};
use crate::route::{Method, Segment};

pub(super) const QUERY: &str = "query";
pub(super) const BODY: &str = "body";
pub(super) const METHOD: &str = "method";

/// A segment before it is escaped. egressd refuses backslashes and control characters in every
/// form.
const SEGMENT_PATTERN: &str = r"^[^/\\\x00-\x1f\x7f]+$";
/// A segment on a connection with `allow_encoded_slash`, where a slash is sent as `%2F`.
const SEGMENT_PATTERN_WITH_SLASHES: &str = r"^[^\\\x00-\x1f\x7f]+$";
/// A remainder of a path, already escaped where necessary. It may be empty, and has no leading
/// slash and no query.
const REMAINDER_PATTERN: &str = r"^([^/?#\\\x00-\x1f\x7f][^?#\\\x00-\x1f\x7f]*)?$";

/// Returns whether a text matches one of the patterns above. Another pattern matches every text.
pub(super) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let is_plain = |byte: u8| byte != b'\\' && !byte.is_ascii_control();
    match pattern {
        SEGMENT_PATTERN => !text.is_empty() && text.bytes().all(|b| is_plain(b) && b != b'/'),
        SEGMENT_PATTERN_WITH_SLASHES => !text.is_empty() && text.bytes().all(is_plain),
        REMAINDER_PATTERN => {
            !text.starts_with('/')
                && text
                    .bytes()
                    .all(|b| is_plain(b) && !matches!(b, b'?' | b'#'))
        }
        _ => true,
    }
}

/// Returns the schema of the input object. Its properties are the wildcards under these names,
/// `query` and, if the route needs them, `body` and `method`.
pub(super) fn input_schema(
    route: &ToolRoute<'_>,
    names: &[Option<String>],
    allow_slashes: bool,
) -> Value {
    let pattern = route.pattern;
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (segment, name) in pattern.segments().iter().zip(names) {
        if let (Some(schema), Some(name)) = (wildcard_schema(segment, allow_slashes), name) {
            properties.insert(name.clone(), schema);
            required.push(name.clone());
        }
    }
    if pattern.method().is_none() {
        properties.insert(METHOD.to_owned(), method_schema());
        required.push(METHOD.to_owned());
    }
    properties.insert(QUERY.to_owned(), query_schema(route));
    if takes_body(pattern.method()) {
        properties.insert(BODY.to_owned(), body_schema());
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        // A model that invents an argument gets an error, and not a request without it.
        "additionalProperties": false,
    })
}

fn wildcard_schema(segment: &Segment, allow_slashes: bool) -> Option<Value> {
    match segment {
        Segment::Wildcard(_) => Some(json!({
            "type": "string",
            "description": "One segment of the path, unescaped.",
            // A wildcard does not match an empty segment.
            "minLength": 1,
            "pattern": if allow_slashes { SEGMENT_PATTERN_WITH_SLASHES } else { SEGMENT_PATTERN },
        })),
        Segment::Remainder(_) => Some(json!({
            "type": "string",
            "description": "The rest of the path, without a slash at its start; may be empty.",
            "pattern": REMAINDER_PATTERN,
        })),
        Segment::Literal(_) | Segment::End => None,
    }
}

fn method_schema() -> Value {
    let names: Vec<&str> = Method::ALL.into_iter().map(Method::as_str).collect();
    json!({"type": "string", "description": "The method of the request.", "enum": names})
}

/// Returns the schema of the query. Parameters that the route does not document are allowed.
///
/// The names of parameters are those of the API, such as `filter[id]`. The APIs of language models
/// restrict the names of properties only at the top level of a schema.
fn query_schema(route: &ToolRoute<'_>) -> Value {
    let mut schema = json!({
        "type": "object",
        "description": "Query parameters, unescaped; a list repeats its parameter.",
        "additionalProperties": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
    });
    let documented = route
        .description
        .map_or(&[][..], |described| &described.query);
    let properties: Map<String, Value> = documented
        .iter()
        .map(|parameter| {
            (
                parameter.name.as_str().to_owned(),
                parameter_schema(parameter),
            )
        })
        .collect();
    if let Some(schema) = schema.as_object_mut().filter(|_| !properties.is_empty()) {
        schema.insert("properties".to_owned(), properties.into());
    }
    schema
}

fn parameter_schema(parameter: &QueryParameter) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), parameter.kind.as_str().into());
    if parameter.kind == ParameterType::Array {
        schema.insert("items".to_owned(), json!({"type": "string"}));
    }
    if let Some(description) = &parameter.description {
        schema.insert("description".to_owned(), description.as_str().into());
    }
    schema.into()
}

/// Returns the schema of a body. `items` is present although it allows anything, because OpenAI's
/// API rejects a schema with arrays that has no `items`.
fn body_schema() -> Value {
    json!({
        "type": ["object", "array", "string"],
        "items": {},
        "description": "The body of the request: an object or a list is sent as JSON, a string as it is.",
    })
}

/// Returns whether the schema has a `body`. A body of GET, HEAD or DELETE has no defined semantics
/// (RFC 9110, sections 9.3.1, 9.3.2 and 9.3.5). If the input contains the method, the caller
/// decides.
fn takes_body(method: Option<Method>) -> bool {
    match method {
        None | Some(Method::Post | Method::Put | Method::Patch) => true,
        Some(Method::Get | Method::Head | Method::Delete | Method::Options) => false,
    }
}
