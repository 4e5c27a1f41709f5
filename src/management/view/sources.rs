//! `credentialSources`: where each value that reads `[redacted]` comes from.

use std::collections::BTreeMap;

use super::disclosure::{is_public_header, is_public_parameter};
use crate::domain::{Auth, Connection, Secret, SecretSource};

/// Returns `env:NAME`, `file:PATH` or `inline` by the path of the field below `connectionDetails.http`.
pub(super) fn credential_sources(connection: &Connection) -> BTreeMap<String, String> {
    let mut sources = auth_sources(&connection.auth);
    if let Some(secret) = &connection.webhook_signing_secret {
        sources.insert("webhookSigningSecret".into(), secret_source(secret));
    }
    let hidden = connection
        .headers
        .iter()
        .filter(|header| !is_public_header(&header.written, header.value.as_bytes()));
    sources.extend(hidden.map(|header| (format!("headers.{}", header.written), inline())));
    sources
}

fn auth_sources(auth: &Auth) -> BTreeMap<String, String> {
    match auth {
        Auth::OauthClientCredentials(credentials) => {
            let terms = credentials.terms();
            let names = terms.extra_params.iter().map(|(name, _)| name);
            let hidden = names.filter(|name| !is_public_parameter(name));
            let mut sources: BTreeMap<_, _> = hidden
                .map(|name| {
                    let path = format!("oauthClientCredentials.extraParams.{name}");
                    (path, inline())
                })
                .collect();
            let (id, secret) = (
                secret_source(&terms.client_id),
                secret_source(&terms.client_secret),
            );
            sources.insert("oauthClientCredentials.clientId".into(), id);
            sources.insert("oauthClientCredentials.clientSecret".into(), secret);
            sources
        }
        Auth::BearerToken(bearer) => {
            BTreeMap::from([("bearerToken.token".into(), secret_source(bearer.token()))])
        }
        Auth::BasicAuth(basic) => BTreeMap::from([
            ("basicAuth.username".into(), secret_source(basic.username())),
            ("basicAuth.password".into(), secret_source(basic.password())),
        ]),
        Auth::StaticHeaders(headers) => headers
            .iter()
            .map(|header| {
                let path = format!("staticHeaders.headers.{}", header.written);
                (path, secret_source(&header.value))
            })
            .collect(),
        Auth::NoAuth => BTreeMap::new(),
    }
}

fn secret_source(secret: &Secret) -> String {
    secret.source().to_string()
}

fn inline() -> String {
    SecretSource::Inline.to_string()
}
