//! What operators ask: so far, whether the process lives and is ready. Read-only; sees no secret.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::server::{Serve, Watch};

/// The management listener's answers.
pub struct Management {
    draining: Arc<AtomicBool>,
}

impl Management {
    /// `draining` is set once the process is stopping.
    pub fn new(draining: Arc<AtomicBool>) -> Self {
        Self { draining }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz") {
            return error(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                "there is nothing at this path",
            );
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = error(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNIMPLEMENTED",
                "this API is read-only",
            );
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        if path == "/readyz" && self.draining.load(Relaxed) {
            return plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain; charset=utf-8",
                Bytes::from_static(b"draining\n"),
            );
        }
        plain(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            Bytes::from_static(b"ok\n"),
        )
    }
}

/// AIP-193.
fn error(status: StatusCode, name: &str, message: &str) -> Response<Full<Bytes>> {
    let document = serde_json::json!({"error": {"code": status.as_u16(), "status": name, "message": message, "details": []}});
    plain(
        status,
        "application/json",
        Bytes::from(document.to_string()),
    )
}

fn plain(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

impl Serve for Management {
    type Body = Ending;

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        watch: Arc<Watch>,
    ) -> Response<Ending> {
        let response = self.answer(request.method(), request.uri().path());
        response.map(|body| Ending { body, watch })
    }
}

/// A body that tells the watch when it is through.
pub struct Ending {
    body: Full<Bytes>,
    watch: Arc<Watch>,
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
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
        self.watch.exchange_over();
    }
}
