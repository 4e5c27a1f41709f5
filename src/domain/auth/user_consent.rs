//! OAuth that a person has consented to: the client, its endpoints and the quirks of the provider.
//!
//! `serve` uses the part for refreshing (RFC 6749 section 6). The rest serves the commands that
//! obtain and end a consent.

mod json_pointer;
mod redirect_uri;

use std::fmt;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use super::oauth::Utf8Secret;
use crate::domain::id::ConnectionId;
use crate::domain::secret::Secret;
use crate::domain::url::TokenUrl;
pub use json_pointer::{InvalidPointer, JsonPointer};
pub use redirect_uri::{InvalidRedirectUri, LoopbackHost, LoopbackUri, RedirectUri};

/// The name of a grant: what one person consented to, for one OAuth client. Connections may share
/// a grant. It has the syntax of a connection id, and is the stem of a file in the token store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantName(ConnectionId);

/// The parameters of `oauth_user_consent`, with the defaults of the connector filled in.
pub struct ConsentParameters {
    /// The grant. Without the field, the id of the connection.
    pub grant: GrantName,
    /// The client's id.
    pub client_id: Utf8Secret,
    /// The client's secret; `None` for a public client.
    pub client_secret: Option<Utf8Secret>,
    /// The place of the client's credentials. `None`: `login` finds the one that works, and stores
    /// it with the grant.
    pub client_auth: Option<ConsentClientAuth>,
    /// The scopes, separated by spaces. `None`: requests have no `scope` parameter.
    pub scopes: Option<String>,
    /// The separator of scopes in requests: a space or a comma.
    pub scope_separator: char,
    /// The endpoints.
    pub endpoints: ConsentEndpoints,
    /// A refresh token that starts the grant without a login.
    pub refresh_token: Option<Secret>,
    /// The issuer that a callback must name (RFC 9207).
    pub issuer: Option<String>,
    /// The URI to which the provider sends the browser.
    pub redirect_uri: RedirectUri,
    /// `true` if the authorization request has an S256 code challenge (RFC 7636).
    pub has_pkce: bool,
    /// The format of token requests.
    pub token_request: TokenRequestFormat,
    /// Parameters that are added to the authorization URL.
    pub authorization_params: Vec<(String, String)>,
    /// Parameters that are added to the code exchange and to the device token request.
    pub token_params: Vec<(String, String)>,
    /// Parameters that are added to the refresh request.
    pub refresh_params: Vec<(String, String)>,
    /// The place of the tokens in an answer: the steps of a JSON Pointer (RFC 6901).
    pub token_path: JsonPointer,
    /// The number of times that a refresh token is accepted: once or many times.
    pub rotation: Rotation,
    /// The place of the name of the account. Only `login` uses it.
    pub identity: Option<Identity>,
    /// The connection's `allowed_private_cidrs`, which also apply to the endpoints.
    pub allowed_private_cidrs: Vec<IpNet>,
    /// Facts that only a connector has.
    pub provider: ProviderFacts,
}

/// [`ConsentParameters`] and their fingerprint.
pub struct UserConsent {
    parameters: ConsentParameters,
    fingerprint: [u8; 32],
}

/// The endpoints of an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEndpoints {
    /// The page at which a person consents (RFC 6749 section 3.1).
    pub authorization_url: Option<TokenUrl>,
    /// The endpoint of the device flow (RFC 8628).
    pub device_authorization_url: Option<TokenUrl>,
    /// The endpoint at which a code is exchanged.
    pub token_url: TokenUrl,
    /// The endpoint at which a token is refreshed; the token URL if the field is absent.
    pub refresh_url: TokenUrl,
    /// The endpoint at which a token is revoked (RFC 7009).
    pub revocation_url: Option<TokenUrl>,
}

/// The facts about a provider that only its connector has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderFacts {
    /// Parameters that `login --select-account` adds to the authorization URL.
    pub select_account_params: Vec<(String, String)>,
    /// Error codes, besides the general ones, which state that the consent has ended.
    pub consent_ended_errors: Vec<String>,
    /// A page at which a person can revoke the consent.
    pub revoke_page: Option<String>,
}

/// The place of the client's credentials in a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentClientAuth {
    /// In the header, as HTTP Basic.
    Basic,
    /// In the body, as parameters.
    Body,
    /// The client has no secret. Its id is a parameter of the body.
    None,
}

/// The format of a token request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenRequestFormat {
    /// `application/x-www-form-urlencoded`, as RFC 6749 requires.
    #[default]
    Form,
    /// A JSON object, which some providers require.
    Json,
}

/// The effect of a refresh on the refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// A refresh token is accepted once, and the answer has a new one.
    #[default]
    SingleUse,
    /// A refresh token stays valid.
    Reusable,
}

/// The place of the name of the account that a person has logged in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// In the JSON that this URL returns for the new access token.
    Url(TokenUrl, JsonPointer),
    /// In the token answer.
    Answer(JsonPointer),
}

impl ConsentEndpoints {
    /// Returns the endpoints that are set. The refresh URL is among them even if it is the token
    /// URL.
    pub fn all(&self) -> impl Iterator<Item = &TokenUrl> {
        let Self {
            authorization_url,
            device_authorization_url,
            token_url,
            refresh_url,
            revocation_url,
        } = self;
        let optional = [authorization_url, device_authorization_url, revocation_url];
        [token_url, refresh_url]
            .into_iter()
            .chain(optional.into_iter().flatten())
    }
}

impl ConsentClientAuth {
    /// Returns the value of `client_auth` in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Body => "body",
            Self::None => "none",
        }
    }
}

impl TokenRequestFormat {
    /// Returns the value of `token_request` in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Json => "json",
        }
    }
}

impl Rotation {
    /// Returns the value of `refresh_token_rotation` in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleUse => "single_use",
            Self::Reusable => "reusable",
        }
    }
}

impl GrantName {
    /// Returns the grant of a connection that names none.
    pub fn for_connection(id: &ConnectionId) -> Self {
        Self(id.clone())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<ConnectionId> for GrantName {
    fn from(id: ConnectionId) -> Self {
        Self(id)
    }
}

impl fmt::Display for GrantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl UserConsent {
    /// Computes the fingerprint of the parameters.
    pub fn new(parameters: ConsentParameters) -> Self {
        let fingerprint = parameters.fingerprint();
        Self {
            parameters,
            fingerprint,
        }
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &ConsentParameters {
        &self.parameters
    }

    /// Returns the SHA-256 hash of all parameters. Connections that share a grant have the same
    /// fingerprint.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Returns whether two definitions are equal, including the sources of their secrets.
    pub fn is_same(&self, other: &Self) -> bool {
        let (one, other_one) = (&self.parameters, &other.parameters);
        // The fingerprint covers all other fields.
        self.fingerprint == other.fingerprint
            && one.client_id.is_same(&other_one.client_id)
            && Secret::are_same(
                one.client_secret.as_deref(),
                other_one.client_secret.as_deref(),
            )
            && Secret::are_same(one.refresh_token.as_ref(), other_one.refresh_token.as_ref())
    }
}

impl ConsentParameters {
    /// Returns the hash that a file of the token store is bound to: SHA-256 of the token URL's
    /// authority, a line feed and the client id, in lower-case hexadecimal after `sha256:`.
    pub fn client(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.endpoints.token_url.authority());
        hash.update(b"\n");
        hash.update(self.client_id.expose());
        hash_text(hash)
    }

    /// Returns the names of the fields in which two definitions of one grant differ. Fields that
    /// only a connector supplies are named `connector`.
    pub fn differing_fields(&self, other: &Self) -> Vec<&'static str> {
        let secret = |one: Option<&Secret>, other: Option<&Secret>| {
            one.map(Secret::expose) == other.map(Secret::expose)
        };
        let (ends, other_ends) = (&self.endpoints, &other.endpoints);
        let secrets = (
            self.client_secret.as_deref(),
            other.client_secret.as_deref(),
        );
        let seeds = (self.refresh_token.as_ref(), other.refresh_token.as_ref());
        let authorization = ends.authorization_url == other_ends.authorization_url;
        let device = ends.device_authorization_url == other_ends.device_authorization_url;
        let params = self.authorization_params == other.authorization_params;
        let ranges = self.allowed_private_cidrs == other.allowed_private_cidrs;
        let mut names: Vec<_> = [
            (
                "client_id",
                secret(Some(&self.client_id), Some(&other.client_id)),
            ),
            ("client_secret", secret(secrets.0, secrets.1)),
            ("client_auth", self.client_auth == other.client_auth),
            ("scopes", self.scopes == other.scopes),
            (
                "scope_separator",
                self.scope_separator == other.scope_separator,
            ),
            ("authorization_url", authorization),
            ("device_authorization_url", device),
            ("token_url", ends.token_url == other_ends.token_url),
            ("refresh_url", ends.refresh_url == other_ends.refresh_url),
            (
                "revocation_url",
                ends.revocation_url == other_ends.revocation_url,
            ),
            ("refresh_token", secret(seeds.0, seeds.1)),
            ("issuer", self.issuer == other.issuer),
            ("redirect_uri", self.redirect_uri == other.redirect_uri),
            ("pkce", self.has_pkce == other.has_pkce),
            ("token_request", self.token_request == other.token_request),
            ("authorization_params", params),
            ("token_params", self.token_params == other.token_params),
            (
                "refresh_params",
                self.refresh_params == other.refresh_params,
            ),
            ("token_path", self.token_path == other.token_path),
            ("refresh_token_rotation", self.rotation == other.rotation),
            ("identity", self.identity == other.identity),
            ("allowed_private_cidrs", ranges),
            ("connector", self.provider == other.provider),
        ]
        .into();
        names.retain(|(_, same)| !same);
        names.into_iter().map(|(name, _)| name).collect()
    }

    fn fingerprint(&self) -> [u8; 32] {
        let Self {
            grant,
            client_id,
            client_secret,
            client_auth,
            scopes,
            scope_separator,
            endpoints,
            refresh_token,
            issuer,
            redirect_uri,
            has_pkce,
            token_request,
            authorization_params,
            token_params,
            refresh_params,
            token_path,
            rotation,
            identity,
            allowed_private_cidrs,
            provider,
        } = self;
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(client_id.expose());
        for secret in [client_secret.as_deref(), refresh_token.as_ref()] {
            add(&[u8::from(secret.is_some())]);
            add(secret.map(Secret::expose).unwrap_or_default());
        }
        // The other fields hold no secret, so their `Debug` output can be written.
        let others = format!(
            "{grant:?} {client_auth:?} {scopes:?} {scope_separator:?} {endpoints:?} {issuer:?} \
             {redirect_uri:?} {has_pkce} {token_request:?} {token_path:?} {rotation:?} {identity:?} \
             {allowed_private_cidrs:?} {provider:?}"
        );
        add(others.as_bytes());
        for params in [authorization_params, token_params, refresh_params] {
            add(&(params.len() as u64).to_be_bytes());
            for (name, value) in params {
                add(name.as_bytes());
                add(value.as_bytes());
            }
        }
        hash.finalize().into()
    }
}

/// Returns the hash of a configured refresh token, as `seeds` in the token store lists it.
pub fn seed_hash(refresh_token: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(refresh_token);
    hash_text(hash)
}

fn hash_text(hash: Sha256) -> String {
    let digits = hash.finalize();
    let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

#[cfg(test)]
mod tests;
