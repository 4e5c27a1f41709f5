//! Describes sources of secrets, and rejects those that a definition may not name.

use std::path::Path;

use crate::config::field::Field;
use crate::config::redaction::{self, quoted_path};
use crate::config::secret_policy::{DenialReason, SecretPolicy};
use crate::domain::{Secret, SecretSource};

pub(super) fn reject_variable(
    field: &Field<'_>,
    named: &str,
    denied: DenialReason,
) -> Option<Secret> {
    let (message, remedy) = match denied {
        DenialReason::NotListed => (
            format!("connections may not read {named}"),
            "name another variable, or list this one, with all others that connections read, in `secrets.allow_env` of the settings",
        ),
        DenialReason::Own => (
            format!("{named} is read by the settings, so no connection may read it"),
            "give the connection a variable of its own; `secrets.allow_env` cannot allow this one",
        ),
    };
    field.reject("secret_not_allowed", message, remedy)
}

pub(super) fn reject_file(
    field: &Field<'_>,
    path: &Path,
    denied: DenialReason,
    policy: &SecretPolicy,
) -> Option<Secret> {
    let shown = quoted_path(path);
    let (message, remedy) = match denied {
        DenialReason::NotListed => (
            format!("the secret file {shown} is not below a directory that connections may read"),
            format!(
                "{}list its directory, with all others that hold secrets, in `secrets.allow` of the settings",
                policy
                    .describe_directories()
                    .map_or_else(String::new, |known| format!("move it below {known}, or "))
            ),
        ),
        DenialReason::Own => (
            format!(
                "the file {shown} belongs to the settings, the definitions or the token store, so no connection may read it as a secret"
            ),
            "give the connection a file of its own; `secrets.allow` cannot allow this one"
                .to_owned(),
        ),
    };
    field.reject("secret_not_allowed", message, remedy)
}

/// Describes a source for a message.
pub(super) fn describe_source(source: &SecretSource) -> String {
    match source {
        SecretSource::Inline => "the secret".to_owned(),
        SecretSource::Env(name) => match redaction::shown_variable(name) {
            Some(shown) => format!("the environment variable {shown}"),
            None => "the environment variable of this name".to_owned(),
        },
        SecretSource::File(path) => format!("the secret file {}", quoted_path(path)),
    }
}
