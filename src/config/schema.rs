//! The JSON Schema of a connection file, for editors.
//!
//! The schema is generated from the tables that the loader reads by. It cannot express everything:
//! the grammar of routes, the range of an address, and duplicate ids are reported by `check` only.

use serde_json::{Map, Value, json};

use super::connection_spec::{AUTH_KINDS, CONNECTION, CONNECTIONS, DESCRIBED, HTTP};
use super::spec::{camel_case, required_in_either_spelling, with_keyword};

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
        if std::ptr::eq(spec, &CONNECTION) {
            let without = json!([{"required": ["connector"]}, complete_details()]);
            schema = with_keyword(schema, "anyOf", without);
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

/// Returns the schema of a connection that has all fields which a connector may supply.
fn complete_details() -> Value {
    let either = |name: &str, schema: &Value| {
        let names = [name.to_owned(), camel_case(name)];
        json!({"properties": names.into_iter().map(|name| (name, schema.clone())).collect::<Map<_, _>>()})
    };
    let ways = [
        "authorization_url",
        "device_authorization_url",
        "refresh_token",
    ];
    let consent = json!({"allOf": [
        required_in_either_spelling("token_url"),
        {"anyOf": ways.map(required_in_either_spelling)},
    ]});
    let http = json!({"allOf": [
        required_in_either_spelling("base_url"),
        either("oauth_user_consent", &consent),
    ]});
    either("connection_details", &json!({"properties": {"http": http}}))
}
