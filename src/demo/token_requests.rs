//! The grant types of the token endpoint.

use std::time::Instant;

use serde_json::{Value, json};

use super::clients::Client;
use super::consents::Consents;
use super::form::Parameters;
use super::grants::{ACCESS_TOKEN_LIFETIME, GrantedTokens, REFRESH_TOKEN_LIFETIME};
use super::oauth_error::OauthError;
use super::scopes::{CONSENT_SCOPES, SERVICE_SCOPES, granted_scope};
use super::tokens::{IssuedTokens, TOKEN_LIFETIME};

/// The grant type of a device (RFC 8628 §3.4).
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Issues tokens for the request of a client. Returns the answer.
pub(super) fn issue_tokens(
    client: Client,
    form: &Parameters,
    tokens: &IssuedTokens,
    consents: &Consents,
    now: Instant,
) -> Result<Value, OauthError> {
    let required = |name, why| {
        let value = form.get(name).map(String::as_str);
        value.ok_or(OauthError::InvalidRequest(why))
    };
    let grant_type = required("grant_type", "grant_type is missing")?;
    let granted = match (grant_type, client) {
        ("client_credentials", Client::Service) => {
            let scope = form.get("scope").map(String::as_str).unwrap_or_default();
            return issue_service_token(scope, tokens, now);
        }
        ("authorization_code", Client::Public) => consents.exchange_code(
            required("code", "code is missing")?,
            required("redirect_uri", "redirect_uri is missing")?,
            required("code_verifier", "code_verifier is missing")?,
            now,
        )?,
        ("refresh_token", Client::Public) => {
            consents.refresh(required("refresh_token", "refresh_token is missing")?, now)?
        }
        (DEVICE_GRANT, Client::Public) => {
            consents.poll_device(required("device_code", "device_code is missing")?, now)?
        }
        ("client_credentials" | "authorization_code" | "refresh_token" | DEVICE_GRANT, _) => {
            return Err(OauthError::UnauthorizedClient);
        }
        _ => return Err(OauthError::UnsupportedGrantType),
    };
    Ok(consent_answer(&granted))
}

fn issue_service_token(
    scope: &str,
    tokens: &IssuedTokens,
    now: Instant,
) -> Result<Value, OauthError> {
    let scope = granted_scope(scope, &SERVICE_SCOPES)?;
    let token = tokens.issue(now)?;
    Ok(json!({
        "access_token": *token,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME.as_secs(),
        "scope": scope,
    }))
}

fn consent_answer(granted: &GrantedTokens) -> Value {
    json!({
        "access_token": *granted.access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_LIFETIME.as_secs(),
        "refresh_token": *granted.refresh_token,
        "refresh_token_expires_in": REFRESH_TOKEN_LIFETIME.as_secs(),
        "scope": CONSENT_SCOPES.join(" "),
    })
}
