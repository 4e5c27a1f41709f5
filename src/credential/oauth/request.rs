//! Writes a token request (RFC 6749 §4.4.2) with the `oauth2` crate. The request is sent by
//! `endpoint`.
//!
//! The crate encodes the form and the client's credentials, and is used for nothing else. Its types
//! for tokens can be printed and serialised, and its errors contain response bodies, so it never
//! sees a response. It does not set the target of the request either. That is a
//! [`crate::domain::TokenUrl`], which no URL library has normalised.

use oauth2::basic::BasicClient;
use oauth2::{AuthType, ClientId, ClientSecret, RequestTokenError, Scope, TokenUrl};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::domain::auth::{ClientAuth, GrantType, OauthParameters};

/// A token request. The URL in it is a placeholder, which the sender must ignore.
pub type TokenRequest = http::Request<Vec<u8>>;

/// A placeholder for the URL that the crate requires.
const PLACEHOLDER_URL: &str = "https://token.invalid/";

/// Writes a token request. Returns `None` on an internal error.
pub(super) fn write_token_request(
    terms: &OauthParameters,
    style: ClientAuth,
) -> Option<TokenRequest> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let client = BasicClient::new(ClientId::new(text(terms.client_id.expose())?))
        .set_client_secret(ClientSecret::new(text(terms.client_secret.expose())?))
        .set_token_uri(TokenUrl::new(PLACEHOLDER_URL.to_owned()).ok()?)
        .set_auth_type(match style {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        });
    let mut request = client.exchange_client_credentials();
    if let Some(scopes) = terms.scopes.as_deref().filter(|scopes| !scopes.is_empty()) {
        request = request.add_scope(Scope::new(scopes.to_owned()));
    }
    for (name, value) in &terms.extra_params {
        request = request.add_extra_param(name, value);
    }
    match request.request(&|written| Err(CapturedRequest(Box::new(written)))) {
        Err(RequestTokenError::Request(CapturedRequest(written))) => {
            with_grant_type(*written, &terms.grant_type)
        }
        Ok(_)
        | Err(
            RequestTokenError::ServerResponse(_)
            | RequestTokenError::Parse(..)
            | RequestTokenError::Other(_),
        ) => None,
    }
}

/// The text that the `oauth2` crate writes first into every form.
const DEFAULT_GRANT_TYPE: &[u8] = b"grant_type=client_credentials";
/// The bytes that `application/x-www-form-urlencoded` leaves unchanged. A grant type contains no
/// space.
const FORM_SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// Replaces the grant type in the form, because the crate can write only one. `None` is an internal
/// error.
fn with_grant_type(written: TokenRequest, grant: &GrantType) -> Option<TokenRequest> {
    if *grant == GrantType::default() {
        return Some(written);
    }
    let (head, form) = written.into_parts();
    // Wiped, because the form holds the client's secret if that is sent in the body.
    let form = Zeroizing::new(form);
    let rest = form.strip_prefix(DEFAULT_GRANT_TYPE)?;
    let grant = utf8_percent_encode(grant.as_str(), FORM_SAFE).to_string();
    let form = [b"grant_type=", grant.as_bytes(), rest].concat();
    Some(TokenRequest::from_parts(head, form))
}

/// A token request that the `oauth2` crate built, captured as an error instead of being sent by the
/// crate. Its fields hold secrets, so it has no derived `Debug`.
#[derive(thiserror::Error)]
#[error("a token request")]
struct CapturedRequest(Box<TokenRequest>);

impl std::fmt::Debug for CapturedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::write_token_request;
    use crate::credential::oauth::tests::{terms, utf8_secret};
    use crate::domain::auth::{ClientAuth, GrantType};

    #[test]
    fn basic_encodes_both_halves_as_forms_first() {
        // F-154
        let mut terms = terms();
        terms.client_id = utf8_secret("a:b c");
        terms.client_secret = utf8_secret("p+q%r&ü");
        terms.scopes = Some("read write".into());
        terms.extra_params = vec![("audience".into(), "https://api/?a=1&b".into())];
        let request = write_token_request(&terms, ClientAuth::Basic).unwrap();
        // base64 of `a%3Ab+c:p%2Bq%25r%26%C3%BC`
        assert_eq!(
            request.headers()["authorization"],
            "Basic YSUzQWIrYzpwJTJCcSUyNXIlMjYlQzMlQkM="
        );
        assert_eq!(
            request.headers()["content-type"],
            "application/x-www-form-urlencoded"
        );
        assert_eq!(request.headers()["accept"], "application/json");
        assert_eq!(request.headers().len(), 3);
        assert_eq!(
            request.body(),
            b"grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi%2F%3Fa%3D1%26b"
        );
    }

    #[test]
    fn a_custom_grant_type_replaces_the_standard_one() {
        // F-249
        let mut terms = terms();
        terms.grant_type = GrantType::parse("account_credentials").unwrap();
        terms.extra_params = vec![("account_id".into(), "a/b".into())];
        let basic = write_token_request(&terms, ClientAuth::Basic).unwrap();
        assert_eq!(
            basic.body(),
            b"grant_type=account_credentials&account_id=a%2Fb"
        );
        assert!(basic.headers().contains_key("authorization"));
        terms.grant_type = GrantType::parse("urn:x&y=z+1").unwrap();
        let body = write_token_request(&terms, ClientAuth::Body).unwrap();
        let form = b"grant_type=urn%3Ax%26y%3Dz%2B1&account_id=a%2Fb&client_id=the-client&client_secret=the-secret";
        let mut sorted: Vec<_> = body.body().split(|b| *b == b'&').collect();
        let mut wanted: Vec<_> = form.split(|b| *b == b'&').collect();
        sorted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted);
    }

    #[test]
    fn body_style_puts_both_into_the_body() {
        let mut terms = terms();
        terms.client_secret = utf8_secret("s&t=%");
        terms.scopes = Some(String::new());
        let request = write_token_request(&terms, ClientAuth::Body).unwrap();
        assert!(!request.headers().contains_key("authorization"));
        assert_eq!(
            request.body(),
            b"grant_type=client_credentials&client_id=the-client&client_secret=s%26t%3D%25"
        );
    }
}
