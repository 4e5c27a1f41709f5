//! The errors of the authorization server's endpoints (RFC 6749 §5.2, RFC 8628 §3.5).

use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use serde_json::json;

use super::responses::{Body, json_response, with_header};

/// An error of a request, with a description where the code does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OauthError {
    InvalidRequest(&'static str),
    InvalidClient,
    InvalidGrant(&'static str),
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    /// The person has not decided yet.
    AuthorizationPending,
    /// The device asked again before its interval was over. The interval is longer from now on.
    SlowDown,
    /// The person denied the request.
    AccessDenied,
    /// The device code has expired.
    ExpiredToken,
    /// The system returned no random bytes.
    TemporarilyUnavailable,
}

impl OauthError {
    /// Returns the error code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// Returns the description for people.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(why) | Self::InvalidGrant(why) => why,
            Self::InvalidClient => "unknown client, or wrong secret",
            Self::UnauthorizedClient => "the client cannot use this grant type",
            Self::UnsupportedGrantType => "the grant type is not supported",
            Self::InvalidScope => "the client cannot request this scope",
            Self::AuthorizationPending => "the person has not decided yet",
            Self::SlowDown => "wait 5 seconds longer between requests",
            Self::AccessDenied => "the person denied the request",
            Self::ExpiredToken => "the device code has expired; start again",
            Self::TemporarilyUnavailable => "the system provides no random bytes",
        }
    }

    /// Returns the response with this error as JSON.
    pub(super) fn into_response(self) -> Response<Body> {
        let status = if self == Self::InvalidClient {
            StatusCode::UNAUTHORIZED
        } else if self == Self::TemporarilyUnavailable {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_REQUEST
        };
        let error = json!({"error": self.code(), "error_description": self.description()});
        let response = json_response(status, &error);
        // A client that used Basic gets a challenge of that scheme (RFC 6749 §5.2).
        if status == StatusCode::UNAUTHORIZED {
            let challenge = "Basic realm=\"egressd demo tokens\"";
            with_header(response, WWW_AUTHENTICATE, challenge)
        } else {
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OauthError;
    use http::StatusCode;
    use http::header::WWW_AUTHENTICATE;

    #[test]
    fn errors_have_their_status() {
        for (error, status) in [
            (OauthError::InvalidClient, StatusCode::UNAUTHORIZED),
            (OauthError::InvalidScope, StatusCode::BAD_REQUEST),
            (OauthError::UnsupportedGrantType, StatusCode::BAD_REQUEST),
            (OauthError::InvalidRequest("x"), StatusCode::BAD_REQUEST),
            (OauthError::InvalidGrant("x"), StatusCode::BAD_REQUEST),
            (OauthError::SlowDown, StatusCode::BAD_REQUEST),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), status);
            let is_challenged = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(is_challenged, status == StatusCode::UNAUTHORIZED);
        }
    }
}
