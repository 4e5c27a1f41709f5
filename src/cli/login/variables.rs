//! The environment variables that hold secrets. The program that opens a browser does not get them.

use std::ffi::OsString;

use crate::domain::{Auth, Connection, Secret, SecretSource};

/// Returns the names of all variables that a connection takes a secret from.
pub(super) fn secret_variables(connections: &[Connection]) -> Vec<OsString> {
    let secrets = connections.iter().flat_map(secrets);
    let names = secrets.filter_map(|secret| match secret.source() {
        SecretSource::Env(name) => Some(OsString::from(name)),
        SecretSource::Inline | SecretSource::File(_) => None,
    });
    names.collect()
}

fn secrets(connection: &Connection) -> Vec<&Secret> {
    let mut secrets: Vec<&Secret> = connection.webhook_signing_secret.iter().collect();
    match &connection.auth {
        Auth::OauthClientCredentials(credentials) => {
            let terms = credentials.terms();
            secrets.extend([&*terms.client_id, &*terms.client_secret]);
        }
        Auth::OauthUserConsent(consent) => {
            let parameters = consent.parameters();
            secrets.push(&parameters.client_id);
            secrets.extend(parameters.client_secret.as_deref());
            secrets.extend(&parameters.refresh_token);
        }
        Auth::BearerToken(bearer) => secrets.push(bearer.token()),
        Auth::BasicAuth(basic) => secrets.extend([basic.username(), basic.password()]),
        Auth::StaticHeaders(headers) => {
            secrets.extend(headers.iter().map(|header| &header.value));
        }
        Auth::NoAuth => {}
    }
    secrets
}
