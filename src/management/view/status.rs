//! `connectionStatus`: whether the connection's credential can be obtained, as a `google.rpc.Status`.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::credential::oauth;
use crate::credential::{ErrorCode, Reason};
use crate::reflection::Exposure;

/// Of `google.rpc.Code`.
const FAILED_PRECONDITION: i32 = 9;

/// A `google.rpc.Status`.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = Status, title = "google.rpc.Status")]
pub(in crate::management) struct RpcStatus {
    /// Of `google.rpc.Code`: 0 unless the credential cannot be obtained, or a response exposed it.
    code: i32,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    message: String,
    /// The same for programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    details: Vec<StatusDetail>,
}

/// One of the well-known details of a `google.rpc.Status`.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Detail)]
#[serde(tag = "@type")]
enum StatusDetail {
    /// What kind of reason it is.
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo {
        /// In upper case, as `cause` of a refusal in lower case.
        reason: String,
        /// `egressd`
        domain: &'static str,
    },
    /// How long the token endpoint is left alone.
    #[serde(
        rename = "type.googleapis.com/google.rpc.RetryInfo",
        rename_all = "camelCase"
    )]
    RetryInfo {
        /// In seconds, with an `s`.
        retry_delay: String,
    },
}

impl RpcStatus {
    /// What a grant's state comes to. While a token is there requests are served, so a failed refresh changes nothing yet.
    pub(in crate::management) fn from_grant(grant: &oauth::GrantStatus) -> Self {
        match &grant.last_failure {
            // The endpoint's own words are its bytes, and stay out.
            Some(failure) if grant.expires_at.is_none() => {
                Self::from_failure(failure.reason, grant.retry_in)
            }
            Some(_) | None => Self::default(),
        }
    }

    /// The status of a connection that is closed because a credential was found in a response.
    pub(in crate::management) fn from_exposure(exposure: &Exposure) -> Self {
        let info = StatusDetail::ErrorInfo {
            reason: "CREDENTIAL_EXPOSED".to_owned(),
            domain: "egressd",
        };
        Self {
            code: FAILED_PRECONDITION,
            message: exposure.to_string(),
            details: vec![info],
        }
    }

    fn from_failure(reason: Reason, retry_in: Option<Duration>) -> Self {
        let cause = reason.cause().unwrap_or("internal");
        let info = StatusDetail::ErrorInfo {
            reason: cause.to_ascii_uppercase(),
            domain: "egressd",
        };
        let retry = retry_in.map(|delay| StatusDetail::RetryInfo {
            retry_delay: format!("{}.{:03}s", delay.as_secs(), delay.subsec_millis()),
        });
        Self {
            code: rpc_code(reason),
            message: reason.to_string(),
            details: std::iter::once(info).chain(retry).collect(),
        }
    }

    /// Of `google.rpc.Code`.
    pub(in crate::management) fn code(&self) -> i32 {
        self.code
    }

    /// Empty where all is well.
    pub(in crate::management) fn message(&self) -> &str {
        &self.message
    }
}

/// The `google.rpc.Code` that fits.
fn rpc_code(reason: Reason) -> i32 {
    const DEADLINE_EXCEEDED: i32 = 4;
    const PERMISSION_DENIED: i32 = 7;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const INTERNAL: i32 = 13;
    const UNAVAILABLE: i32 = 14;
    const UNAUTHENTICATED: i32 = 16;
    match reason {
        Reason::Timeout => DEADLINE_EXCEEDED,
        Reason::AddressRefused(_) => FAILED_PRECONDITION,
        Reason::Refused(ErrorCode::InvalidClient) => UNAUTHENTICATED,
        Reason::Refused(_) => PERMISSION_DENIED,
        Reason::Unreachable(_) | Reason::Status(_) | Reason::Invalid(_) => UNAVAILABLE,
        Reason::ResourcesExhausted => RESOURCE_EXHAUSTED,
        Reason::Internal => INTERNAL,
    }
}
