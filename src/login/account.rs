//! The name of the account that a person has logged in with, for display only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::endpoint::Obtained;
use super::json::text_at;
use super::provider_endpoint::ProviderEndpoint;
use super::session::Session;
use crate::credential::oauth::response::sanitize;
use crate::domain::auth::Identity;

/// The members of an ID token that name an account, in the order of preference.
const ID_TOKEN_MEMBERS: [&str; 2] = ["/email", "/sub"];

impl Session<'_> {
    /// Returns the name of the account, cleaned and shortened: from `identity`, else from the ID
    /// token.
    pub(super) async fn find_account(&mut self, obtained: &Obtained) -> Option<String> {
        let named = match &self.consent().identity {
            None => None,
            Some(Identity::Answer(pointer)) => {
                let named = text_at(&obtained.body, pointer.as_str());
                self.warn_without_account(named.is_none(), "`identity.answer`", pointer.as_str());
                named
            }
            Some(Identity::Url(url, pointer)) => {
                let field = "identity.url";
                match self.get(url, &obtained.answer.access_token).await {
                    Ok(document) => {
                        let named = text_at(&document, pointer.as_str());
                        let place = "`identity.pointer`";
                        self.warn_without_account(named.is_none(), place, pointer.as_str());
                        named
                    }
                    Err(reason) => {
                        let why = ProviderEndpoint { field, url }.describe(reason);
                        self.note(&format!(
                            "warning: the account could not be looked up: {why}"
                        ));
                        None
                    }
                }
            }
        };
        let named = named.or_else(|| account_in_id_token(&obtained.body))?;
        let account = sanitize(&named).trim().to_owned();
        (!account.is_empty()).then_some(account)
    }

    fn warn_without_account(&mut self, is_missing: bool, field: &str, pointer: &str) {
        if is_missing {
            self.note(&format!(
                "warning: {field} is `{pointer}`, and the answer has no text or number there"
            ));
        }
    }
}

/// Returns the account in the ID token of a token answer. Its signature need not be checked: it
/// came directly from the token endpoint (OpenID Connect Core section 3.1.3.7).
fn account_in_id_token(body: &[u8]) -> Option<Zeroizing<String>> {
    let token = text_at(body, "/id_token")?;
    let claims = token.split('.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let mut members = ID_TOKEN_MEMBERS.iter();
    members.find_map(|member| text_at(&claims, member))
}

#[cfg(test)]
mod tests {
    use super::account_in_id_token;

    #[test]
    fn an_id_token_names_the_account() {
        let account = |claims: &str| {
            use base64::Engine as _;
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
            let body = format!(r#"{{"id_token": "e30.{claims}.c2ln"}}"#);
            account_in_id_token(body.as_bytes()).map(|account| account.to_string())
        };
        let both = r#"{"sub": "7", "email": "a@b.test"}"#;
        assert_eq!(account(both).as_deref(), Some("a@b.test"));
        assert_eq!(account(r#"{"sub": "7"}"#).as_deref(), Some("7"));
        assert_eq!(account("{}"), None);
        assert!(account_in_id_token(br#"{"id_token": "x"}"#).is_none());
    }
}
