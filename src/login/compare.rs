//! Compares a token answer with the definition.

use super::endpoint::Obtained;
use crate::credential::oauth::consent::answer::TokenAnswer;
use crate::credential::oauth::consent::scopes::missing_scopes;
use crate::credential::oauth::response::sanitize;
use crate::domain::Connection;
use crate::domain::auth::ConsentParameters;

/// Returns the requested scopes that were not granted. An answer without scopes grants what was
/// requested (RFC 6749 section 5.1).
pub(super) fn missing<'c>(consent: &'c ConsentParameters, answer: &TokenAnswer) -> Vec<&'c str> {
    match (&consent.scopes, &answer.scopes) {
        (Some(requested), Some(granted)) => missing_scopes(requested, granted),
        (Some(_), None) | (None, _) => Vec::new(),
    }
}

/// Returns warnings about what will not work.
pub(super) fn warnings(connection: &Connection, obtained: &Obtained) -> Vec<String> {
    let mut warnings = Vec::new();
    let answer = &obtained.answer;
    if answer.refresh_token.is_none()
        && let Some(life) = answer.expires_in
    {
        warnings.push(format!(
            "the access token expires in {} s and no refresh token came, so a person has to log in again then; request one, usually with the scope `offline_access` or with `authorization_params` such as `access_type: offline` and `prompt: consent`",
            life.as_secs()
        ));
    }
    let instance = answer.members.get("instance_url");
    if let Some(instance) = instance.and_then(serde_json::Value::as_str) {
        let rest = instance.strip_prefix("https://").unwrap_or(instance);
        let authority = rest.split('/').next().unwrap_or_default();
        if !authority.eq_ignore_ascii_case(connection.base_url.authority()) {
            warnings.push(format!(
                "the provider's instance is `{}`, which is not the host of `base_url`; set `base_url` to it if this is the account that you want",
                sanitize(instance)
            ));
        }
    }
    if answer.is_life_assumed {
        warnings.push("the answer's `expires_in` is not a number".to_owned());
    }
    warnings
}
