//! Decides which values of a map are shown if the operator chose the names in the map. `headers`
//! are not meant for secrets, so a value is hidden only if it looks like one. Parameters of token
//! requests are often secrets, so only those with well-known harmless names are shown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scalar::Redacted;
use super::sources::CredentialSources;
use crate::domain::TokenUrl;

/// A value of a map with names that the operator chose, or the text shown in its place.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum DisclosedValue {
    Plain(String),
    Hidden(Redacted),
}

/// A header whose name contains one of these is hidden. This also hides `Author`, which is better
/// than showing one key.
#[rustfmt::skip] // one list
const SECRET_NAME_WORDS: &[&str] = &[
    "auth", "bearer", "cookie", "cred", "hmac", "jwt", "key", "passphrase", "passwd",
    "password", "pwd", "secret", "session", "signature", "token",
];

/// A header whose name has one of these as a whole part, between characters that are not
/// alphanumeric, is hidden.
const SECRET_NAME_PARTS: &[&str] = &["jwe", "otp", "pass", "pat", "pin", "sid", "sig"];

/// A header whose value starts with one of these is hidden, whatever its name.
const CREDENTIAL_PREFIXES: &[&str] = &["basic ", "bearer ", "digest ", "-----begin "];

/// Parameters that select what a token is for and prove nothing. All other parameters are hidden.
#[rustfmt::skip] // one list
const PUBLIC_PARAMETERS: &[&str] = &[
    "access_type", "account", "account_id", "actor", "audience", "environment",
    "include_granted_scopes", "optional_scope", "org", "org_id", "organization",
    // `p` names a policy of Azure AD B2C.
    "organization_id", "owner", "p", "prompt", "region", "requested_token_type", "resource",
    "scope", "subdomain", "tenant", "tenant_id", "token_access_type", "user_scope",
];

/// Returns whether the value of a configured header is shown.
pub(super) fn is_public_header(name: &str, value: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    let is_secret = SECRET_NAME_WORDS.iter().any(|word| name.contains(word))
        || parts.any(|part| SECRET_NAME_PARTS.contains(&part));
    !is_secret
        && !CREDENTIAL_PREFIXES
            .iter()
            .any(|scheme| starts_with_ignoring_case(value, scheme))
}

/// Returns whether the value of a parameter of token requests is shown.
pub(super) fn is_public_parameter(name: &str) -> bool {
    PUBLIC_PARAMETERS.contains(&name)
}

/// Returns the parameters at this path. Only the values of well-known parameters are shown.
pub(super) fn disclosed_parameters(
    path: &str,
    parameters: &[(String, String)],
    sources: &mut CredentialSources,
) -> BTreeMap<String, DisclosedValue> {
    let parameters = parameters.iter().map(|(name, value)| {
        let value = if is_public_parameter(name) {
            DisclosedValue::Plain(value.clone())
        } else {
            DisclosedValue::Hidden(sources.redact_inline(&format!("{path}.{name}")))
        };
        (name.clone(), value)
    });
    parameters.collect()
}

/// Formats the URL. Values in its query are shown or hidden by the same rule as those of
/// `extra_params`.
pub(super) fn disclosed_token_url(url: &TokenUrl) -> String {
    let mut shown = url.to_string();
    let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
    for (at, pair) in pairs.enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if !is_public_parameter(name) => {
                shown.push_str(name);
                shown.push_str("=[redacted]");
            }
            Some(_) => shown.push_str(pair),
            // A value without a name.
            None if pair.is_empty() => {}
            None => shown.push_str("[redacted]"),
        }
    }
    shown
}

fn starts_with_ignoring_case(value: &[u8], scheme: &str) -> bool {
    value
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{is_public_header, is_public_parameter};

    #[test]
    fn names_and_values_that_look_like_credentials_are_hidden() {
        for (name, value) in [
            ("X-Tenant-ID", "acme"),
            ("Content-Type", "application/json"),
            ("Accept", "basic"),
            ("X-Compass", "north"),
            ("Anthropic-Version", "2023-06-01"),
        ] {
            assert!(is_public_header(name, value.as_bytes()), "{name}: {value}");
        }
        for (name, value) in [
            ("X-API-Key", "1"),
            ("apikey", "1"),
            ("X-Auth", "1"),
            ("X-Vault-Token", "1"),
            ("X_CLIENT_SECRET", "1"),
            ("X-Session-Id", "1"),
            ("Credentials", "1"),
            ("X-User-Pass", "1"),
            ("X-SIG", "1"),
            ("X-Forward", "Bearer abc"),
            ("X-Forward", "bAsIc YTpi"),
        ] {
            assert!(!is_public_header(name, value.as_bytes()), "{name}: {value}");
        }
    }

    #[test]
    fn parameters_are_shown_by_name_only() {
        assert!(is_public_parameter("audience") && is_public_parameter("tenant_id"));
        for hidden in ["assertion", "client_assertion", "password", "Audience", ""] {
            assert!(!is_public_parameter(hidden), "{hidden}");
        }
    }
}
