//! Tests of grants, with a scripted token endpoint in memory and a clock that only these tests
//! move, and with a real one on loopback.

mod backoff;
mod over_tls;
mod prefetch;
mod refresh;
mod reporter;
mod scripted;
mod single_flight;
mod suspension;
mod tls;
mod token_retry;
mod wiping;

use crate::domain::auth::{ClientAuth, GrantType, OauthParameters, Utf8Secret};
use crate::domain::{Secret, SecretSource, TokenUrl};

/// Returns a secret that the definition itself contains.
pub(super) fn utf8_secret(text: &str) -> Utf8Secret {
    let secret = Secret::new(text.as_bytes().to_vec(), SecretSource::Inline);
    secret.unwrap().try_into().unwrap()
}

/// Returns the parameters of a client whose token endpoint is never dialled.
pub(super) fn terms() -> OauthParameters {
    OauthParameters {
        token_url: TokenUrl::parse("https://token.test/oauth/token").unwrap(),
        grant_type: GrantType::default(),
        client_id: utf8_secret("the-client"),
        client_secret: utf8_secret("the-secret"),
        scopes: None,
        extra_params: Vec::new(),
        client_auth: ClientAuth::Basic,
        allowed_private_cidrs: Vec::new(),
    }
}
