//! `GET /`: one page for people. Whole in itself: its style and its script stand in it, known to the browser by their hashes, and nothing else is run or loaded.
//!
//! Rendered here, so that it says the same without JavaScript; the script only fetches the page again and puts the new one in the old one's place.

mod connection;
mod format;
mod overview;
mod template;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::ApiState;
use template::PageContent;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

static SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        csp_hash(STYLE),
        csp_hash(SCRIPT),
    );
    // ASCII without control characters.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Responds with the page as things are now.
pub(super) async fn show(State(state): State<Arc<ApiState>>) -> Response {
    let sources = &state.sources;
    let snapshot = sources.published.current();
    let content = PageContent {
        now: Timestamp::now(),
        uptime: state.started.elapsed(),
        is_draining: sources.draining.load(Relaxed),
        generation: snapshot.generation(),
        connections: overview::connections(sources, &snapshot),
        unnamed: sources.metrics.connection_stats(None),
    };
    let fixed = HeaderValue::from_static;
    let headers = [
        (CONTENT_TYPE, fixed("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, SECURITY_POLICY.clone()),
        (REFERRER_POLICY, fixed("no-referrer")),
        (RESOURCE_POLICY, fixed("same-origin")),
    ];
    (headers, content.render().into_string()).into_response()
}

/// As a source of the Content Security Policy (CSP 3 §2.3.1).
fn csp_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests;
