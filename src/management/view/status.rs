//! `connectionStatus`: a `google.rpc.Status` that reports whether the connection's credential can
//! be obtained.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::credential::oauth::{self, ConnectionStatus, StatusName};
use crate::credential::{ErrorCode, Reason};
use crate::reflection::Exposure;

/// The `google.rpc.Code` of a connection that an operator has to repair.
const FAILED_PRECONDITION: i32 = 9;
/// The `google.rpc.Code` of a connection whose client or consent is not accepted.
const UNAUTHENTICATED: i32 = 16;

/// A `google.rpc.Status`.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = Status, title = "google.rpc.Status")]
pub(in crate::management) struct RpcStatus {
    /// The `google.rpc.Code`: 0, unless the credential cannot be obtained or a response exposed it.
    code: i32,
    /// The reason, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    message: String,
    /// The reason, for programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    details: Vec<StatusDetail>,
}

/// A standard detail of a `google.rpc.Status`.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Detail)]
#[serde(tag = "@type")]
enum StatusDetail {
    /// The kind of the reason.
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo {
        /// The `cause` of the agent's refusal in upper case, or `CONSENT_REQUIRED`.
        reason: String,
        /// Always `egressd`.
        domain: &'static str,
    },
    /// The time until the token endpoint is called again.
    #[serde(
        rename = "type.googleapis.com/google.rpc.RetryInfo",
        rename_all = "camelCase"
    )]
    RetryInfo {
        /// Seconds with the suffix `s`, such as `1.500s`.
        retry_delay: String,
    },
}

impl RpcStatus {
    /// Converts the status of a connection, and the state of its grant if there is one.
    pub(in crate::management) fn new(
        status: &ConnectionStatus,
        grant: Option<&oauth::GrantStatus>,
    ) -> Self {
        match status.name {
            StatusName::NeedsConsent | StatusName::Revoked => Self::consent_required(status.reason),
            StatusName::Connected => Self::default(),
            StatusName::Unavailable | StatusName::Disabled => {
                grant.map(Self::from_grant).unwrap_or_default()
            }
        }
    }

    /// Returns the status of a connection without a valid consent. Its code does not depend on the
    /// status reason, which differs from case to case.
    fn consent_required(reason: Option<&'static str>) -> Self {
        let reason = reason.map(|reason| format!(" ({reason})"));
        let info = StatusDetail::ErrorInfo {
            reason: "CONSENT_REQUIRED".to_owned(),
            domain: "egressd",
        };
        Self {
            code: UNAUTHENTICATED,
            message: format!(
                "there is no valid consent{}; run `egressd login`",
                reason.unwrap_or_default()
            ),
            details: vec![info],
        }
    }

    /// Converts the state of a grant. While a token is valid, requests are served. So a failed
    /// refresh is not an error until the token expires.
    pub(in crate::management) fn from_grant(grant: &oauth::GrantStatus) -> Self {
        match &grant.last_failure {
            // The text that the endpoint sent is left out: an endpoint could echo the client's
            // secret in it.
            Some(failure) if grant.expires_at.is_none() => {
                Self::from_failure(failure.reason, grant.retry_in)
            }
            Some(_) | None => Self::default(),
        }
    }

    /// Returns the status of a connection that refuses requests because a credential was found in a
    /// response.
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
        if let Reason::NeedsConsent(reason) = reason {
            return Self::consent_required(Some(reason.as_str()));
        }
        let name = reason.cause().unwrap_or("internal");
        let info = StatusDetail::ErrorInfo {
            reason: name.to_ascii_uppercase(),
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

    /// Returns the `google.rpc.Code`.
    pub(in crate::management) fn code(&self) -> i32 {
        self.code
    }

    /// Returns the reason; empty if the code is 0.
    pub(in crate::management) fn message(&self) -> &str {
        &self.message
    }
}

/// Returns the `google.rpc.Code` of a reason.
fn rpc_code(reason: Reason) -> i32 {
    const DEADLINE_EXCEEDED: i32 = 4;
    const PERMISSION_DENIED: i32 = 7;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const INTERNAL: i32 = 13;
    const UNAVAILABLE: i32 = 14;
    match reason {
        Reason::Timeout => DEADLINE_EXCEEDED,
        Reason::AddressRefused(_) => FAILED_PRECONDITION,
        Reason::Refused(ErrorCode::InvalidClient) | Reason::NeedsConsent(_) => UNAUTHENTICATED,
        Reason::Refused(_) | Reason::RefusedStatus(_) => PERMISSION_DENIED,
        Reason::StoreUnwritable => FAILED_PRECONDITION,
        Reason::Unreachable(_) | Reason::Status(_) | Reason::Invalid(_) | Reason::StoreBusy => {
            UNAVAILABLE
        }
        Reason::ResourcesExhausted => RESOURCE_EXHAUSTED,
        Reason::Internal => INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::RpcStatus;
    use crate::credential::{ConsentReason, Reason};

    #[test]
    fn a_missing_consent_has_one_reason_for_clients() {
        let reason = Reason::NeedsConsent(ConsentReason::NeverConnected);
        let status = RpcStatus::from_failure(reason, None);
        let shown = serde_json::to_value(&status).unwrap();
        assert_eq!(shown["code"], 16);
        assert_eq!(shown["details"][0]["reason"], "CONSENT_REQUIRED");
    }
}
