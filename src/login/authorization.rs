//! Writes the authorization request (RFC 6749 section 4.1.1).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use super::secrets::RandomText;
use crate::domain::TokenUrl;
use crate::domain::auth::ConsentParameters;

/// The bytes that a query component leaves unchanged (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The values of one authorization request.
pub(super) struct AuthorizationRequest<'a> {
    pub(super) redirect_uri: &'a str,
    pub(super) state: &'a RandomText,
    /// `None` if the definition has switched PKCE off.
    pub(super) verifier: Option<&'a RandomText>,
    pub(super) selects_account: bool,
}

impl AuthorizationRequest<'_> {
    /// Returns the URL of the request.
    pub(super) fn url(
        &self,
        endpoint: &TokenUrl,
        consent: &ConsentParameters,
    ) -> Zeroizing<String> {
        let mut url = Zeroizing::new(format!(
            "https://{}{}",
            endpoint.authority(),
            endpoint.target()
        ));
        let mut separator = if endpoint.query().is_some() { '&' } else { '?' };
        let mut add = |name: &str, value: &[u8]| {
            url.push(separator);
            separator = '&';
            url.extend(percent_encode(name.as_bytes(), UNRESERVED));
            url.push('=');
            url.extend(percent_encode(value, UNRESERVED));
        };
        add("response_type", b"code");
        add("client_id", consent.client_id.expose());
        add("redirect_uri", self.redirect_uri.as_bytes());
        if let Some(scopes) = requested_scopes(consent) {
            add("scope", scopes.as_bytes());
        }
        add("state", self.state.as_str().as_bytes());
        if let Some(verifier) = self.verifier {
            add("code_challenge", verifier.code_challenge().as_bytes());
            add("code_challenge_method", b"S256");
        }
        let selecting = match self.selects_account {
            true => consent.provider.select_account_params.as_slice(),
            false => &[],
        };
        // A parameter that selects the account replaces the one of the same name.
        let replaced = |name: &String| selecting.iter().any(|(other, _)| other == name);
        let others = consent.authorization_params.iter();
        for (name, value) in others.filter(|(name, _)| !replaced(name)).chain(selecting) {
            add(name, value.as_bytes());
        }
        url
    }
}

/// Returns the scopes as a request writes them.
pub(super) fn requested_scopes(consent: &ConsentParameters) -> Option<String> {
    let scopes = consent.scopes.as_deref()?;
    let scopes: Vec<&str> = scopes.split_whitespace().collect();
    let separator = consent.scope_separator.to_string();
    Some(scopes.join(&separator)).filter(|scopes| !scopes.is_empty())
}
