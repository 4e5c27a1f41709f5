//! Building blocks of the responses of the API and the token endpoint.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

/// The largest request body, in bytes.
const MAX_BODY: usize = 1 << 20;
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Reads a whole body. Returns a 413 if it is longer than [`MAX_BODY`].
pub(super) async fn read_body(body: Incoming) -> Result<Bytes, Response<Body>> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        // A body that breaks off ends here too, but then no client reads the response.
        Err(_) => Err(error_response(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than 1 MiB",
        )),
    }
}

pub(super) fn error_response(status: StatusCode, why: &str) -> Response<Body> {
    json_response(status, &json!({ "error": why }))
}

pub(super) fn json_response(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Strings, numbers and lists always serialise.
    // Pretty, with a line feed, since people read the responses in a terminal.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Full::from(text).boxed_unsync());
    *response.status_mut() = status;
    with_header(response, CONTENT_TYPE, "application/json")
}

pub(super) fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}

pub(super) fn with_header(
    mut response: Response<Body>,
    name: HeaderName,
    value: &str,
) -> Response<Body> {
    // Every value is a constant, or part of a URL that hyper has parsed, so it is a valid header
    // value.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
