//! Reads `connection_details.http`: one upstream, the requests that are allowed there, one
//! credential, and caps.

use http::HeaderName;
use ipnet::IpNet;
use jiff::Timestamp;

use super::auth;
use super::auth_context::AuthContext;
use super::connection_spec::HTTP2;
use super::connectors::ConnectorFile;
use super::field::Field;
use super::headers;
use super::object::Object;
use super::redaction::quoted;
use super::routes;
use super::secret_ref::ResolveContext;
use super::urls::{check_reachable, read_base_url};
use crate::domain::address::never_range_kind;
use crate::domain::{
    Auth, Caps, Ceilings, ConcurrencyCap, ConfiguredHeader, Connection, ConnectionId, Http2Mode,
    ResponseCap, Secret, Timeout,
};

/// The fields of a connection except its details.
pub(super) struct ConnectionMetadata {
    pub(super) id: ConnectionId,
    pub(super) display_name: String,
    pub(super) description: String,
    pub(super) enabled: bool,
    pub(super) delete_time: Option<Timestamp>,
}

/// Reads the details and completes the connection. Every mistake in them is reported. `connector`
/// is the one that the definition names.
pub(super) fn read_connection(
    http: &Object<'_>,
    context: &ResolveContext<'_>,
    metadata: Option<ConnectionMetadata>,
    connector: Option<&ConnectorFile>,
) -> Option<Connection> {
    let url = http.take_field("base_url");
    let base_url = url.as_ref().and_then(read_base_url);
    let cidrs = http.read_optional("allowed_private_cidrs", Vec::new(), |field| {
        field.read_items(read_cidr)
    });
    let id = metadata.as_ref().map(|metadata| &metadata.id);
    let has_login = connector.is_some_and(|file| !file.connector().credential_fields.is_empty());
    let auth = auth::read_auth(
        http,
        &AuthContext {
            resolve: &context.with_login(id.filter(|_| has_login)),
            allowed_cidrs: cidrs.as_deref(),
            id,
            base_url: base_url.as_ref(),
            provider: connector.map(ConnectorFile::provider),
        },
    );
    let (headers, allow_agent_headers) = read_headers(http, auth.as_ref());
    let webhook_signing_secret = http.read_optional("webhook_signing_secret", None, |field| {
        read_signing_secret(field, context).map(Some)
    });
    let caps = read_caps(http, context.ceilings);
    let allow_cookies = http.read_flag("allow_cookies");
    let reflection_guard = http.read_flag("reflection_guard");
    let reuse_after_body = http.read_flag("reuse_after_body");
    let http2 = http.read_optional("http2", Http2Mode::default(), |field| {
        field.read_choice(&HTTP2)
    });
    let allow_encoded_slash = http.read_flag("allow_encoded_slash");
    // This flag decides which patterns can never match. If the flag itself is invalid, fewer of
    // them are reported.
    let slash = allow_encoded_slash.unwrap_or(true);
    let routes = http.take_field("allowed_routes");
    let routes = routes.and_then(|field| routes::compile_routes(&field, slash, id));
    if let (Some(field), Some(url)) = (&url, &base_url) {
        check_reachable(field, url.host(), cidrs.as_deref())?;
    }
    // From here on the first error ends the function: every field has been read and reported.
    let (metadata, routes) = (metadata?, routes?);
    Some(Connection {
        id: metadata.id,
        display_name: metadata.display_name,
        description: metadata.description,
        connector: connector.map(|file| file.connector().slug.clone()),
        base_url: base_url?,
        routes: routes.table,
        route_descriptions: routes.descriptions,
        headers: headers?,
        auth: auth?,
        webhook_signing_secret: webhook_signing_secret?,
        caps: caps?,
        allowed_private_cidrs: cidrs?,
        allow_cookies: allow_cookies?,
        allow_agent_headers: allow_agent_headers?,
        allow_encoded_slash: allow_encoded_slash?,
        reflection_guard: reflection_guard?,
        reuse_after_body: reuse_after_body?,
        http2: http2?,
        enabled: metadata.enabled,
        delete_time: metadata.delete_time,
    })
}

/// Reads the headers that are added to requests, and the names of those that agents may send.
fn read_headers(
    http: &Object<'_>,
    auth: Option<&Auth>,
) -> (Option<Vec<ConfiguredHeader>>, Option<Vec<HeaderName>>) {
    let headers = http.read_optional("headers", Vec::new(), |field| {
        headers::read_configured(field, auth)
    });
    let set_by_auth = auth.into_iter().flat_map(Auth::header_names);
    let set_by_headers = headers.iter().flatten().map(|header| &header.name);
    let set: Vec<&HeaderName> = set_by_auth.chain(set_by_headers).collect();
    let allow_agent_headers = http.read_optional("allow_agent_headers", Vec::new(), |field| {
        headers::read_agent_headers(field, &set)
    });
    (headers, allow_agent_headers)
}

fn read_signing_secret(field: &Field<'_>, context: &ResolveContext<'_>) -> Option<Secret> {
    let secret = context.read_secret(field)?;
    if secret.len() < 16 {
        let message = "the signing secret has fewer than 16 bytes";
        field.warn("short_secret", message, "use a random secret of 32 bytes");
    }
    Some(secret)
}

fn read_caps(http: &Object<'_>, ceilings: Ceilings) -> Option<Caps> {
    let response = http.read_integer_up_to(
        "max_response_size_bytes",
        ceilings.response.bytes(),
        "limits.max_response_size_bytes",
    );
    let timeout = http.read_integer_up_to(
        "timeout_seconds",
        ceilings.timeout.duration().as_secs(),
        "limits.max_timeout_seconds",
    );
    let concurrency = http.read_integer("max_concurrent_requests");
    Some(Caps {
        response: ResponseCap::new(response?).ok()?,
        timeout: Timeout::from_seconds(timeout?).ok()?,
        concurrency: ConcurrencyCap::new(concurrency?).ok()?,
    })
}

fn read_cidr(field: &Field<'_>) -> Option<IpNet> {
    let text = field.read_text()?;
    let Ok(range) = text.parse::<IpNet>() else {
        let message = format!("{} is not a valid range of addresses", quoted(text));
        let remedy = "write one like `10.20.0.0/16`, or `10.1.2.3/32` for one address";
        return field.reject("invalid_cidr", message, remedy);
    };
    if range != range.trunc() {
        let message = format!("{} has bits set after its prefix", quoted(text));
        return field.reject(
            "invalid_cidr",
            message,
            format!("write `{}`", range.trunc()),
        );
    }
    if let Some(kind) = never_range_kind(&range) {
        let message = format!("`{range}` may never be dialled ({kind})");
        let remedy = "remove it; no connection may dial it";
        return field.reject("forbidden_cidr", message, remedy);
    }
    Some(range)
}
