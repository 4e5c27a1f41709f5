//! The token of a request: obtained before the request is sent, and replaced after a 401 of the
//! upstream.

use std::sync::Arc;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Response, StatusCode};

use super::accounting::RequestProgress;
use super::challenge;
use super::refusal::Refusal;
use crate::credential::Credential;
use crate::credential::oauth::{AcquiredToken, Grant, Token};
use crate::domain::ConnectionId;
use crate::upstream::{Client, UpstreamPool};

/// Returns the token for the first attempt without waiting: `None` if the credential uses no
/// tokens. Returns the grant if its token has to be waited for, with [`acquire_token`].
pub(super) fn ready_token(credential: &Credential) -> Result<Option<AcquiredToken>, &Arc<Grant>> {
    let Some(grant) = credential.grant() else {
        return Ok(None);
    };
    let is_fresh = false;
    match grant.cached_token() {
        Some(token) => Ok(Some(AcquiredToken { token, is_fresh })),
        None => Err(grant),
    }
}

/// Waits for a token. Refuses the request before any name is resolved if a person has to consent
/// first. Resolves the upstream before a token is fetched, so that no token is fetched for an
/// upstream whose addresses are forbidden.
#[cold]
pub(super) async fn acquire_token(
    grant: &Arc<Grant>,
    connection: &ConnectionId,
    client: &Client,
    pool: &UpstreamPool,
    account: &mut RequestProgress,
) -> Result<AcquiredToken, Refusal> {
    let refuse = |unavailable| Refusal::without_credential(unavailable, connection);
    grant.require_consent().await.map_err(refuse)?;
    client.resolve(pool).await?;
    account.awaits_consent_token = grant.needs_person();
    let acquired = grant.acquire_token().await;
    account.awaits_consent_token = false;
    acquired.map_err(refuse)
}

/// Returns the token for a second attempt. A second attempt is made only if the upstream refused
/// the token, the token was not fetched for this request, the request can be sent again, and
/// another token is available. If the request cannot be sent again, a new token is fetched for the
/// next request.
pub(super) async fn second_token<B>(
    response: &Response<B>,
    credential: &Credential,
    sent: Option<&AcquiredToken>,
    rewind: impl FnOnce() -> bool,
) -> Option<Arc<Token>> {
    let (grant, sent) = (credential.grant()?, sent.filter(|sent| !sent.is_fresh)?);
    if !refuses_token(response.status(), response.headers()) {
        grant.record_accepted_token();
        return None;
    }
    if !rewind() {
        grant.retry_token_later(&sent.token);
        return None;
    }
    Box::pin(grant.retry_token(&sent.token)).await
}

/// Returns whether the response refuses the token: a 401, or a 403 whose challenge names the token
/// as the reason. RFC 6750 §3.1 specifies 401 for that case, but some APIs answer with 403.
fn refuses_token(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => {
            let mut fields = headers.get_all(WWW_AUTHENTICATE).iter();
            fields.any(|field| challenge::blames_token(field.as_bytes()))
        }
        _ => false,
    }
}
