//! What a request would prove itself with. Sources of secrets are told, never the secrets.

use super::Row;
use crate::domain::{Auth, Connection, Secret, SecretSource};

/// What the configuration gives.
pub(super) fn row(connection: &Connection) -> Row {
    let signed = connection.webhook_signing_secret.as_ref();
    let signed = signed.map(|key| format!("; bodies are signed with a key {}", from(key)));
    Row {
        step: "credential",
        target: connection.auth.kind().to_owned(),
        ok: true,
        ms: 0.0,
        detail: configured(&connection.auth) + &signed.unwrap_or_default(),
        remedy: None,
    }
}

fn configured(auth: &Auth) -> String {
    match auth {
        Auth::OauthClientCredentials(oauth) => {
            let terms = oauth.terms();
            format!(
                "token of https://{}{}, client_id {}, client_secret {}",
                terms.token_url.authority(),
                terms.token_url.path(),
                from(&terms.client_id),
                from(&terms.client_secret)
            )
        }
        Auth::BearerToken(bearer) => from(bearer.token()),
        Auth::BasicAuth(basic) => format!(
            "username {}, password {}",
            from(basic.username()),
            from(basic.password())
        ),
        Auth::StaticHeaders(headers) => {
            let headers = headers.iter();
            let told = headers.map(|header| format!("{} {}", header.name, from(&header.value)));
            told.collect::<Vec<_>>().join(", ")
        }
        Auth::NoAuth => "the upstream asks for none".to_owned(),
    }
}

/// `from env:NAME`, `inline`
fn from(secret: &Secret) -> String {
    match secret.source() {
        SecretSource::Inline => "inline".to_owned(),
        source @ (SecretSource::Env(_) | SecretSource::File(_)) => format!("from {source}"),
    }
}
