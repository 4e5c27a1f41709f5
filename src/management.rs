//! What operators ask: the connections and their state, metrics, probes. Read-only; its types have no place for a secret.
//!
//! [`Management::serve`] is the one way in: who asks is checked by the access policy, where the request goes by the router, and every answer leaves with the same headers.

mod access;
mod api;
mod error;
mod metrics;
mod openapi;
mod pace;
mod page;
mod probes;
mod query;
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
use bytes::Bytes;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request};
use tower::ServiceExt as _;

use crate::credential::{Credentials, Login};
use crate::hardening::Hardening;
use crate::server::{RequestBody, Serve, SocketTimers};
use crate::snapshot::Published;
use crate::telemetry::{Logs, Metrics};
use access::AccessPolicy;
use api::Api;
use error::{ApiError, Status};
pub use metrics::{GaugeSources, TokenRequestHistory};
use pace::Pace;
use page::Page;
#[cfg(fuzzing)]
pub use query::fuzzed;

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
    pace: Pace,
}

impl Management {
    /// Answers made of these, to these callers.
    pub fn new(sources: Sources, callers: Callers) -> Self {
        let problems = sources.logs.problems.clone();
        let access = AccessPolicy::new(callers.login, callers.allowed_hosts, problems);
        let page = Arc::new(Page::new());
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
            pace: Pace::new(),
        }
    }

    async fn answer(&self, request: Request<RequestBody>, timers: &SocketTimers) -> Response {
        let mut response = match self.access.check(&request) {
            Ok(()) => self.route_in_turn(request, timers).await,
            Err(refusal) => refusal,
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn route_in_turn(
        &self,
        request: Request<RequestBody>,
        timers: &SocketTimers,
    ) -> Response {
        // Probes and scrapes cost next to nothing, and must not wait.
        if matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics") {
            return self.route(request).await;
        }
        let mut turn = self.pace.try_turn();
        if turn.is_none() {
            // While its request waits, the socket counts as idle, so it can be closed if another
            // socket needs its slot.
            timers.end_exchange();
            turn = self.pace.turn().await;
            timers.begin_exchange();
        }
        match turn {
            Some(turn) => turn.charge(self.route(request)).await,
            None => {
                let why = "more is asked of this API than it may take of the machine";
                error::too_many(pace::PATIENCE, why)
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
    type Body = Ending;

    async fn serve(
        self: Arc<Self>,
        request: Request<RequestBody>,
        timers: Arc<SocketTimers>,
    ) -> Response<Ending> {
        let response = self.answer(request, &timers).await;
        response.map(|body| Ending { body, timers })
    }
}

/// A body that tells the timers when it is through.
pub struct Ending {
    body: Body,
    timers: Arc<SocketTimers>,
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.timers.end_exchange();
    }
}
