//! The JSON Schema of a connection file, for editors.
//!
//! The schema is generated from the tables that the loader reads by. It cannot express everything:
//! the grammar of routes, the range of an address, and duplicate ids are reported by `check` only.

use serde_json::{Map, Value, json};

use super::connection_spec::{AUTH_KINDS, CONNECTION, CONNECTIONS, DESCRIBED, HTTP};
use super::spec::{required_in_either_spelling, with_keyword};

/// Returns the schema, draft 2020-12, of a file that holds one connection or `connections: [...]`.
pub fn schema() -> Value {
    let definitions = DESCRIBED.into_iter().map(|spec| {
        let mut schema = spec.schema();
        if std::ptr::eq(spec, &HTTP) {
            let kinds = AUTH_KINDS
                .into_iter()
                .map(required_in_either_spelling)
                .collect();
            // `oneOf` is satisfied if exactly one of the required fields is present.
            schema = with_keyword(schema, "oneOf", kinds);
        }
        (spec.name.to_owned(), schema)
    });
    let definitions: Map<String, Value> = definitions.collect();
    let several = with_keyword(CONNECTIONS.schema(), "required", json!(["connections"]));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "egressd connection file",
        "description": "One connection, or several under `connections`. Every field is accepted in snake_case and in camelCase.",
        "anyOf": [CONNECTION.reference(), several],
        "$defs": definitions,
    })
}
