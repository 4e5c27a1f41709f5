//! The credential of a connection: exactly one kind, and for the static kinds the complete headers
//! that are sent.

mod header;
mod oauth;
mod parts;
mod user_consent;

use std::sync::Arc;

use base64::Engine as _;
use http::HeaderName;
use http::header::AUTHORIZATION;

pub use header::{SensitiveHeader, is_public};
pub use oauth::{
    ClientAuth, GrantType, InvalidGrantType, NotUtf8, OauthClientCredentials, OauthParameters,
    Utf8Secret,
};

pub use parts::{SHORTEST_UNGUESSABLE, SecretPart};
pub use user_consent::{
    ConsentClientAuth, ConsentEndpoints, ConsentParameters, GrantName, Identity, InvalidPointer,
    InvalidRedirectUri, JsonPointer, LoopbackHost, LoopbackUri, ProviderFacts, RedirectUri,
    Rotation, TokenRequestFormat, UserConsent, seed_hash,
};

use super::secret::Secret;
use parts::Pair;

/// The spelling of `Authorization` in messages. For other headers messages use the spelling of the
/// definition, which does not contain this one.
const AUTHORIZATION_WRITTEN: &str = "Authorization";

/// The credential of a connection: exactly one kind, as the definition's `oneof` requires.
pub enum Auth {
    /// OAuth 2.0 client credentials (RFC 6749 §4.4): a token is fetched and sent as
    /// `Authorization: Bearer`.
    OauthClientCredentials(Arc<OauthClientCredentials>),
    /// OAuth 2.0 with the consent of a person (RFC 6749 §4.1): the token of a grant in the token
    /// store is sent as `Authorization: Bearer`.
    OauthUserConsent(Arc<UserConsent>),
    /// `Authorization: Bearer <token>` (RFC 6750).
    BearerToken(BearerToken),
    /// `Authorization: Basic <base64>` (RFC 7617, UTF-8).
    BasicAuth(BasicAuth),
    /// Headers, sent as configured.
    StaticHeaders(Vec<SensitiveHeader>),
    /// No authentication, stated explicitly.
    NoAuth,
}

/// A fixed bearer token.
pub struct BearerToken {
    token: Secret,
    header: [SensitiveHeader; 1],
}

/// A user name and a password for basic authentication.
pub struct BasicAuth {
    username: Secret,
    password: Secret,
    header: [SensitiveHeader; 1],
}

/// A user name without a colon, which basic authentication can carry.
pub struct Username(Secret);

/// Error: the user name contains a colon. It could not be separated from the password (RFC 7617
/// §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColonInUsername;

impl BearerToken {
    /// Creates the credential for this token.
    pub fn new(token: Secret) -> Self {
        let value = token.derive([b"Bearer ", token.expose()].concat());
        let header = [SensitiveHeader {
            name: AUTHORIZATION,
            written: AUTHORIZATION_WRITTEN.into(),
            value,
            is_secret: true,
        }];
        Self { token, header }
    }

    /// Returns the token.
    pub fn token(&self) -> &Secret {
        &self.token
    }
}

impl TryFrom<Secret> for Username {
    type Error = ColonInUsername;

    fn try_from(username: Secret) -> Result<Self, ColonInUsername> {
        if username.expose().contains(&b':') {
            Err(ColonInUsername)
        } else {
            Ok(Self(username))
        }
    }
}

impl BasicAuth {
    /// Creates the credential for this user name and password.
    pub fn new(Username(username): Username, password: Secret) -> Self {
        let pair = zeroize::Zeroizing::new([username.expose(), b":", password.expose()].concat());
        let mut value = b"Basic ".to_vec();
        value.extend_from_slice(
            base64::engine::general_purpose::STANDARD
                .encode(&*pair)
                .as_bytes(),
        );
        let header = [SensitiveHeader {
            name: AUTHORIZATION,
            written: AUTHORIZATION_WRITTEN.into(),
            value: password.derive(value),
            is_secret: true,
        }];
        Self {
            username,
            password,
            header,
        }
    }

    /// Returns the user name.
    pub fn username(&self) -> &Secret {
        &self.username
    }

    /// Returns the password.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// Returns the parts of the pair that are secret.
    pub fn parts(&self) -> Vec<SecretPart> {
        Pair::new(self.username.expose(), self.password.expose()).parts()
    }
}

impl Auth {
    /// Returns the name of the field that holds this kind in a definition.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OauthClientCredentials(_) => "oauth_client_credentials",
            Self::OauthUserConsent(_) => "oauth_user_consent",
            Self::BearerToken(_) => "bearer_token",
            Self::BasicAuth(_) => "basic_auth",
            Self::StaticHeaders(_) => "static_headers",
            Self::NoAuth => "no_auth",
        }
    }

    /// Returns the terms of the consent, if a person has to consent.
    pub fn consent(&self) -> Option<&Arc<UserConsent>> {
        match self {
            Self::OauthUserConsent(consent) => Some(consent),
            Self::OauthClientCredentials(_)
            | Self::BearerToken(_)
            | Self::BasicAuth(_)
            | Self::StaticHeaders(_)
            | Self::NoAuth => None,
        }
    }

    /// Returns whether two definitions are equal, including their secrets and the sources of these.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OauthClientCredentials(one), Self::OauthClientCredentials(other)) => {
                one.is_same(other)
            }
            (Self::OauthUserConsent(one), Self::OauthUserConsent(other)) => one.is_same(other),
            (Self::BearerToken(one), Self::BearerToken(other)) => one.token.is_same(&other.token),
            (Self::BasicAuth(one), Self::BasicAuth(other)) => {
                one.username.is_same(&other.username) && one.password.is_same(&other.password)
            }
            (Self::StaticHeaders(one), Self::StaticHeaders(other)) => {
                let same = |(one, other): (&SensitiveHeader, &SensitiveHeader)| {
                    one.written == other.written
                        && one.is_secret == other.is_secret
                        && one.value.is_same(&other.value)
                };
                one.len() == other.len() && one.iter().zip(other).all(same)
            }
            (Self::NoAuth, Self::NoAuth) => true,
            (
                Self::OauthClientCredentials(_)
                | Self::OauthUserConsent(_)
                | Self::BearerToken(_)
                | Self::BasicAuth(_)
                | Self::StaticHeaders(_)
                | Self::NoAuth,
                _,
            ) => false,
        }
    }

    /// Returns the headers that are sent, or `None` for OAuth, where they depend on a token.
    pub fn fixed_headers(&self) -> Option<&[SensitiveHeader]> {
        match self {
            Self::OauthClientCredentials(_) | Self::OauthUserConsent(_) => None,
            Self::BearerToken(bearer) => Some(&bearer.header),
            Self::BasicAuth(basic) => Some(&basic.header),
            Self::StaticHeaders(headers) => Some(headers),
            Self::NoAuth => Some(&[]),
        }
    }

    /// Returns the names of the headers that this credential sets.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        const OAUTH: &[HeaderName] = &[AUTHORIZATION];
        let oauth = if self.fixed_headers().is_none() {
            OAUTH
        } else {
            &[]
        };
        let fixed = self.fixed_headers().unwrap_or_default();
        oauth.iter().chain(fixed.iter().map(|header| &header.name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Auth, BasicAuth, BearerToken, ColonInUsername, Username};
    use crate::domain::{Secret, SecretSource};

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec(), SecretSource::Inline).unwrap()
    }

    fn basic(username: &str, password: Secret) -> Auth {
        let username = Username::try_from(secret(username)).unwrap();
        Auth::BasicAuth(BasicAuth::new(username, password))
    }

    fn only_header(auth: &Auth) -> (String, Vec<u8>) {
        let [header] = auth.fixed_headers().unwrap() else {
            panic!("one header")
        };
        (header.name.to_string(), header.value.expose().to_vec())
    }

    #[test]
    fn bearer() {
        let auth = Auth::BearerToken(BearerToken::new(secret("tok")));
        assert_eq!(
            only_header(&auth),
            ("authorization".into(), b"Bearer tok".to_vec())
        );
    }

    #[test]
    fn basic_is_utf8_and_refuses_a_colon_in_the_name() {
        let auth = basic("test", secret("123£"));
        // The example of RFC 7617, section 2.1.
        assert_eq!(
            only_header(&auth),
            ("authorization".into(), b"Basic dGVzdDoxMjPCow==".to_vec())
        );
        // F-252
        assert_eq!(
            only_header(&basic("sk_live", Secret::empty())),
            ("authorization".into(), b"Basic c2tfbGl2ZTo=".to_vec())
        );
        // F-15
        assert_eq!(
            Username::try_from(secret("a:b")).map(drop),
            Err(ColonInUsername)
        );
    }
}
