//! Errors of the API, in the format of AIP-193.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// An error response of the management API: a status of `google.rpc.Code`, and a message for
/// people. The message can quote what the caller sent, never what the configuration holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: ErrorStatus,
    message: String,
    violation: Option<FieldViolation>,
}

/// The codes of `google.rpc.Code` that this API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorStatus {
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    /// The request names another host than this one (RFC 9110 §15.5.20).
    Misdirected,
    /// The method is not GET or HEAD.
    Unimplemented,
    ResourceExhausted,
}

/// An error in the format of AIP-193.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorDocument {
    error: ErrorBody,
}

/// The cause of an error.
#[derive(Serialize, ToSchema)]
struct ErrorBody {
    /// The HTTP status.
    #[schema(value_type = i32)]
    code: u16,
    /// The name of the `google.rpc.Code`.
    status: &'static str,
    /// An explanation for people.
    message: String,
    /// Details for programs: messages of `google.rpc`, each with its `@type`.
    #[schema(value_type = Vec<Object>)]
    details: Vec<BadRequest>,
}

/// `google.rpc.BadRequest`, as an `Any`.
#[derive(Serialize)]
struct BadRequest {
    #[serde(rename = "@type")]
    type_url: &'static str,
    #[serde(rename = "fieldViolations")]
    violations: [FieldViolation; 1],
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct FieldViolation {
    field: String,
    description: String,
}

impl ApiError {
    pub(super) fn new(status: ErrorStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            violation: None,
        }
    }

    /// Creates an `INVALID_ARGUMENT` error for one field of the request. The field is named in the
    /// message and, for programs, in the details.
    pub(super) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self {
            status: ErrorStatus::InvalidArgument,
            message: format!("{field}: {description}"),
            violation: Some(FieldViolation { field, description }),
        }
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl ErrorStatus {
    /// Returns the HTTP status and the name of the `google.rpc.Code`.
    fn codes(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            Self::PermissionDenied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            // AIP-193 has no code for 421, so the nearest one is used.
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "FAILED_PRECONDITION"),
            Self::Unimplemented => (StatusCode::METHOD_NOT_ALLOWED, "UNIMPLEMENTED"),
            Self::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, status) = self.status.codes();
        let detail = |violation| BadRequest {
            type_url: "type.googleapis.com/google.rpc.BadRequest",
            violations: [violation],
        };
        let document = ErrorDocument {
            error: ErrorBody {
                code: code.as_u16(),
                status,
                message: self.message,
                details: self.violation.into_iter().map(detail).collect(),
            },
        };
        (code, json_body(&document)).into_response()
    }
}

/// Returns a document as the body of a response, with its media type.
pub(super) fn json_body(document: &impl Serialize) -> impl IntoResponse {
    // Strings, numbers, lists and maps with string keys always serialize.
    let body = serde_json::to_vec(document).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], body)
}

/// Returns a 429 with a `Retry-After` of this time, rounded up to whole seconds.
pub(super) fn too_many_requests(wait: Duration, why: &str) -> Response {
    let mut response = ApiError::new(ErrorStatus::ResourceExhausted, why).into_response();
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    // A zero would make clients retry at once.
    let seconds = HeaderValue::from(seconds.max(1));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;

    use super::{ApiError, ErrorStatus};

    async fn document(error: ApiError) -> serde_json::Value {
        let body = error.into_response().into_body().collect().await.unwrap();
        serde_json::from_slice(&body.to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn an_error_names_the_field() {
        assert_eq!(
            document(ApiError::invalid("page_size", "too \"odd\"")).await,
            serde_json::json!({"error": {
                "code": 400,
                "status": "INVALID_ARGUMENT",
                "message": "page_size: too \"odd\"",
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "page_size", "description": "too \"odd\""}],
                }],
            }})
        );
        assert_eq!(
            document(ApiError::new(ErrorStatus::NotFound, "nothing")).await,
            serde_json::json!({"error": {
                "code": 404, "status": "NOT_FOUND", "message": "nothing", "details": [],
            }})
        );
    }
}
