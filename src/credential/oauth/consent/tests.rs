//! Tests of grants in a token store, with a scripted token endpoint, a wall clock that only these
//! tests move, and files in a temporary directory.

mod adopting;
mod conflicts;
mod failing;
mod harness;
mod refreshing;
mod starting;

use crate::credential::oauth::tests::utf8_secret;
use crate::domain::auth::{
    ConsentEndpoints, ConsentParameters, GrantName, JsonPointer, ProviderFacts, RedirectUri,
    Rotation, TokenRequestFormat,
};
use crate::domain::{ConnectionId, TokenUrl};

/// Returns the parameters of a client whose endpoints are never dialled.
pub(in crate::credential::oauth) fn parameters() -> ConsentParameters {
    let url = |text: &str| TokenUrl::parse(text).unwrap();
    ConsentParameters {
        grant: GrantName::from(ConnectionId::parse("github").unwrap()),
        client_id: utf8_secret("the-client"),
        client_secret: Some(utf8_secret("the-secret")),
        client_auth: None,
        scopes: None,
        scope_separator: ' ',
        endpoints: ConsentEndpoints {
            authorization_url: Some(url("https://token.test/authorize")),
            device_authorization_url: None,
            token_url: url("https://token.test/token"),
            refresh_url: url("https://token.test/token"),
            revocation_url: None,
        },
        refresh_token: None,
        issuer: None,
        redirect_uri: RedirectUri::parse("http://127.0.0.1/callback").unwrap(),
        has_pkce: true,
        token_request: TokenRequestFormat::Form,
        authorization_params: Vec::new(),
        token_params: Vec::new(),
        refresh_params: Vec::new(),
        token_path: JsonPointer::default(),
        rotation: Rotation::SingleUse,
        identity: None,
        allowed_private_cidrs: Vec::new(),
        provider: ProviderFacts::default(),
    }
}
