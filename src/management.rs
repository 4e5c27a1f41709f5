//! The management API for operators: connections and their state, metrics and probes. It is
//! read-only, and its types cannot hold a secret.
//!
//! [`Management::serve`] is the only entry. The access policy checks the caller, the router selects
//! the handler, and every response gets the same headers.

mod access;
mod connectors;
mod error;
mod listeners;
mod metrics;
mod names;
mod openapi;
mod page;
mod probes;
mod query;
mod records;
mod request_limit;
mod resources;
mod tool_cache;
mod view;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::credential::{Credentials, Login};
use crate::hardening::Hardening;
use crate::os::RandomnessUnavailable;
use crate::server::{MANAGEMENT_SOCKETS, RequestBody, Serve, SocketTimers};
use crate::snapshot::PublishedSnapshot;
use crate::telemetry::{Logs, Metrics};
use access::{AccessPolicy, OPEN_PATHS};
use error::{ApiError, ErrorStatus};
pub use listeners::ListenerOverview;
use metrics::CachedRendering;
pub use metrics::GaugeSources;
use query::PageTokenKey;
// For `fuzz/fuzz_targets/filter.rs`.
#[cfg(fuzzing)]
pub use query::list_names;
use request_limit::RequestLimit;
use tool_cache::ToolCache;
pub(crate) use view::ConnectorView;

/// The parts of the process that responses are built from.
pub struct ApiContext {
    /// The current configuration.
    pub published: Arc<PublishedSnapshot>,
    /// Tokens, and connections whose credential was exposed.
    pub credentials: Arc<Credentials>,
    /// Counters and durations since the start of the process.
    pub metrics: Arc<Metrics>,
    /// Values that are sampled at scrape time.
    pub gauges: GaugeSources,
    /// `true` from the moment that the process begins to shut down.
    pub draining: Arc<AtomicBool>,
    /// The listeners for agents.
    pub listeners: Arc<[ListenerOverview]>,
    /// The restrictions that the process put on itself at start-up.
    pub hardening: Hardening,
    /// The access log and the problem log, for the number of lines that they dropped.
    pub logs: Logs,
}

/// The settings of the access policy.
pub struct AccessSettings {
    /// `management.basic_auth`. If `None`, the policy checks `Host` and the fields that browsers
    /// add.
    pub login: Option<Arc<Login>>,
    /// `proxy.allowed_hosts`: further `Host` names that are served without a login.
    pub allowed_hosts: Vec<String>,
}

/// The state that handlers share: the parts of the process, and what is kept between requests.
struct ApiState {
    sources: ApiContext,
    started: Instant,
    /// Authenticates page tokens.
    page_tokens: PageTokenKey,
    tools: ToolCache,
    /// The last text of `/metrics`.
    rendered: CachedRendering,
}

/// The service of the management listener.
pub struct Management {
    access: AccessPolicy,
    router: Router,
    limit: RequestLimit,
}

impl Management {
    /// Builds the router, the access policy and the request limit.
    ///
    /// # Errors
    ///
    /// Returns an error if the system returned no random bytes for the key of the page tokens.
    pub fn new(sources: ApiContext, access: AccessSettings) -> Result<Self, RandomnessUnavailable> {
        let problems = sources.logs.problems.clone();
        let access = AccessPolicy::new(access.login, access.allowed_hosts, problems);
        let state = ApiState {
            sources,
            started: Instant::now(),
            page_tokens: PageTokenKey::random()?,
            tools: ToolCache::default(),
            rendered: CachedRendering::default(),
        };
        let router = Router::new()
            .route("/", get(page::show))
            .route("/livez", get(probes::livez))
            .route("/readyz", get(probes::readyz))
            .route("/v1/connections", get(resources::list_connections))
            .route("/v1/connections/{id}", get(resources::get_connection))
            .route(
                "/v1/connection-types",
                get(resources::list_connection_types),
            )
            .route("/v1/connectors", get(connectors::list_connectors))
            .route("/v1/connectors/{slug}", get(connectors::get_connector))
            .route("/openapi.json", get(openapi::serve_document))
            .route("/metrics", get(metrics::scrape))
            .fallback(async || {
                ApiError::new(
                    ErrorStatus::NotFound,
                    "no resource at this path; `/openapi.json` lists the paths",
                )
            })
            .with_state(Arc::new(state));

        Ok(Self {
            access,
            router,
            limit: RequestLimit::new(MANAGEMENT_SOCKETS),
        })
    }

    /// Sets the maximum number of open sockets, which is [`MANAGEMENT_SOCKETS`] otherwise.
    #[must_use]
    pub fn with_max_sockets(self, sockets: usize) -> Self {
        let limit = RequestLimit::new(sockets);
        Self { limit, ..self }
    }

    async fn respond(&self, request: Request<RequestBody>) -> Response {
        let mut response = match self.access.check(&request) {
            Ok(()) => self.route_within_limit(request).await,
            Err(refusal) => refusal,
        };
        let headers = response.headers_mut();
        // A stored response would show an outdated state. With `nosniff`, a browser cannot
        // interpret the operator's texts in a JSON response as HTML.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn route_within_limit(&self, request: Request<RequestBody>) -> Response {
        // Probes, metrics and the OpenAPI document cost little, and must not wait: a kubelet
        // restarts a container whose liveness probe times out. Callers without the login may
        // request them, so they must not use up the limit of the callers that have it (F-196).
        if OPEN_PATHS.contains(&request.uri().path()) {
            return self.route(request).await;
        }
        match self.limit.acquire().await {
            Some(_held) => self.route(request).await,
            None => {
                let why = format!(
                    "too many requests: this API serves {} per second",
                    request_limit::RATE
                );
                error::too_many_requests(request_limit::MAX_WAIT, &why)
            }
        }
    }

    async fn route(&self, request: Request<RequestBody>) -> Response {
        // No response depends on the request's body, so it is not read.
        let request = request.map(|_unread| Body::empty());
        // A clone shares the routes, since a `Router` is an `Arc` inside.
        let response = self.router.clone().oneshot(request).await;
        response.unwrap_or_else(|never| match never {})
    }
}

impl Serve for Management {
    type Body = Body;

    async fn serve(
        self: Arc<Self>,
        head: Parts,
        body: RequestBody,
        timers: Arc<SocketTimers>,
    ) -> Response {
        let response = self.respond(Request::from_parts(head, body)).await;
        let exchange = EndOfExchange(timers);
        // hyper drops the body once it is sent, or when the socket fails. The closure owns
        // `exchange`, so the exchange ends with the body in both cases.
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &exchange;
                frame
            }))
        })
    }
}

/// Ends the exchange when the response body is dropped.
struct EndOfExchange(Arc<SocketTimers>);

impl Drop for EndOfExchange {
    fn drop(&mut self) {
        self.0.end_exchange();
    }
}
