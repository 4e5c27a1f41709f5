//! A connection: one upstream with its allowed routes, credential and limits.

use http::HeaderName;
use ipnet::IpNet;
use jiff::Timestamp;

use super::auth::Auth;
use super::caps::Caps;
use super::connector::ConnectorSlug;
use super::headers::ConfiguredHeader;
use super::id::ConnectionId;
use super::route_description::RouteDescriptions;
use super::secret::Secret;
use super::url::BaseUrl;
use crate::route::RouteTable;

/// The choice between HTTP/1.1 and HTTP/2 towards the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2Mode {
    /// HTTP/1.1, or HTTP/2 if the server supports only that.
    #[default]
    Auto,
    /// HTTP/2 if the server supports it.
    Prefer,
    /// HTTP/1.1 only.
    Never,
}

/// A connection as the operator defined it. The type of each field allows only valid values.
pub struct Connection {
    /// The id of the connection.
    pub id: ConnectionId,
    /// The name shown to people. The id if the definition has none.
    pub display_name: String,
    /// A description for agents, in Markdown. May be empty.
    pub description: String,
    /// The connector that the definition refers to.
    pub connector: Option<ConnectorSlug>,
    /// The URL that requests are sent to.
    pub base_url: BaseUrl,
    /// The compiled patterns of `allowed_routes`, in the order of the definition; at least one.
    pub routes: RouteTable,
    /// The descriptions of the routes that have one. No request reads them.
    pub route_descriptions: RouteDescriptions,
    /// Headers that are added to every request, in addition to the credential.
    pub headers: Vec<ConfiguredHeader>,
    /// The credential.
    pub auth: Auth,
    /// The key of the webhook signature. If `None`, bodies are not signed.
    pub webhook_signing_secret: Option<Secret>,
    /// The limits.
    pub caps: Caps,
    /// Private address ranges that may be dialled.
    pub allowed_private_cidrs: Vec<IpNet>,
    /// `true` if `Cookie` and `Set-Cookie` are passed on.
    pub allow_cookies: bool,
    /// Headers that carry a credential or select an object or an account, and that agents may send.
    pub allow_agent_headers: Vec<HeaderName>,
    /// `true` if a path segment may contain `%2F`.
    pub allow_encoded_slash: bool,
    /// `true` if responses are searched for secrets.
    pub reflection_guard: bool,
    /// `true` if an HTTP/1.1 socket may be used again after a request with a body.
    pub reuse_after_body: bool,
    /// The protocol towards the upstream.
    pub http2: Http2Mode,
    /// If `false`, the connection is listed, but refuses all requests.
    pub enabled: bool,
    /// The time at which the connection was soft-deleted, if it was.
    pub delete_time: Option<Timestamp>,
}

impl Connection {
    /// Returns the names of the fields in which two definitions of one id differ, including
    /// secrets.
    pub fn changed_fields(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            id: _,
            display_name,
            description,
            connector,
            base_url,
            routes,
            route_descriptions,
            headers,
            auth,
            webhook_signing_secret,
            caps,
            allowed_private_cidrs,
            allow_cookies,
            allow_agent_headers,
            allow_encoded_slash,
            reflection_guard,
            reuse_after_body,
            http2,
            enabled,
            delete_time,
        } = self;
        let signing = webhook_signing_secret.as_ref();
        let Caps {
            response,
            timeout,
            concurrency,
        } = caps;
        let same_signing = Secret::are_same(signing, other.webhook_signing_secret.as_ref());
        let same_routes = routes.patterns() == other.routes.patterns()
            && *route_descriptions == other.route_descriptions;
        let same_concurrency = *concurrency == other.caps.concurrency;
        let ranges = *allowed_private_cidrs == other.allowed_private_cidrs;
        let slashes = *allow_encoded_slash == other.allow_encoded_slash;
        let agent_headers = *allow_agent_headers == other.allow_agent_headers;
        let guard = *reflection_guard == other.reflection_guard;
        let reuse = *reuse_after_body == other.reuse_after_body;
        names_of_different(&[
            ("display_name", *display_name == other.display_name),
            ("description", *description == other.description),
            ("connector", *connector == other.connector),
            ("base_url", *base_url == other.base_url),
            ("headers", *headers == other.headers),
            (other.auth.kind(), auth.is_same(&other.auth)),
            ("webhook_signing_secret", same_signing),
            ("max_response_size_bytes", *response == other.caps.response),
            ("timeout_seconds", *timeout == other.caps.timeout),
            ("max_concurrent_requests", same_concurrency),
            ("allowed_private_cidrs", ranges),
            ("allow_cookies", *allow_cookies == other.allow_cookies),
            ("allow_agent_headers", agent_headers),
            ("allow_encoded_slash", slashes),
            ("reflection_guard", guard),
            ("reuse_after_body", reuse),
            ("http2", *http2 == other.http2),
            ("tool_configurations", *enabled == other.enabled),
            ("delete_time", *delete_time == other.delete_time),
            ("allowed_routes", same_routes),
        ])
    }

    /// Returns whether two definitions of one id treat every request in the same way, so that they
    /// differ at most in names and descriptions.
    pub fn differs_only_in_descriptions(&self, other: &Self) -> bool {
        // All that a connector supplies is compared in the fields that it supplies.
        let is_text = |name: &&str| {
            matches!(
                *name,
                "display_name" | "description" | "connector" | "allowed_routes"
            )
        };
        self.changed_fields(other).iter().all(is_text)
            && self.routes.patterns() == other.routes.patterns()
    }

    /// Returns the names of the headers that the connection sets: `headers` and those of its
    /// credential. An agent's headers of these names are dropped. The signature's header is not
    /// among them, because no agent may send it on any connection.
    pub fn injected_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers
            .iter()
            .map(|header| &header.name)
            .chain(self.auth.header_names())
    }
}

/// Returns the names of the fields that are not the same in both definitions.
fn names_of_different(fields: &[(&'static str, bool)]) -> Vec<&'static str> {
    let different = fields.iter().filter(|(_, is_same)| !is_same);
    different.map(|(name, _)| *name).collect()
}
