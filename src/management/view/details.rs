//! `connectionDetails`: a definition as it stands, defaults included, secrets excepted.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{AuthDetails, DisclosedValue};
use super::disclosure::is_public_header;
use super::scalar::{Int64, Redacted};
use crate::domain::{ConfiguredHeader, Http2Mode};
use crate::route::Pattern;
use crate::snapshot::ConnectionEntry;

/// What a connection of its type is made of.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectionDetails {
    http: HttpDetails,
}

/// An HTTP API.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HttpDetails {
    /// Where requests go.
    base_url: String,
    /// Patterns in the syntax of Go's `http.ServeMux`.
    allowed_routes: Vec<String>,
    /// Headers on every request, beside the credential. A value whose name looks like a credential's is not shown.
    #[schema(value_type = BTreeMap<String, String>)]
    headers: BTreeMap<String, DisclosedValue>,
    #[serde(flatten)]
    auth: AuthDetails,
    /// The key of the webhook signature, where bodies are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    webhook_signing_secret: Option<Redacted>,
    /// The most bytes that a response body may have.
    max_response_size_bytes: Int64,
    /// How long one exchange may take.
    #[schema(value_type = i32, minimum = 1, maximum = 300)]
    timeout_seconds: u64,
    /// Ranges of addresses that are not public and may be dialled all the same.
    allowed_private_cidrs: Vec<String>,
    /// Whether cookies pass.
    allow_cookies: bool,
    /// Credential headers that agents may send themselves.
    allow_agent_headers: Vec<String>,
    /// Whether `%2F` may stand inside a segment.
    allow_encoded_slash: bool,
    /// Whether responses are searched for the injected secret.
    reflection_guard: bool,
    /// Whether an HTTP/1.1 socket to the upstream may be used again after a request with a body.
    reuse_after_body: bool,
    /// How many requests may be under way at once.
    #[schema(value_type = i32, minimum = 1, maximum = 4096)]
    max_concurrent_requests: usize,
    /// The protocol towards the upstream: `auto`, `prefer` or `never`.
    http2: &'static str,
}

/// Whether agents may use a tool of the connection.
#[derive(Serialize, ToSchema)]
pub(super) struct ToolConfiguration {
    /// `TOOL_HTTP_REQUEST`
    tool: &'static str,
    /// `false`: every request is refused.
    enabled: bool,
}

impl ConnectionDetails {
    pub(super) fn new(entry: &ConnectionEntry) -> Self {
        let connection = &entry.connection;
        let secret = connection.webhook_signing_secret.as_ref();
        let patterns = entry.connection.routes.patterns().iter();
        let cidrs = connection.allowed_private_cidrs.iter();
        let from_agent = connection.allow_agent_headers.iter();
        Self {
            http: HttpDetails {
                base_url: connection.base_url.to_string(),
                allowed_routes: patterns.map(Pattern::to_string).collect(),
                headers: connection.headers.iter().map(disclosed_header).collect(),
                auth: AuthDetails::new(&connection.auth),
                webhook_signing_secret: secret.map(|_unseen| Redacted),
                max_response_size_bytes: Int64(connection.caps.response.bytes()),
                timeout_seconds: connection.caps.timeout.duration().as_secs(),
                allowed_private_cidrs: cidrs.map(ToString::to_string).collect(),
                allow_cookies: connection.allow_cookies,
                allow_agent_headers: from_agent.map(ToString::to_string).collect(),
                allow_encoded_slash: connection.allow_encoded_slash,
                reflection_guard: connection.reflection_guard,
                reuse_after_body: connection.reuse_after_body,
                max_concurrent_requests: connection.caps.concurrency.requests(),
                http2: match connection.http2 {
                    Http2Mode::Auto => "auto",
                    Http2Mode::Prefer => "prefer",
                    Http2Mode::Never => "never",
                },
            },
        }
    }
}

impl ToolConfiguration {
    pub(super) fn new(entry: &ConnectionEntry) -> Self {
        Self {
            tool: super::types::TOOL,
            enabled: entry.connection.enabled,
        }
    }
}

fn disclosed_header(header: &ConfiguredHeader) -> (String, DisclosedValue) {
    let value = header.value.as_bytes();
    let shown = if is_public_header(&header.written, value) {
        DisclosedValue::Plain(String::from_utf8_lossy(value).into_owned())
    } else {
        DisclosedValue::Hidden(Redacted)
    };
    (header.written.to_string(), shown)
}
