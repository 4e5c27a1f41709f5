//! What operators ask: the connections and their state, metrics, probes. Read-only; its types have no place for a secret.
//!
//! [`Management::serve`] is the one way in: who asks is checked by the access policy, where the request goes by the router, and every answer leaves with the same headers.

mod access;
mod api;
mod error;
mod metrics;
mod openapi;
mod page;
mod probes;
mod query;
mod request_limit;
mod resources;
mod rows;
mod tools;
mod view;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::credential::{Credentials, Login};
use crate::hardening::Hardening;
use crate::server::{RequestBody, Serve, SocketTimers};
use crate::snapshot::Published;
use crate::telemetry::{Logs, Metrics};
use access::AccessPolicy;
use api::Api;
use error::{ApiError, Status};
pub use metrics::GaugeSources;
use page::HtmlPage;
#[cfg(fuzzing)]
pub use query::fuzzed;
use request_limit::RequestLimit;

/// What the answers are made of.
pub struct Sources {
    /// The configuration.
    pub published: Arc<Published>,
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

/// Who may ask.
pub struct Callers {
    /// Those who prove this login; `None`: those beside us.
    pub login: Option<Arc<Login>>,
    /// `proxy.allowed_hosts`
    pub allowed_hosts: Vec<String>,
}

/// The management listener's answers.
pub struct Management {
    access: AccessPolicy,
    router: Router,
    limit: RequestLimit,
}

impl Management {
    /// Answers made of these, to these callers.
    pub fn new(sources: Sources, callers: Callers) -> Self {
        let problems = sources.logs.problems.clone();
        let access = AccessPolicy::new(callers.login, callers.allowed_hosts, problems);
        let page = Arc::new(HtmlPage::new());
        let page =
            move |State(sources): State<Arc<Sources>>| std::future::ready(page.answer(&sources));
        let router = Router::new()
            .route("/", get(page))
            .route("/livez", get(probes::livez))
            .route("/readyz", get(probes::readyz))
            .route("/v1/connections", get(resources::connections))
            .route("/v1/connections/{id}", get(resources::connection))
            .route("/v1/connection-types", get(resources::connection_types))
            .route("/openapi.json", get(openapi::answer))
            .route("/metrics", get(metrics::scrape))
            .fallback(async || ApiError::new(Status::NotFound, "there is nothing at this path"))
            .with_state(Api::new(sources));

        Self {
            access,
            router,
            limit: RequestLimit::new(),
        }
    }

    async fn answer(&self, request: Request<RequestBody>, timers: &SocketTimers) -> Response {
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
                error::too_many(request_limit::MAX_WAIT, why)
            }
        }
    }

    async fn route(&self, request: Request<RequestBody>) -> Response {
        // No answer depends on a body.
        let request = request.map(|_unread| Body::empty());
        let answered = self.router.clone().oneshot(request).await;
        answered.unwrap_or_else(|never| match never {})
    }
}

impl Serve for Management {
    type Body = Body;

    async fn serve(
        self: Arc<Self>,
        request: Request<RequestBody>,
        timers: Arc<SocketTimers>,
    ) -> Response {
        let response = self.answer(request, &timers).await;
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
