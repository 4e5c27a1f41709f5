//! `/livez` and `/readyz`: whether the process lives, and whether agents should come.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Sources;

/// The process answers, so it lives.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 503 once the process is stopping.
pub(super) async fn readyz(State(sources): State<Arc<Sources>>) -> Response {
    if sources.draining.load(Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ok\n".into_response()
    }
}
