//! Which values of free maps are shown. `headers` are not meant for secrets and parameters of a token request may be some; what looks like one is hidden.

/// Wherever one of these stands in a header's name. It hides `Author` too, which costs less than to show one key.
const TELLING: &[&str] = &[
    "auth",
    "bearer",
    "cookie",
    "cred",
    "hmac",
    "jwt",
    "key",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
];

/// Where one of these is a whole part of a header's name.
const TELLING_PARTS: &[&str] = &["jwe", "otp", "pass", "pat", "pin", "sid", "sig"];

/// How values begin that are credentials under any name.
const SCHEMES: &[&str] = &["basic ", "bearer ", "digest ", "-----begin "];

/// Parameters of a token request that say what is asked for and prove nothing.
const HARMLESS_PARAMETERS: &[&str] = &[
    "account",
    "account_id",
    "audience",
    "environment",
    "org",
    "org_id",
    "organization",
    "organization_id",
    "p",
    "region",
    "requested_token_type",
    "resource",
    "scope",
    "subdomain",
    "tenant",
    "tenant_id",
];

/// Whether the value of a configured header is shown.
pub(super) fn shows_header(name: &str, value: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    let telling = TELLING.iter().any(|word| name.contains(word))
        || parts.any(|part| TELLING_PARTS.contains(&part));
    !telling && !SCHEMES.iter().any(|scheme| begins(value, scheme))
}

/// Whether the value of a parameter of token requests is shown.
pub(super) fn shows_parameter(name: &str) -> bool {
    HARMLESS_PARAMETERS.contains(&name)
}

fn begins(value: &[u8], scheme: &str) -> bool {
    value
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{shows_header, shows_parameter};

    #[test]
    fn names_and_values_that_look_like_credentials_are_hidden() {
        for (name, value) in [
            ("X-Tenant-ID", "acme"),
            ("Content-Type", "application/json"),
            ("Accept", "basic"),
            ("X-Compass", "north"),
            ("Anthropic-Version", "2023-06-01"),
        ] {
            assert!(shows_header(name, value.as_bytes()), "{name}: {value}");
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
            assert!(!shows_header(name, value.as_bytes()), "{name}: {value}");
        }
    }

    #[test]
    fn parameters_are_shown_by_name_only() {
        assert!(shows_parameter("audience") && shows_parameter("tenant_id"));
        for hidden in ["assertion", "client_assertion", "password", "Audience", ""] {
            assert!(!shows_parameter(hidden), "{hidden}");
        }
    }
}
