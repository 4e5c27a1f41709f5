//! The details of OAuth that a person has consented to, without secrets.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::disclosure::{DisclosedValue, disclosed_parameters, disclosed_token_url};
use super::scalar::Redacted;
use super::sources::CredentialSources;
use crate::domain::TokenUrl;
use crate::domain::auth::{ConsentParameters, Identity};

/// The path of the details below `connectionDetails.http`.
const PATH: &str = "oauthUserConsent";

/// The client, the endpoints and the quirks of the provider. Values that the connector supplies are
/// filled in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConsentDetails {
    /// The grant: the name of the file in the token store, without `.json`.
    grant: String,
    /// The client's id.
    client_id: Redacted,
    /// The client's secret. Absent for a public client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<Redacted>,
    /// The place of the client's id and secret in a token request: `basic`, `body` or `none`.
    /// Absent if `egressd login` finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_auth: Option<&'static str>,
    /// The requested scopes, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scopes: Option<String>,
    /// The separator of scopes in requests: a space or a comma.
    scope_separator: String,
    /// The refresh token. The token store holds it, and the definition may have one that starts the
    /// grant without a login.
    refresh_token: Redacted,
    /// The page at which a person consents. In the query of each URL, only the values of well-known
    /// parameters that are not secret are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    authorization_url: Option<String>,
    /// The endpoint of the device flow (RFC 8628).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    device_authorization_url: Option<String>,
    /// The endpoint at which a code is exchanged.
    token_url: String,
    /// The endpoint at which a token is refreshed.
    refresh_url: String,
    /// The endpoint at which a token is revoked (RFC 7009).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revocation_url: Option<String>,
    /// The issuer that a callback must name (RFC 9207).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    issuer: Option<String>,
    /// The URI to which the provider sends the browser.
    redirect_uri: String,
    /// The code challenge (RFC 7636): `s256` or `off`.
    pkce: &'static str,
    /// The format of token requests: `form` or `json`.
    token_request: &'static str,
    /// Parameters of the authorization URL. Only the values of well-known parameters are shown.
    #[schema(value_type = BTreeMap<String, String>)]
    authorization_params: BTreeMap<String, DisclosedValue>,
    /// Parameters of the code exchange and of the device token request.
    #[schema(value_type = BTreeMap<String, String>)]
    token_params: BTreeMap<String, DisclosedValue>,
    /// Parameters of the refresh request.
    #[schema(value_type = BTreeMap<String, String>)]
    refresh_params: BTreeMap<String, DisclosedValue>,
    /// The JSON Pointer to the object with the tokens in an answer.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    token_path: String,
    /// `single_use` or `reusable`.
    refresh_token_rotation: &'static str,
    /// The place of the name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    identity: Option<IdentityDetails>,
}

/// The place of the name of the account that a person has logged in with: `url` and `pointer`, or
/// `answer`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IdentityDetails {
    /// A URL that returns JSON for the new access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    /// The JSON Pointer to the name in that JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pointer: Option<String>,
    /// The JSON Pointer to the name in the token answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    answer: Option<String>,
}

impl ConsentDetails {
    /// Redacts the secrets, and adds where they come from to `sources`.
    pub(super) fn new(parameters: &ConsentParameters, sources: &mut CredentialSources) -> Self {
        // Without `..`, so that the compiler points here when there is a new field.
        let ConsentParameters {
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
            allowed_private_cidrs: _,
            provider: _,
        } = parameters;
        let shown = |url: &Option<TokenUrl>| url.as_ref().map(disclosed_token_url);
        let path = |field: &str| format!("{PATH}.{field}");
        let mut parameters =
            |field: &str, values| disclosed_parameters(&path(field), values, sources);
        let authorization_params = parameters("authorizationParams", authorization_params);
        let token_params = parameters("tokenParams", token_params);
        let refresh_params = parameters("refreshParams", refresh_params);
        let refresh_token =
            sources.redact_refresh_token(&path("refreshToken"), refresh_token.as_ref(), grant);
        let mut redact = |field: &str, secret| sources.redact(&path(field), secret);
        Self {
            grant: grant.to_string(),
            client_id: redact("clientId", client_id),
            client_secret: client_secret
                .as_deref()
                .map(|secret| redact("clientSecret", secret)),
            client_auth: client_auth.map(|place| place.as_str()),
            scopes: scopes.clone(),
            scope_separator: scope_separator.to_string(),
            refresh_token,
            authorization_url: shown(&endpoints.authorization_url),
            device_authorization_url: shown(&endpoints.device_authorization_url),
            token_url: disclosed_token_url(&endpoints.token_url),
            refresh_url: disclosed_token_url(&endpoints.refresh_url),
            revocation_url: shown(&endpoints.revocation_url),
            issuer: issuer.clone(),
            redirect_uri: redirect_uri.to_string(),
            pkce: if *has_pkce { "s256" } else { "off" },
            token_request: token_request.as_str(),
            authorization_params,
            token_params,
            refresh_params,
            token_path: token_path.as_str().to_owned(),
            refresh_token_rotation: rotation.as_str(),
            identity: identity.as_ref().map(IdentityDetails::new),
        }
    }
}

impl IdentityDetails {
    fn new(identity: &Identity) -> Self {
        match identity {
            Identity::Url(url, pointer) => Self {
                url: Some(disclosed_token_url(url)),
                pointer: Some(pointer.as_str().to_owned()),
                answer: None,
            },
            Identity::Answer(pointer) => Self {
                url: None,
                pointer: None,
                answer: Some(pointer.as_str().to_owned()),
            },
        }
    }
}
