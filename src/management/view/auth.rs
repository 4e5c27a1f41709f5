//! The auth kind of a connection, without its secrets.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::consent::ConsentDetails;
use super::disclosure::{DisclosedValue, disclosed_parameters, disclosed_token_url};
use super::scalar::Redacted;
use super::sources::CredentialSources;
use crate::domain::Auth;
use crate::domain::auth::{ClientAuth, GrantType, OauthParameters};

/// The credential of a connection. Exactly one field is present.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum AuthDetails {
    /// A token is obtained from a token endpoint (RFC 6749, section 4.4).
    #[serde(rename_all = "camelCase")]
    OauthClientCredentials {
        /// The URL of the token endpoint. In its query, only the values of well-known parameters
        /// that are not secret are shown.
        token_url: String,
        /// The grant type, unless it is `client_credentials`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        grant_type: Option<String>,
        /// The client's id.
        client_id: Redacted,
        /// The client's secret.
        client_secret: Redacted,
        /// The requested scopes, separated by spaces.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        scopes: Option<String>,
        /// Further parameters of token requests. Only the values of well-known parameters that are
        /// not secret are shown.
        #[schema(value_type = BTreeMap<String, String>)]
        extra_params: BTreeMap<String, DisclosedValue>,
        /// The place of the client's id and secret in a token request: `basic` or `body`.
        client_auth: &'static str,
    },
    /// A person consents to the access with `egressd login`, and the tokens are kept in the token
    /// store (RFC 6749, sections 4.1 and 6).
    OauthUserConsent(Box<ConsentDetails>),
    /// A fixed token.
    BearerToken {
        /// The token.
        token: Redacted,
    },
    /// A user name and a password.
    BasicAuth {
        /// The user name.
        username: Redacted,
        /// The password.
        password: Redacted,
    },
    /// Headers with a secret value.
    StaticHeaders {
        /// The values, by header name.
        headers: BTreeMap<String, Redacted>,
    },
    /// The upstream requires no credential.
    NoAuth {},
}

impl AuthDetails {
    /// Redacts the secrets, and adds where they come from to `sources`.
    pub(super) fn new(auth: &Auth, sources: &mut CredentialSources) -> Self {
        match auth {
            Auth::OauthClientCredentials(credentials) => {
                Self::from_oauth(credentials.terms(), sources)
            }
            Auth::OauthUserConsent(consent) => {
                let details = ConsentDetails::new(consent.parameters(), sources);
                Self::OauthUserConsent(Box::new(details))
            }
            Auth::BearerToken(bearer) => Self::BearerToken {
                token: sources.redact("bearerToken.token", bearer.token()),
            },
            Auth::BasicAuth(basic) => Self::BasicAuth {
                username: sources.redact("basicAuth.username", basic.username()),
                password: sources.redact("basicAuth.password", basic.password()),
            },
            Auth::StaticHeaders(headers) => {
                let headers = headers.iter().map(|header| {
                    let path = format!("staticHeaders.headers.{}", header.written);
                    let value = sources.redact(&path, &header.value);
                    (header.written.to_string(), value)
                });
                Self::StaticHeaders {
                    headers: headers.collect(),
                }
            }
            Auth::NoAuth => Self::NoAuth {},
        }
    }

    fn from_oauth(parameters: &OauthParameters, sources: &mut CredentialSources) -> Self {
        // Without `..`, so that the compiler points here when there is a new field.
        let OauthParameters {
            token_url,
            grant_type,
            client_id,
            client_secret,
            scopes,
            extra_params,
            client_auth,
            allowed_private_cidrs: _,
        } = parameters;
        let path = |field: &str| format!("oauthClientCredentials.{field}");
        Self::OauthClientCredentials {
            token_url: disclosed_token_url(token_url),
            grant_type: (*grant_type != GrantType::default())
                .then(|| grant_type.as_str().to_owned()),
            scopes: scopes.clone(),
            extra_params: disclosed_parameters(&path("extraParams"), extra_params, sources),
            client_id: sources.redact(&path("clientId"), client_id),
            client_secret: sources.redact(&path("clientSecret"), client_secret),
            client_auth: match client_auth {
                ClientAuth::Basic => "basic",
                ClientAuth::Body => "body",
            },
        }
    }
}
