//! What the API says instead of an answer (AIP-193).

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// A refusal of the management API: a status of `google.rpc.Code`, and a sentence for the person who reads it. The sentence may quote what the caller sent,
/// never what the configuration holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: Status,
    message: String,
    violation: Option<Violation>,
}

/// The codes of `google.rpc.Code` that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    /// The request names another host than this one (RFC 9110 §15.5.20).
    Misdirected,
    /// A method that the path does not have.
    Unimplemented,
    ResourceExhausted,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Violation {
    field: String,
    description: String,
}

#[derive(Serialize)]
struct Document<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: u16,
    status: &'a str,
    message: &'a str,
    details: Vec<BadRequest<'a>>,
}

/// `google.rpc.BadRequest`, as an `Any`.
#[derive(Serialize)]
struct BadRequest<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "fieldViolations")]
    violations: [&'a Violation; 1],
}

impl ApiError {
    pub(super) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            violation: None,
        }
    }

    /// `INVALID_ARGUMENT` for one field of the request, named in the message and, for programs, in the details.
    pub(super) fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self {
            status: Status::InvalidArgument,
            message: format!("{field}: {description}"),
            violation: Some(Violation { field, description }),
        }
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::Misdirected => "FAILED_PRECONDITION",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
        }
    }

    fn http(self) -> StatusCode {
        match self {
            Self::InvalidArgument => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Unimplemented => StatusCode::METHOD_NOT_ALLOWED,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl ApiError {
    /// The JSON text of the answer's body.
    fn body(&self) -> Vec<u8> {
        let detail = |violation| BadRequest {
            kind: "type.googleapis.com/google.rpc.BadRequest",
            violations: [violation],
        };
        let document = Document {
            error: Body {
                code: self.status.http().as_u16(),
                status: self.status.as_str(),
                message: &self.message,
                details: self.violation.iter().map(detail).collect(),
            },
        };
        // Strings and numbers always serialise.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        (self.status.http(), [(CONTENT_TYPE, json)], self.body()).into_response()
    }
}

/// 429 to whoever should come again after this time.
pub(super) fn too_many(wait: Duration, why: &str) -> Response {
    let mut response = ApiError::new(Status::ResourceExhausted, why).into_response();
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = HeaderValue::from(seconds.max(1));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests {
    use super::{ApiError, Status};

    #[test]
    fn an_error_says_which_field() {
        let told = |error: &ApiError| serde_json::from_slice::<serde_json::Value>(&error.body());
        assert_eq!(
            told(&ApiError::invalid("page_size", "too \"odd\"")).unwrap(),
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
            told(&ApiError::new(Status::NotFound, "nothing")).unwrap(),
            serde_json::json!({"error": {
                "code": 404, "status": "NOT_FOUND", "message": "nothing", "details": [],
            }})
        );
    }
}
