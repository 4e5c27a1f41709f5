//! Grants over a scripted token endpoint in memory, under a clock that only these tests move, and over a real one on loopback.

mod books;
mod notices;
mod over_tls;
mod prefetch;
mod refresh;
mod renewal;
mod single_flight;
mod suspension;
mod tls;
mod wiping;
mod world;

use crate::domain::auth::{ClientAuth, GrantType, OauthTerms};
use crate::domain::{Secret, SecretSource, TokenUrl};

/// A client of a token endpoint that nobody dials.
pub(super) fn terms() -> OauthTerms {
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec(), SecretSource::Inline).unwrap();
    OauthTerms {
        token_url: TokenUrl::parse("https://token.test/oauth/token").unwrap(),
        grant_type: GrantType::default(),
        client_id: secret("the-client"),
        client_secret: secret("the-secret"),
        scopes: None,
        extra_params: Vec::new(),
        client_auth: ClientAuth::Basic,
        allowed_private_cidrs: Vec::new(),
    }
}
