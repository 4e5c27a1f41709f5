//! The token step: obtains one token with the code that serves requests, and discards it. The
//! report contains the lifetime of the token, never the token.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;

use super::{StepFailure, StepReport};
use crate::credential::oauth::{Grant, GrantStatus, Grants};
use crate::credential::{ErrorCode, Reason, Unavailable};
use crate::domain::auth::{ClientAuth, OauthClientCredentials};
use crate::upstream::Client;

/// Requests a token from the token endpoint.
pub(super) async fn token_step(
    credentials: &Arc<OauthClientCredentials>,
    target: String,
    client: Client,
) -> StepReport {
    let grants = Grants::new(Arc::new(client), Handle::current());
    let grant = grants.get_or_create_grant(credentials);
    let begun = Instant::now();
    let outcome = grant.acquire_token().await;
    let took = begun.elapsed();
    let status = grant.status();
    let outcome = match outcome {
        Ok(_token) => Ok(describe_token(&status)),
        Err(unavailable) => Err(StepFailure {
            detail: describe_failure(unavailable, &status),
            remedy: Some(find_remedy(unavailable.reason, &grant, &status).await),
        }),
    };
    StepReport::new("token", target, took, outcome)
}

fn describe_token(status: &GrantStatus) -> String {
    let left = status.expires_at;
    let left = left.and_then(|end| end.duration_since(SystemTime::now()).ok());
    let life = match left {
        // The lifetime is counted from the start of the request, so a part of it has passed: round
        // up.
        Some(left) => format!(
            "valid for {} s",
            (left + Duration::from_millis(999)).as_secs()
        ),
        None => "valid for one request".to_owned(),
    };
    // A token after a failed request means that the second place for the client credentials worked.
    if status.requests_failed > 0 {
        format!(
            "{life}; the endpoint rejected the client in the header and accepted it in the body: `client_auth: body` avoids the failed request"
        )
    } else {
        life
    }
}

/// Returns the reason of the failure, followed by the error text of the token endpoint if that adds
/// something.
fn describe_failure(unavailable: Unavailable, status: &GrantStatus) -> String {
    let reason = unavailable.to_string();
    let failure = status.last_failure.as_ref();
    match failure.and_then(|failure| failure.error_text.as_deref()) {
        Some(text) if !text.is_empty() && !reason.contains(text) => format!("{reason}: {text}"),
        Some(_) | None => reason,
    }
}

/// Returns the action that the operator should take. If the endpoint may have rejected the client's
/// credentials, tries the other place to send them: the header or the body.
async fn find_remedy(reason: Reason, grant: &Grant, status: &GrantStatus) -> String {
    if !reason.is_about_client() {
        return reason_remedy(reason).to_owned();
    }
    // After `invalid_client` with HTTP Basic, the fetch has already tried the body.
    let tried_both = status.requests_failed > 1;
    let works = if tried_both {
        None
    } else {
        grant.try_other_client_auth().await
    };
    match works {
        Some(ClientAuth::Body) => {
            "write `client_auth: body`: the token endpoint then issues a token".to_owned()
        }
        Some(ClientAuth::Basic) => {
            "write `client_auth: basic`: the token endpoint then issues a token".to_owned()
        }
        None => format!(
            "{}; `client_auth: basic` and `client_auth: body` were both tried, and neither works",
            reason_remedy(reason)
        ),
    }
}

fn reason_remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Refused(code) => error_code_remedy(code),
        Reason::Unreachable(_) | Reason::AddressRefused(_) => {
            "the token endpoint was reachable a moment ago: try again, and check its log"
        }
        Reason::Timeout => {
            "the token endpoint accepted the connection and did not answer within 10 seconds: check its log"
        }
        // A probe never refreshes a grant that a person has consented to.
        Reason::RefusedStatus(_) | Reason::StoreUnwritable | Reason::StoreBusy => {
            "check the log of egressd"
        }
        Reason::NeedsConsent(_) => "run `egressd login`",
        Reason::Status(401) => error_code_remedy(ErrorCode::InvalidClient),
        Reason::Status(404 | 405) => {
            "check the path of `token_url`: it must be the token endpoint itself, not the issuer or the authorization endpoint"
        }
        Reason::Status(300..=399) => {
            "redirects are not followed: if you trust the target, set `token_url` to it"
        }
        Reason::Status(429) => "the token endpoint receives too many requests: try again later",
        Reason::Status(500..=599) => {
            "the token endpoint failed: try again later, and check its log"
        }
        Reason::Status(_) => {
            "check the log of the token endpoint; it may require parameters that belong in `extra_params`"
        }
        Reason::Invalid(_) => {
            "check that `token_url` is the token endpoint: it must answer with JSON that has `access_token` (RFC 6749 §5.1)"
        }
        Reason::ResourcesExhausted => {
            "raise the limit of open files (`ulimit -n`) for this command"
        }
        Reason::Internal => "try again; if it fails again, report a bug of egressd",
    }
}

fn error_code_remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidClient | ErrorCode::OtherUnauthorized => {
            "check `client_id` and `client_secret`: a secret may have been rotated, or belong to another environment"
        }
        ErrorCode::UnauthorizedClient | ErrorCode::UnsupportedGrantType => {
            "allow the grant (`client_credentials`, or the `grant_type` of the connection) for this client at the authorization server"
        }
        ErrorCode::InvalidScope => {
            "check `scopes`: one string with the scopes that this client may have, separated by spaces"
        }
        ErrorCode::InvalidRequest | ErrorCode::InvalidGrant | ErrorCode::Other => {
            "check `scopes`, `extra_params` (such as `audience` or `resource`) and the log of the token endpoint"
        }
    }
}
