//! The management API for operators: the connections and their state, metrics, probes. Read-only; its types have no place for a secret.
//!
//! [`Management::serve`] is the only entry: the access policy checks the caller, the router selects the handler, and every response gets the same headers.

mod access;
mod error;
mod metrics;
mod openapi;
mod page;
mod probes;
mod query;
mod records;
mod request_limit;
mod resources;
mod tools;
mod view;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::credential::{Credentials, Login};
use crate::hardening::Hardening;
use crate::server::{RequestBody, Serve, SocketTimers};
use crate::snapshot::PublishedSnapshot;
use crate::telemetry::{Logs, Metrics};
use access::AccessPolicy;
use error::{ApiError, ErrorStatus};
use metrics::CachedRendering;
pub use metrics::GaugeSources;
use query::PageTokenKey;
#[cfg(fuzzing)]
pub use query::list_names;
use request_limit::RequestLimit;
use tools::ToolCache;

/// What the answers are made of.
pub struct ApiContext {
    /// The configuration.
    pub published: Arc<PublishedSnapshot>,
    /// The state of tokens.
    pub credentials: Arc<Credentials>,
    /// What has happened.
    pub metrics: Arc<Metrics>,
    /// What is so at this moment.
    pub gauges: GaugeSources,
    /// Set once the process is stopping.
    pub draining: Arc<AtomicBool>,
    /// What the process gave up at its start.
    pub hardening: Hardening,
    /// What the process writes.
    pub logs: Logs,
}

/// Who may use the API.
pub struct AccessSettings {
    /// Callers who prove this login; `None`: callers on this machine.
    pub login: Option<Arc<Login>>,
    /// `proxy.allowed_hosts`
    pub allowed_hosts: Vec<String>,
}

/// The state of the router: what the answers are made of, and what is kept between them.
struct ApiState {
    sources: ApiContext,
    started: Instant,
    /// Authenticates page tokens.
    page_tokens: PageTokenKey,
    tools: ToolCache,
    /// The text of `/metrics`.
    rendered: CachedRendering,
}

/// The management listener's answers.
pub struct Management {
    access: AccessPolicy,
    router: Router,
    limit: RequestLimit,
}

impl Management {
    /// Builds the router, and the limits before it.
    pub fn new(sources: ApiContext, access: AccessSettings) -> Self {
        let problems = sources.logs.problems.clone();
        let access = AccessPolicy::new(access.login, access.allowed_hosts, problems);
        let state = ApiState {
            sources,
            started: Instant::now(),
            page_tokens: PageTokenKey::random(),
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
            .route("/openapi.json", get(openapi::serve_document))
            .route("/metrics", get(metrics::scrape))
            .fallback(async || {
                ApiError::new(ErrorStatus::NotFound, "there is nothing at this path")
            })
            .with_state(Arc::new(state));

        Self {
            access,
            router,
            limit: RequestLimit::new(),
        }
    }

    async fn respond(&self, request: Request<RequestBody>, timers: &SocketTimers) -> Response {
        let mut response = match self.access.check(&request) {
            Ok(()) => self.route_within_limit(request, timers).await,
            Err(refusal) => refusal,
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn route_within_limit(
        &self,
        request: Request<RequestBody>,
        timers: &SocketTimers,
    ) -> Response {
        // Probes and scrapes cost next to nothing, and must not wait.
        if matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics") {
            return self.route(request).await;
        }
        let mut permit = self.limit.try_acquire();
        if permit.is_none() {
            // While its request waits, the socket counts as idle, so it can be closed if another
            // socket needs its slot.
            timers.end_exchange();
            permit = self.limit.acquire().await;
            timers.begin_exchange();
        }
        match permit {
            Some(_held) => self.route(request).await,
            None => {
                let why = "more is asked of this API than it may take of the machine";
                error::too_many_requests(request_limit::MAX_WAIT, why)
            }
        }
    }

    async fn route(&self, request: Request<RequestBody>) -> Response {
        // No answer depends on a body.
        let request = request.map(|_unread| Body::empty());
        let response = self.router.clone().oneshot(request).await;
        response.unwrap_or_else(|never| match never {})
    }
}

impl Serve for Management {
    type Body = Body;

    async fn serve(
        self: Arc<Self>,
        request: Request<RequestBody>,
        timers: Arc<SocketTimers>,
    ) -> Response {
        let response = self.respond(request, &timers).await;
        let exchange = EndOfExchange(timers);
        // The closure owns `exchange`, so it is dropped with the body.
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
