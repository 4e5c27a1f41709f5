//! What the API says instead of an answer (AIP-193).

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// A refusal of the management API: a status of `google.rpc.Code`, and a sentence for the person who reads it. The sentence may quote what the caller sent,
/// never what the configuration holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: Status,
    message: String,
}

/// The codes of `google.rpc.Code` that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    /// A method that the path does not have.
    Unimplemented,
    ResourceExhausted,
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
    details: [(); 0],
}

impl ApiError {
    pub(super) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
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
            Self::Unimplemented => StatusCode::METHOD_NOT_ALLOWED,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status.http();
        let document = Document {
            error: Body {
                code: status.as_u16(),
                status: self.status.as_str(),
                message: &self.message,
                details: [],
            },
        };
        // Strings and numbers always serialise.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let json = HeaderValue::from_static("application/json");
        (status, [(CONTENT_TYPE, json)], body).into_response()
    }
}
