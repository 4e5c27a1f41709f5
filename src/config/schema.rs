//! The JSON Schema of a connection file, for editors.
//!
//! The structs below mirror what `definition` reads; a test holds the two together. Two things that no derive can say are added
//! afterwards: every field has two spellings, and exactly one auth kind must stand there. What a schema cannot say (a route's
//! grammar, an address's range, an id that is taken) only `check` finds.

#![expect(
    dead_code,
    reason = "these structs are never made: only their shape is used"
)]

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::credential::KINDS;
use super::object::camel_case;
use crate::domain::{ConcurrencyCap, ResponseCap, Timeout};

/// One connection.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Connection {
    /// Resource name, `connections/{id}`. Without it (and without `id`) the file's stem is the id.
    #[schemars(regex(pattern = r"^connections/[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    name: Option<String>,
    /// The id: first path segment of every request.
    #[schemars(regex(pattern = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    id: Option<String>,
    /// Name for people.
    display_name: Option<String>,
    /// Markdown for agents: endpoints, formats, rate limits.
    description: Option<String>,
    /// The only type there is.
    connection_type: Option<ConnectionType>,
    /// Where requests go, and which.
    connection_details: ConnectionDetails,
    /// Which tools may use the connection.
    tool_configurations: Option<Vec<ToolConfiguration>>,
    /// RFC 3339. A connection that has one is soft-deleted.
    #[schemars(extend("format" = "date-time"))]
    delete_time: Option<String>,
}

#[derive(JsonSchema)]
enum ConnectionType {
    #[schemars(rename = "CONNECTION_TYPE_HTTP")]
    Http,
}

/// Exactly one kind of details; HTTP is the only one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ConnectionDetails {
    /// An HTTPS API.
    http: Http,
}

/// An HTTPS API: where it is, what is allowed there, and one credential.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Http {
    /// `https` only; no userinfo, query or fragment.
    #[schemars(regex(pattern = r"^https://[^/?#@\\]+(/[^?#\\]*)?$"))]
    base_url: String,
    /// Patterns as Go's `http.ServeMux` reads them: `[METHOD ]/path`, `{wildcard}`, `{rest...}`, `{$}`.
    #[schemars(
        length(min = 1),
        inner(regex(pattern = r"^((GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)[ \t]+)?/"))
    )]
    allowed_routes: Vec<String>,
    /// Headers on every request that carry no credential.
    headers: Option<BTreeMap<String, String>>,
    /// OAuth 2.0 client credentials grant.
    oauth_client_credentials: Option<OauthClientCredentials>,
    /// `Authorization: Bearer`.
    bearer_token: Option<BearerToken>,
    /// `Authorization: Basic`.
    basic_auth: Option<BasicAuth>,
    /// Credentials in headers of any name.
    static_headers: Option<StaticHeaders>,
    /// The API needs no credential.
    no_auth: Option<NoAuth>,
    /// Key of the `X-Webhook-Signature` on requests with a body.
    #[schemars(schema_with = "secret", default)]
    webhook_signing_secret: Option<String>,
    /// Largest response body, in bytes.
    #[schemars(schema_with = "response_cap", default = "default_response_cap")]
    max_response_size_bytes: Option<u64>,
    /// How long one exchange may take, in seconds.
    #[schemars(schema_with = "timeout", default = "default_timeout")]
    timeout_seconds: Option<u64>,
    /// Ranges of addresses that are not public and may be dialled all the same.
    allowed_private_cidrs: Option<Vec<String>>,
    /// Whether `Cookie` and `Set-Cookie` pass.
    allow_cookies: Option<bool>,
    /// Headers with a credential, an object or an account that agents may send themselves, such as
    /// `X-API-Key`.
    #[schemars(inner(regex(pattern = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")))]
    allow_agent_headers: Option<Vec<String>>,
    /// Whether `%2F` may stand inside one segment.
    allow_encoded_slash: Option<bool>,
    /// Whether responses are searched for the credential.
    reflection_guard: Option<bool>,
    /// `false` closes the HTTP/1.1 socket to the API after every request with a body.
    reuse_after_body: Option<bool>,
    /// Requests at once.
    #[schemars(schema_with = "concurrency_cap", default = "default_concurrency_cap")]
    max_concurrent_requests: Option<u64>,
    /// Protocol towards the API.
    http2: Option<Http2>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Http2 {
    Auto,
    Prefer,
    Never,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OauthClientCredentials {
    /// `https` only; no userinfo or fragment. A query is kept.
    #[schemars(regex(pattern = r"^https://[^/?#@\\]+(/[^?#\\]*)?(\?[^#\\]*)?$"))]
    token_url: String,
    /// `client_credentials` unless the provider has a name of its own.
    #[schemars(length(min = 1, max = 256))]
    grant_type: Option<String>,
    #[schemars(schema_with = "secret")]
    client_id: String,
    #[schemars(schema_with = "secret")]
    client_secret: String,
    /// Separated by spaces.
    scopes: Option<String>,
    /// Further parameters of the token request.
    extra_params: Option<BTreeMap<String, String>>,
    /// Where the client's id and secret go; `basic` falls back to `body`.
    client_auth: Option<ClientAuth>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ClientAuth {
    Basic,
    Body,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BearerToken {
    #[schemars(schema_with = "secret")]
    token: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BasicAuth {
    #[schemars(schema_with = "secret")]
    username: String,
    #[schemars(schema_with = "secret_or_empty")]
    password: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct StaticHeaders {
    #[schemars(schema_with = "secret_map")]
    headers: BTreeMap<String, String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NoAuth {}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ToolConfiguration {
    tool: Tool,
    /// `false`: listed, but every request is refused.
    enabled: bool,
}

#[derive(JsonSchema)]
enum Tool {
    #[schemars(rename = "TOOL_HTTP_REQUEST")]
    HttpRequest,
}

fn secret(_: &mut SchemaGenerator) -> Schema {
    let reference = |name: &str, what: &str| {
        json!({
            "type": "object",
            "properties": {name: {"type": "string", "minLength": 1, "description": what}},
            "required": [name],
            "additionalProperties": false,
        })
    };
    json_schema!({
        "description": "The value itself, the name of an environment variable, or the path of a file.",
        "anyOf": [
            {"type": "string", "minLength": 1},
            reference("env", "Name of an environment variable"),
            reference("file", "Path of a file, relative to this one"),
        ],
    })
}

/// A secret, or a text without a character.
fn secret_or_empty(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = secret(generator);
    if let Some(text) = schema
        .pointer_mut("/anyOf/0")
        .and_then(Value::as_object_mut)
    {
        text.remove("minLength");
    }
    schema
}

fn secret_map(generator: &mut SchemaGenerator) -> Schema {
    let value = secret(generator);
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "anyOf": [
                value,
                {
                    "type": "object",
                    "properties": {
                        "value": value,
                        "secret": {"type": "boolean", "description": "`false`: responses may hold the value."},
                    },
                    "required": ["value"],
                    "additionalProperties": false,
                },
            ],
        },
    })
}

/// A number, or its digits in quotes as proto-JSON writes an int64.
fn whole_number(max: u64) -> Schema {
    json_schema!({
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": max},
            {"type": "string", "pattern": "^[0-9]+$"},
        ],
    })
}

// schemars takes a field with a schema of its own for required, whatever its type, unless a default is named.

fn response_cap(_: &mut SchemaGenerator) -> Schema {
    whole_number(ResponseCap::MAX)
}

fn default_response_cap() -> Option<u64> {
    Some(ResponseCap::MAX)
}

fn timeout(_: &mut SchemaGenerator) -> Schema {
    whole_number(Timeout::MAX_SECONDS)
}

fn default_timeout() -> Option<u64> {
    Some(Timeout::DEFAULT_SECONDS)
}

fn concurrency_cap(_: &mut SchemaGenerator) -> Schema {
    whole_number(ConcurrencyCap::MAX)
}

fn default_concurrency_cap() -> Option<u64> {
    Some(ConcurrencyCap::default().requests() as u64)
}

/// The schema, draft 2020-12, of a file that holds one connection or `connections: [...]`.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let mut generator = settings.into_generator();
    generator.subschema_for::<Connection>();
    let mut definitions = Value::Object(generator.take_definitions(true));
    finish(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "egressd connection file",
        "description": "One connection, or several under `connections`. Every field is accepted in snake_case and in camelCase.",
        "anyOf": [
            {"$ref": "#/$defs/Connection"},
            {
                "type": "object",
                "properties": {
                    "connections": {
                        "type": "array",
                        "items": {
                            "$ref": "#/$defs/Connection",
                            "anyOf": [{"required": ["name"]}, {"required": ["id"]}],
                        },
                    },
                },
                "required": ["connections"],
                "additionalProperties": false,
            },
        ],
        "$defs": definitions,
    })
}

/// Makes every object of a schema what the loader is: no `null`, both spellings, one auth kind.
fn finish(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            no_null(object);
            for value in object.values_mut() {
                finish(value);
            }
            both_spellings(object);
        }
        Value::Array(items) => items.iter_mut().for_each(finish),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An optional field may be absent, not `null`.
fn no_null(object: &mut Map<String, Value>) {
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    }
}

fn both_spellings(object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = object.get_mut("properties") else {
        return;
    };
    let names: Vec<String> = properties.keys().cloned().collect();
    let twins = names.iter().filter_map(|name| {
        let camel = camel_case(name);
        (camel != *name).then_some((name.clone(), camel))
    });
    let twins: Vec<(String, String)> = twins.collect();
    for (name, camel) in &twins {
        if let Some(schema) = properties.get(name).cloned() {
            properties.insert(camel.clone(), schema);
        }
    }
    let mut all: Vec<Value> = twins
        .iter()
        .map(|(name, camel)| json!({"not": {"required": [name, camel]}}))
        .collect();
    if let Some(Value::Array(required)) = object.remove("required") {
        let names = required.iter().filter_map(Value::as_str);
        all.extend(names.map(spelt));
    }
    if names.iter().any(|name| name == "bearer_token") {
        let kinds: Vec<Value> = KINDS.into_iter().map(spelt).collect();
        object.insert("oneOf".to_owned(), Value::Array(kinds));
    }
    if !all.is_empty() {
        object.insert("allOf".to_owned(), Value::Array(all));
    }
}

/// The field is there, in either spelling.
fn spelt(name: &str) -> Value {
    let camel = camel_case(name);
    if camel == name {
        json!({"required": [name]})
    } else {
        json!({"anyOf": [{"required": [name]}, {"required": [camel]}]})
    }
}
