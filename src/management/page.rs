//! `GET /`: a page for people. Its style and its script are inline, and the Content Security Policy
//! allows only these two, by their hashes. So the page loads nothing from elsewhere.
//!
//! The page is rendered on the server and is complete without JavaScript. The script only fetches
//! the page again and replaces the old content.

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
use super::listeners::distinct_listeners;
use template::PageContent;

// Inline, so that one response is the whole page. A hash in the policy allows each of them.
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

static SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    // `connect-src` allows the script to fetch the page again, and `img-src` the icon.
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        csp_hash(STYLE),
        csp_hash(SCRIPT),
    );
    // The policy is ASCII without control characters, so it is always a valid header value.
    // If it were not, the page would be shown without its style and script.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Responds with the page in its current state.
pub(super) async fn show(State(state): State<Arc<ApiState>>) -> Response {
    let sources = &state.sources;
    let snapshot = sources.published.current();
    let content = PageContent {
        now: Timestamp::now(),
        uptime: state.started.elapsed(),
        is_draining: sources.draining.load(Relaxed),
        generation: snapshot.generation(),
        ceilings: snapshot.ceilings(),
        listeners: distinct_listeners(&sources.listeners),
        connections: overview::connections(sources, &snapshot),
        unnamed: sources.metrics.connection_stats(None),
    };
    let fixed = HeaderValue::from_static;
    let headers = [
        (CONTENT_TYPE, fixed("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, SECURITY_POLICY.clone()),
        (REFERRER_POLICY, fixed("no-referrer")),
        // Pages of other sites cannot embed the page (Fetch standard,
        // Cross-Origin-Resource-Policy).
        (RESOURCE_POLICY, fixed("same-origin")),
    ];
    (headers, content.render().into_string()).into_response()
}

/// Returns the hash of a style or a script as a source expression of the Content Security Policy
/// (CSP 3 §2.3.1).
fn csp_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests;
