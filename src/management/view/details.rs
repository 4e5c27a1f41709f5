//! `connectionDetails`: the definition of a connection, with defaults filled in and secrets
//! redacted.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::auth::AuthDetails;
use super::disclosure::{DisclosedValue, is_public_header};
use super::scalar::{Int64, Redacted};
use super::sources::CredentialSources;
use crate::domain::{Caps, ConfiguredHeader, Connection, Http2Mode};
use crate::route::Pattern;
use crate::snapshot::ConnectionEntry;

/// The details of a connection, by its type.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectionDetails {
    http: HttpDetails,
}

/// The details of an HTTP connection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HttpDetails {
    /// The URL that the path of a request is appended to.
    base_url: String,
    /// The patterns that allow requests, in the syntax of Go's `http.ServeMux`.
    allowed_routes: Vec<String>,
    /// Headers that are added to every request, in addition to the credential. A value is hidden if
    /// the header's name or value looks like a credential.
    #[schema(value_type = BTreeMap<String, String>)]
    headers: BTreeMap<String, DisclosedValue>,
    #[serde(flatten)]
    auth: AuthDetails,
    /// The key that signs request bodies, if they are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    webhook_signing_secret: Option<Redacted>,
    /// The maximum size of a response body.
    max_response_size_bytes: Int64,
    /// The maximum duration of an exchange.
    #[schema(value_type = i32, minimum = 1, maximum = 3600)]
    timeout_seconds: u64,
    /// Ranges of non-public addresses that may be dialled.
    allowed_private_cidrs: Vec<String>,
    /// `true` if `Cookie` and `Set-Cookie` headers are passed on.
    allow_cookies: bool,
    /// Names of headers from agents that are passed on, although egressd drops them by default:
    /// they carry a credential, or select an object or an account in addition to the path.
    allow_agent_headers: Vec<String>,
    /// `true` if `%2F` is allowed inside a path segment.
    allow_encoded_slash: bool,
    /// `true` if responses are searched for the credential.
    reflection_guard: bool,
    /// `true` if an HTTP/1.1 socket to the upstream may be reused after a request with a body.
    reuse_after_body: bool,
    /// The maximum number of concurrent requests.
    #[schema(value_type = i32, minimum = 1, maximum = 4096)]
    max_concurrent_requests: usize,
    /// The protocol to the upstream: `auto`, `prefer` or `never`.
    http2: &'static str,
}

/// A tool of the connection, and whether agents may use it.
#[derive(Serialize, ToSchema)]
pub(super) struct ToolConfiguration {
    /// Always `TOOL_HTTP_REQUEST`.
    tool: &'static str,
    /// If `false`, every request is refused.
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
            connector: _,
            base_url,
            routes,
            route_descriptions: _,
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
        // A header value may have bytes beyond ASCII (`obs-text` of RFC 9110 §5.5).
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
