//! The credential step: describes the credential of a request by the sources of its secrets, never
//! by the secrets. The consent step reports the status of a grant.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{StepFailure, StepReport};
use crate::config::LoginArguments;
use crate::credential::oauth::ConnectionStatus;
use crate::domain::auth::ConsentParameters;
use crate::domain::{Auth, Connection, Secret, SecretSource};
use crate::token_store::TokenStore;

/// Reports the credential that the configuration gives. This step cannot fail: a secret that cannot
/// be read is a problem of the configuration.
pub(super) fn credential_step(connection: &Connection) -> StepReport {
    let signed = connection.webhook_signing_secret.as_ref();
    let signed =
        signed.map(|key| format!("; bodies are signed with a key {}", describe_source(key)));
    let kind = connection.auth.kind().to_owned();
    let detail = describe_credential(&connection.auth) + &signed.unwrap_or_default();
    StepReport::new("credential", kind, Duration::ZERO, Ok(detail))
}

fn describe_credential(auth: &Auth) -> String {
    match auth {
        Auth::OauthClientCredentials(oauth) => {
            let terms = oauth.terms();
            format!(
                "token from https://{}{}, client_id {}, client_secret {}",
                terms.token_url.authority(),
                terms.token_url.path(),
                describe_source(&terms.client_id),
                describe_source(&terms.client_secret)
            )
        }
        Auth::OauthUserConsent(consent) => describe_consent(consent.parameters()),
        Auth::BearerToken(bearer) => describe_source(bearer.token()),
        Auth::BasicAuth(basic) => format!(
            "username {}, password {}",
            describe_source(basic.username()),
            describe_source(basic.password())
        ),
        Auth::StaticHeaders(headers) => {
            let headers = headers.iter();
            let sources =
                headers.map(|header| format!("{} {}", header.name, describe_source(&header.value)));
            sources.collect::<Vec<_>>().join(", ")
        }
        Auth::NoAuth => "the upstream needs no credential".to_owned(),
    }
}

fn describe_consent(parameters: &ConsentParameters) -> String {
    let secret = parameters.client_secret.as_deref();
    let secret = secret.map_or_else(
        || "no client_secret".to_owned(),
        |secret| format!("client_secret {}", describe_source(secret)),
    );
    format!(
        "grant `{}` of {}, client_id {}, {secret}",
        parameters.grant,
        parameters.endpoints.token_url,
        describe_source(&parameters.client_id),
    )
}

/// Reports the status that `serve` would have at its start, if a person has to consent to the
/// connection. A refresh could spend a token that is accepted once, so no request is sent.
pub(super) fn consent_step(
    connection: &Connection,
    store: &TokenStore,
    login: &LoginArguments<'_>,
) -> Option<StepReport> {
    let grant = &connection.auth.consent()?.parameters().grant;
    let begun = Instant::now();
    let file = store.read(grant);
    let status = ConnectionStatus::at_start(connection, Some(file), Timestamp::now());
    let took = begun.elapsed();
    let reason = status.reason.map(|reason| format!(" ({reason})"));
    let detail = format!("{}{}", status.name.as_str(), reason.unwrap_or_default());
    let outcome = match status.name.needs_login() {
        false => Ok(detail),
        true => Err(StepFailure {
            detail,
            remedy: Some(login.remedy(&connection.id)),
        }),
    };
    Some(StepReport::new(
        "consent",
        format!("grant {grant}"),
        took,
        outcome,
    ))
}

/// Returns the source of a secret: `from env:NAME`, `from file:PATH` or `inline`.
fn describe_source(secret: &Secret) -> String {
    match secret.source() {
        SecretSource::Inline => "inline".to_owned(),
        source @ (SecretSource::Env(_) | SecretSource::File(_)) => format!("from {source}"),
    }
}
