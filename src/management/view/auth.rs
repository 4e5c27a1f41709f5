//! The one auth kind of a connection, without what it proves itself with.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::disclosure::is_public_parameter;
use super::scalar::Redacted;
use crate::domain::auth::{ClientAuth, GrantType, OauthParameters};
use crate::domain::{Auth, TokenUrl};

/// The one way in which the connection proves itself to its upstream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum AuthDetails {
    /// A token is obtained from a token endpoint (RFC 6749, section 4.4).
    #[serde(rename_all = "camelCase")]
    OauthClientCredentials {
        /// The token endpoint. In a query, only values of well-known harmless names are shown.
        token_url: String,
        /// The grant type, unless it is `client_credentials`.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        grant_type: Option<String>,
        /// The client's id.
        client_id: Redacted,
        /// The client's secret.
        client_secret: Redacted,
        /// Scopes, with spaces between them.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        scopes: Option<String>,
        /// Further parameters of a token request. Only values of well-known harmless names are shown.
        #[schema(value_type = BTreeMap<String, String>)]
        extra_params: BTreeMap<String, DisclosedValue>,
        /// Where the client's id and secret go: `basic` or `body`.
        client_auth: &'static str,
    },
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
    /// Headers that are the credential.
    StaticHeaders {
        /// Their values by their names.
        headers: BTreeMap<String, Redacted>,
    },
    /// The upstream asks for none.
    NoAuth {},
}

/// A value of a free map, or what stands in its place.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum DisclosedValue {
    Plain(String),
    Hidden(Redacted),
}

impl AuthDetails {
    pub(super) fn new(auth: &Auth) -> Self {
        match auth {
            Auth::OauthClientCredentials(credentials) => Self::from_oauth(credentials.terms()),
            Auth::BearerToken(_) => Self::BearerToken { token: Redacted },
            Auth::BasicAuth(_) => Self::BasicAuth {
                username: Redacted,
                password: Redacted,
            },
            Auth::StaticHeaders(headers) => Self::StaticHeaders {
                headers: headers
                    .iter()
                    .map(|header| (header.written.to_string(), Redacted))
                    .collect(),
            },
            Auth::NoAuth => Self::NoAuth {},
        }
    }

    fn from_oauth(terms: &OauthParameters) -> Self {
        let shown = |(name, value): &(String, String)| {
            let value = if is_public_parameter(name) {
                DisclosedValue::Plain(value.clone())
            } else {
                DisclosedValue::Hidden(Redacted)
            };
            (name.clone(), value)
        };
        Self::OauthClientCredentials {
            token_url: disclosed_token_url(&terms.token_url),
            grant_type: (terms.grant_type != GrantType::default())
                .then(|| terms.grant_type.as_str().to_owned()),
            client_id: Redacted,
            client_secret: Redacted,
            scopes: terms.scopes.clone(),
            extra_params: terms.extra_params.iter().map(shown).collect(),
            client_auth: match terms.client_auth {
                ClientAuth::Basic => "basic",
                ClientAuth::Body => "body",
            },
        }
    }
}

/// Formats the URL. The query's values are shown or hidden by the same rule as `extra_params`.
fn disclosed_token_url(url: &TokenUrl) -> String {
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
