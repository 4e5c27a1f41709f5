//! `credentialSources`: where each value that reads `[redacted]` comes from.

use std::collections::BTreeMap;

use super::disclosure::{shows_header, shows_parameter};
use crate::domain::{Auth, Connection, Secret, SecretSource};

/// `env:NAME`, `file:PATH` or `inline` by the path of the field below `connectionDetails.http`.
pub(super) type Sources = BTreeMap<String, String>;

pub(super) fn of(connection: &Connection) -> Sources {
    let mut sources = of_auth(&connection.auth);
    if let Some(secret) = &connection.webhook_signing_secret {
        sources.insert("webhookSigningSecret".into(), told(secret));
    }
    let hidden = connection
        .headers
        .iter()
        .filter(|header| !shows_header(&header.written, header.value.as_bytes()));
    sources.extend(hidden.map(|header| (format!("headers.{}", header.written), inline())));
    sources
}

fn of_auth(auth: &Auth) -> Sources {
    match auth {
        Auth::OauthClientCredentials(credentials) => {
            let terms = credentials.terms();
            let names = terms.extra_params.iter().map(|(name, _)| name);
            let hidden = names.filter(|name| !shows_parameter(name));
            let mut sources: Sources = hidden
                .map(|name| {
                    let path = format!("oauthClientCredentials.extraParams.{name}");
                    (path, inline())
                })
                .collect();
            let (id, secret) = (told(&terms.client_id), told(&terms.client_secret));
            sources.insert("oauthClientCredentials.clientId".into(), id);
            sources.insert("oauthClientCredentials.clientSecret".into(), secret);
            sources
        }
        Auth::BearerToken(bearer) => {
            Sources::from([("bearerToken.token".into(), told(bearer.token()))])
        }
        Auth::BasicAuth(basic) => Sources::from([
            ("basicAuth.username".into(), told(basic.username())),
            ("basicAuth.password".into(), told(basic.password())),
        ]),
        Auth::StaticHeaders(headers) => headers
            .iter()
            .map(|header| {
                let path = format!("staticHeaders.headers.{}", header.written);
                (path, told(&header.value))
            })
            .collect(),
        Auth::NoAuth => Sources::new(),
    }
}

fn told(secret: &Secret) -> String {
    secret.source().to_string()
}

fn inline() -> String {
    SecretSource::Inline.to_string()
}
