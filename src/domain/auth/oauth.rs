//! The OAuth 2.0 client credentials of a connection (RFC 6749 §4.4): where and how a token is
//! requested. A fingerprint identifies credentials that may share tokens.

use std::ops::Deref;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::domain::secret::Secret;
use crate::domain::url::TokenUrl;

/// The client credentials of a definition, and the allowed address ranges of its connection.
pub struct OauthParameters {
    /// The token endpoint.
    pub token_url: TokenUrl,
    /// The grant type to request.
    pub grant_type: GrantType,
    /// The client's id.
    pub client_id: Utf8Secret,
    /// The client's secret.
    pub client_secret: Utf8Secret,
    /// The scopes, as one space-separated string.
    pub scopes: Option<String>,
    /// Additional parameters of the token request, in the order of the definition. No standard
    /// parameter is among them.
    pub extra_params: Vec<(String, String)>,
    /// The place where the client's id and secret are sent.
    pub client_auth: ClientAuth,
    /// The connection's `allowed_private_cidrs`, which also apply to the token endpoint.
    pub allowed_private_cidrs: Vec<IpNet>,
}

/// [`OauthParameters`] and their fingerprint.
pub struct OauthClientCredentials {
    terms: OauthParameters,
    fingerprint: [u8; 32],
}

/// The place of the client's credentials in a token request: the `Authorization` header or the body
/// (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the header, as HTTP Basic. After an `invalid_client` error, the body is tried once.
    #[default]
    Basic,
    /// In the body, as form parameters.
    Body,
}

/// The value of `grant_type` in a token request (RFC 6749 §4.4.2). Some providers require their own
/// value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantType(Box<str>);

/// The reason why a text is not a usable grant type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidGrantType {
    /// Not 1 to 256 visible ASCII characters.
    Characters,
    /// A grant with user interaction: it needs a user's code, password or refresh token.
    NeedsUser,
}

impl GrantType {
    /// Grants with user interaction (RFC 6749 §4.1 to §4.3 and §6, RFC 8628 §3.4).
    const OF_USERS: [&str; 5] = [
        "authorization_code",
        "implicit",
        "password",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ];
    const MAX_LENGTH: usize = 256;

    /// Parses a grant type.
    pub fn parse(text: &str) -> Result<Self, InvalidGrantType> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic());
        if !visible || !(1..=Self::MAX_LENGTH).contains(&text.len()) {
            Err(InvalidGrantType::Characters)
        } else if Self::OF_USERS.contains(&text) {
            Err(InvalidGrantType::NeedsUser)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// Returns the grant type as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for GrantType {
    fn default() -> Self {
        Self("client_credentials".into())
    }
}

/// A secret that is UTF-8 text, as a form requires.
pub struct Utf8Secret(Secret);

/// Error: a client's id or secret is not UTF-8, so a form cannot carry it (RFC 6749 appendix B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

impl TryFrom<Secret> for Utf8Secret {
    type Error = NotUtf8;

    fn try_from(secret: Secret) -> Result<Self, NotUtf8> {
        match std::str::from_utf8(secret.expose()) {
            Ok(_) => Ok(Self(secret)),
            Err(_) => Err(NotUtf8),
        }
    }
}

impl Deref for Utf8Secret {
    type Target = Secret;

    fn deref(&self) -> &Secret {
        &self.0
    }
}

impl OauthClientCredentials {
    /// Computes the fingerprint of the terms.
    pub fn new(terms: OauthParameters) -> Self {
        let fingerprint = terms.fingerprint();
        Self { terms, fingerprint }
    }

    /// Returns the terms.
    pub fn terms(&self) -> &OauthParameters {
        &self.terms
    }

    /// Returns whether two definitions are equal, including the sources of their secrets.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        // The fingerprint covers all other fields.
        self.fingerprint == other.fingerprint
            && self.terms.client_id.is_same(&other.terms.client_id)
            && self.terms.client_secret.is_same(&other.terms.client_secret)
    }

    /// Returns the SHA-256 hash of everything that a token depends on. Credentials with the same
    /// fingerprint may share their tokens; others must not.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

impl OauthParameters {
    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(self.token_url.authority().as_bytes());
        add(self.token_url.target().as_bytes());
        add(self.grant_type.as_str().as_bytes());
        add(self.client_id.expose());
        add(self.client_secret.expose());
        let scopes = self.scopes.as_deref();
        add(&[u8::from(scopes.is_some())]);
        add(scopes.unwrap_or_default().as_bytes());
        add(&(self.extra_params.len() as u64).to_be_bytes());
        for (name, value) in &self.extra_params {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        add(&[match self.client_auth {
            ClientAuth::Basic => 0,
            ClientAuth::Body => 1,
        }]);
        for range in &self.allowed_private_cidrs {
            add(range.to_string().as_bytes());
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ClientAuth, GrantType, InvalidGrantType, NotUtf8, OauthClientCredentials, OauthParameters,
        Utf8Secret,
    };
    use crate::domain::{Secret, SecretSource, TokenUrl};

    fn utf8_secret(bytes: &[u8]) -> Result<Utf8Secret, NotUtf8> {
        Secret::new(bytes.to_vec(), SecretSource::Inline)
            .unwrap()
            .try_into()
    }

    fn secret(bytes: &[u8]) -> Utf8Secret {
        utf8_secret(bytes).unwrap()
    }

    fn terms() -> OauthParameters {
        OauthParameters {
            token_url: TokenUrl::parse("https://id.test/token").unwrap(),
            grant_type: GrantType::default(),
            client_id: secret(b"id"),
            client_secret: secret(b"secret"),
            scopes: None,
            extra_params: Vec::new(),
            client_auth: ClientAuth::Basic,
            allowed_private_cidrs: Vec::new(),
        }
    }

    fn fingerprint(change: impl FnOnce(&mut OauthParameters)) -> [u8; 32] {
        let mut terms = terms();
        change(&mut terms);
        *OauthClientCredentials::new(terms).fingerprint()
    }

    #[test]
    fn everything_that_a_token_depends_on_changes_the_fingerprint() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let all = [
            fingerprint(|_| ()),
            fingerprint(|t| t.token_url = TokenUrl::parse("https://id.test/token/").unwrap()),
            fingerprint(|t| t.token_url = TokenUrl::parse("https://id.test:8443/token").unwrap()),
            fingerprint(|t| t.token_url = TokenUrl::parse("https://id.test/token?p=a").unwrap()),
            fingerprint(|t| t.token_url = TokenUrl::parse("https://id.test/token?p=b").unwrap()),
            fingerprint(|t| t.grant_type = GrantType::parse("account_credentials").unwrap()),
            fingerprint(|t| t.client_id = secret(b"ids")),
            fingerprint(|t| t.client_secret = secret(b"rotated")), // F-152
            fingerprint(|t| (t.client_id, t.client_secret) = (secret(b"ids"), secret(b"ecret"))),
            fingerprint(|t| t.scopes = Some("a".into())), // F-155
            fingerprint(|t| t.scopes = Some(String::new())),
            fingerprint(|t| t.extra_params = vec![pair("audience", "a")]), // F-155
            fingerprint(|t| t.extra_params = vec![pair("audiencea", "")]),
            fingerprint(|t| t.extra_params = vec![pair("a", "b"), pair("c", "d")]),
            fingerprint(|t| t.client_auth = ClientAuth::Body),
            fingerprint(|t| t.allowed_private_cidrs = vec!["10.0.0.0/8".parse().unwrap()]),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(fingerprint(|_| ()), fingerprint(|_| ()));
    }

    #[test]
    fn grant_types() {
        // F-249
        for good in [
            "client_credentials",
            "account_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "a&b=c",
        ] {
            assert_eq!(GrantType::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", "ä", &"a".repeat(257)] {
            assert_eq!(GrantType::parse(bad), Err(InvalidGrantType::Characters));
        }
        for bad in ["password", "refresh_token", "authorization_code"] {
            assert_eq!(GrantType::parse(bad), Err(InvalidGrantType::NeedsUser));
        }
    }

    #[test]
    fn ids_and_secrets_are_text() {
        assert_eq!(utf8_secret("pä§".as_bytes()).map(drop), Ok(()));
        assert_eq!(utf8_secret(b"p\xff").map(drop), Err(NotUtf8));
        assert_eq!(utf8_secret(b"\xc3").map(drop), Err(NotUtf8));
    }
}
