//! `connectionDetails`: a definition as it stands, defaults included, secrets excepted.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{AuthDetails, DisclosedValue};
use super::disclosure::is_public_header;
use super::scalar::{Int64, Redacted};
use super::sources::CredentialSources;
use crate::domain::{Caps, ConfiguredHeader, Connection, Http2Mode};
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
    /// Returns the details, and where the redacted values in them come from.
    pub(super) fn new(connection: &Connection) -> (Self, CredentialSources) {
        // Without `..`, so that the compiler points here when there is a new field.
        let Connection {
            id: _,
            display_name: _,
            description: _,
            base_url,
            routes,
            headers,
            auth,
            webhook_signing_secret,
            caps:
                Caps {
                    response,
                    timeout,
                    concurrency,
                },
            allowed_private_cidrs,
            allow_cookies,
            allow_agent_headers,
            allow_encoded_slash,
            reflection_guard,
            reuse_after_body,
            http2,
            enabled: _,
            delete_time: _,
        } = connection;
        let mut sources = CredentialSources::default();
        let signing_secret = webhook_signing_secret.as_ref();
        let headers = headers.iter().map(|h| disclosed_header(h, &mut sources));
        let http = HttpDetails {
            base_url: base_url.to_string(),
            allowed_routes: routes.patterns().iter().map(Pattern::to_string).collect(),
            headers: headers.collect(),
            auth: AuthDetails::new(auth, &mut sources),
            webhook_signing_secret: signing_secret
                .map(|secret| sources.redact("webhookSigningSecret", secret)),
            max_response_size_bytes: Int64(response.bytes()),
            timeout_seconds: timeout.duration().as_secs(),
            allowed_private_cidrs: to_strings(allowed_private_cidrs),
            allow_cookies: *allow_cookies,
            allow_agent_headers: to_strings(allow_agent_headers),
            allow_encoded_slash: *allow_encoded_slash,
            reflection_guard: *reflection_guard,
            reuse_after_body: *reuse_after_body,
            max_concurrent_requests: concurrency.requests(),
            http2: match http2 {
                Http2Mode::Auto => "auto",
                Http2Mode::Prefer => "prefer",
                Http2Mode::Never => "never",
            },
        };
        (Self { http }, sources)
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

fn disclosed_header(
    header: &ConfiguredHeader,
    sources: &mut CredentialSources,
) -> (String, DisclosedValue) {
    let value = header.value.as_bytes();
    let shown = if is_public_header(&header.written, value) {
        DisclosedValue::Plain(String::from_utf8_lossy(value).into_owned())
    } else {
        let path = format!("headers.{}", header.written);
        DisclosedValue::Hidden(sources.redact_inline(&path))
    };
    (header.written.to_string(), shown)
}

fn to_strings(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}
