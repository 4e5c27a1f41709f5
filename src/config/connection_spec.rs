//! The fields of connection files.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::consent_spec::{IDENTITY, OAUTH_USER_CONSENT};
use super::spec::Kind::{self, Flag, Integer, List, Object, Value as Other};
use super::spec::{ObjectSpec, field, one_of, secret, text, text_like, texts, with_keyword};
use crate::domain::auth::ClientAuth;
use crate::domain::route_description::{
    DESCRIPTION_MAX_CHARS, PARAMETER_NAME_MAX_CHARS, ParameterType, TOOL_NAME_MAX_BYTES,
};
use crate::domain::{ConcurrencyCap, Http2Mode, ResponseCap, Timeout};

pub(super) const CONNECTION_TYPES: [(&str, ()); 1] = [("CONNECTION_TYPE_HTTP", ())];
pub(super) const TOOLS: [(&str, ()); 1] = [("TOOL_HTTP_REQUEST", ())];
pub(super) const HTTP2: [(&str, Http2Mode); 3] = [
    ("auto", Http2Mode::Auto),
    ("prefer", Http2Mode::Prefer),
    ("never", Http2Mode::Never),
];
pub(super) const CLIENT_AUTH: [(&str, ClientAuth); 2] =
    [("basic", ClientAuth::Basic), ("body", ClientAuth::Body)];
pub(super) const PARAMETER_TYPES: [(&str, ParameterType); 5] = {
    use ParameterType::{Array, Boolean, Integer, Number, String};
    [
        (String.as_str(), String),
        (Integer.as_str(), Integer),
        (Number.as_str(), Number),
        (Boolean.as_str(), Boolean),
        (Array.as_str(), Array),
    ]
};

/// The fields of [`HTTP`] that hold a credential. Exactly one of them is set.
pub(super) const AUTH_KINDS: [&str; 6] = [
    "oauth_client_credentials",
    "oauth_user_consent",
    "bearer_token",
    "basic_auth",
    "static_headers",
    "no_auth",
];

/// The objects that the JSON Schema describes by name, under `$defs`.
pub(super) const DESCRIBED: [&ObjectSpec; 13] = [
    &CONNECTION,
    &CONNECTION_DETAILS,
    &HTTP,
    &ROUTE,
    &QUERY_PARAMETER,
    &OAUTH_CLIENT_CREDENTIALS,
    &OAUTH_USER_CONSENT,
    &IDENTITY,
    &BEARER_TOKEN,
    &BASIC_AUTH,
    &STATIC_HEADERS,
    &NO_AUTH,
    &TOOL_CONFIGURATION,
];

/// The top level of a file with several connections.
pub(super) static CONNECTIONS: ObjectSpec = ObjectSpec::new(
    "",
    "",
    &[field("connections", List(connection_reference), "")],
);

#[rustfmt::skip] // short rows
pub(super) static CONNECTION: ObjectSpec = ObjectSpec::new("Connection", "One connection.", &[
    field("name", Other(|| text_like(r"^connections/[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")),
        "Resource name, `connections/{id}`. Without it (and without `id`) the file's stem is the id."),
    field("id", Other(|| text_like(r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")),
        "The id: first path segment of every request."),
    field("display_name", Other(text), "Name for people."),
    field("description", Other(text), "Markdown for agents: endpoints, formats, rate limits."),
    field("connection_type", Other(|| one_of(&CONNECTION_TYPES)), "The only supported type."),
    field("tool_configurations", List(|| TOOL_CONFIGURATION.reference()),
        "Which tools may use the connection."),
    field("delete_time", Other(|| json!({"type": "string", "format": "date-time"})),
        "RFC 3339. A connection with this field is soft-deleted."),
    field("connector", Other(|| text_like(r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")),
        "Connector that supplies `base_url`, `headers` and fields of `oauth_user_consent` that are absent; see `egressd connectors`."),
    field("connection_details", Object(&CONNECTION_DETAILS), "The upstream, and the requests that are allowed.")
        .required("write `connection_details: {http: {…}}`"),
]);

#[rustfmt::skip] // short rows
pub(super) static TOOL_CONFIGURATION: ObjectSpec = ObjectSpec::new("ToolConfiguration", "", &[
    field("tool", Other(|| one_of(&TOOLS)), "").required("write `tool: TOOL_HTTP_REQUEST`"),
    field("enabled", Other(|| json!({"type": "boolean"})),
        "`false`: the connection is listed, but every request is refused.")
        .required("write `enabled: true` or `enabled: false`"),
]);

static CONNECTION_DETAILS: ObjectSpec = ObjectSpec::new(
    "ConnectionDetails",
    "Exactly one kind of details; HTTP is the only one.",
    &[field("http", Object(&HTTP), "An HTTPS API.")
        .required("write `http: {base_url: …, allowed_routes: […]}`")],
)
.example("{http: {…}}");

#[rustfmt::skip] // short rows
pub(super) static HTTP: ObjectSpec = ObjectSpec::new("Http",
    "An HTTPS API: its URL, the requests that are allowed, and one credential.", &[
    field("base_url", Other(|| text_like(r"^https://[^/?#@\\]+(/[^?#\\]*)?$")),
        "`https` only; no userinfo, query or fragment.")
        .required("write `base_url: https://…`")
        .or_connector(),
    field("allowed_routes", Other(routes),
        "Patterns as Go's `http.ServeMux` reads them: `[METHOD ]/path`, `{wildcard}`, `{rest...}`, `{$}`; or mappings that describe one each.")
        .required("write at least one, such as `GET /api/status`"),
    field("max_response_size_bytes", at_most(ResponseCap::MAX, ResponseCap::DEFAULT),
        "Largest response body, in bytes. At most `limits.max_response_size_bytes` of the settings, which is 10485760 by default."),
    field("timeout_seconds", at_most(Timeout::MAX_SECONDS, Timeout::DEFAULT_SECONDS),
        "Time limit for one exchange, in seconds. At most `limits.max_timeout_seconds` of the settings, which is 300 by default."),
    field("max_concurrent_requests", at_most(ConcurrencyCap::MAX, ConcurrencyCap::DEFAULT as u64),
        "Maximum number of requests at the same time."),
    field("allowed_private_cidrs", List(text),
        "Ranges of non-public addresses that this connection may dial."),
    field("allow_cookies", Flag(false), "`true`: `Cookie` and `Set-Cookie` are passed on."),
    field("allow_encoded_slash", Flag(false), "`true`: one segment of a path may contain `%2F`."),
    field("reflection_guard", Flag(true), "`true`: responses are searched for the credential."),
    field("reuse_after_body", Flag(true),
        "`false` closes the HTTP/1.1 socket to the API after every request with a body."),
    field("http2", Other(|| one_of(&HTTP2)), "Protocol towards the API."),
    field("oauth_client_credentials", Object(&OAUTH_CLIENT_CREDENTIALS),
        "OAuth 2.0 client credentials grant.").secret(),
    field("oauth_user_consent", Object(&OAUTH_USER_CONSENT),
        "OAuth 2.0 that a person consents to with `egressd login`.").secret(),
    field("bearer_token", Object(&BEARER_TOKEN), "`Authorization: Bearer`.").secret(),
    field("basic_auth", Object(&BASIC_AUTH), "`Authorization: Basic`.").secret(),
    field("static_headers", Object(&STATIC_HEADERS), "Credentials in headers of any name.").secret(),
    field("no_auth", Object(&NO_AUTH), "The API needs no credential.").secret(),
    field("headers", Other(texts), "Headers that are added to every request and contain no credential."),
    field("allow_agent_headers", List(|| text_like(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")),
        "Headers that name a credential, an object or an account and that agents may send themselves, such as `X-API-Key`."),
    field("webhook_signing_secret", Other(|| secret(1)),
        "Key that signs requests with a body, in `X-Webhook-Signature`.").secret(),
]).example("{base_url: https://…, allowed_routes: […], …}");

#[rustfmt::skip] // short rows
pub(super) static ROUTE: ObjectSpec = ObjectSpec::new("Route", "A pattern, with a description for agents.", &[
    field("route", Other(pattern), "The pattern.").required("write `route: GET /…`"),
    field("name", Other(route_name),
        "Name of the tool, which replaces the one made of the pattern. The connection's id and `_` are put before it."),
    field("description", Other(route_text), "What the route is for."),
    field("query", Other(query_parameters),
        "Query parameters with their types. They are documented only: agents may send others."),
]).example("{route: GET /…, description: …}");

#[rustfmt::skip] // short rows
pub(super) static QUERY_PARAMETER: ObjectSpec = ObjectSpec::new("QueryParameter", "", &[
    field("type", Other(|| one_of(&PARAMETER_TYPES)), "Type of the value. An array is a list of strings.")
        .required("write `type: string`"),
    field("description", Other(route_text), "What the parameter does."),
]).example("{type: string, description: …}");

#[rustfmt::skip] // short rows
static OAUTH_CLIENT_CREDENTIALS: ObjectSpec = ObjectSpec::new("OauthClientCredentials", "", &[
    field("token_url", Other(|| text_like(r"^https://[^/?#@\\]+(/[^?#\\]*)?(\?[^#\\]*)?$")),
        "`https` only; no userinfo or fragment. A query is kept.")
        .required("write `token_url: https://…`"),
    field("client_id", Other(|| secret(1)), "").required("write `client_id: …`"),
    field("client_secret", Other(|| secret(1)), "").required("write `client_secret: {env: NAME}`"),
    field("grant_type", Other(|| json!({"type": "string", "minLength": 1, "maxLength": 256})),
        "`client_credentials`, or the provider's own name for the grant."),
    field("scopes", Other(text), "Separated by spaces."),
    field("extra_params", Other(texts), "Further parameters of the token request."),
    field("client_auth", Other(|| one_of(&CLIENT_AUTH)),
        "Where the client's id and secret are sent; `basic` falls back to `body`."),
]).example("{token_url: https://…, client_id: …, client_secret: {env: NAME}}");

#[rustfmt::skip] // short rows
static BEARER_TOKEN: ObjectSpec = ObjectSpec::new("BearerToken", "", &[
    field("token", Other(|| secret(1)), "").required("write `token: {env: NAME}`"),
]).example("{token: {env: NAME}}");

#[rustfmt::skip] // short rows
static BASIC_AUTH: ObjectSpec = ObjectSpec::new("BasicAuth", "", &[
    field("username", Other(|| secret(1)), "").required("write `username: …`"),
    field("password", Other(|| secret(0)), "")
        .required("write `password: {env: NAME}`, or `password: ''` where the user name is the key"),
]).example("{username: …, password: {env: NAME}}");

#[rustfmt::skip] // short rows
static STATIC_HEADERS: ObjectSpec = ObjectSpec::new("StaticHeaders", "", &[
    field("headers", Other(secret_headers), "")
        .required("write `headers: {X-API-Key: {env: NAME}}`"),
]).example("{headers: {X-API-Key: {env: NAME}}}");

static NO_AUTH: ObjectSpec = ObjectSpec::new("NoAuth", "", &[]).example("{}");

/// The long form of a static header's value. `{value: …, secret: false}` marks the value as not
/// secret.
#[rustfmt::skip] // short rows
pub(super) static HEADER_VALUE: ObjectSpec = ObjectSpec::new("", "", &[
    field("value", Other(|| secret(1)), "").required("write `{value: …, secret: false}`"),
    field("secret", Flag(true), "`false`: responses may contain the value."),
]);

/// A reference to a secret that is stored elsewhere: `{env: …}` or `{file: …}`.
#[rustfmt::skip] // short rows
pub(super) static SECRET_REFERENCE: ObjectSpec = ObjectSpec::new("", "", &[
    field("env", Other(text), ""),
    field("file", Other(text), ""),
]);

const fn at_most(max: u64, default: u64) -> Kind {
    Integer {
        min: 1,
        max,
        default,
    }
}

/// Returns the schema of a connection in a list, where no file name can be its id.
fn connection_reference() -> Value {
    let has_id = json!([{"required": ["name"]}, {"required": ["id"]}]);
    with_keyword(CONNECTION.reference(), "anyOf", has_id)
}

fn routes() -> Value {
    let route = json!({"anyOf": [pattern(), ROUTE.reference()]});
    json!({"type": "array", "minItems": 1, "items": route})
}

fn pattern() -> Value {
    text_like(r"^((GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)[ \t]+)?/")
}

fn route_name() -> Value {
    // The shortest id has one character.
    let max_length = TOOL_NAME_MAX_BYTES - "a_".len();
    json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$", "maxLength": max_length})
}

fn route_text() -> Value {
    json!({"type": "string", "pattern": r"\S", "maxLength": DESCRIPTION_MAX_CHARS})
}

fn query_parameters() -> Value {
    json!({
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": PARAMETER_NAME_MAX_CHARS},
        "additionalProperties": {"anyOf": [one_of(&PARAMETER_TYPES), QUERY_PARAMETER.reference()]},
    })
}

fn secret_headers() -> Value {
    json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [secret(1), HEADER_VALUE.schema()]},
    })
}
