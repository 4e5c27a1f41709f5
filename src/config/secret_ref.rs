//! A secret field: the value itself, `{env: NAME}` or `{file: PATH}` → [`Secret`].
//!
//! Invariant kept here: a problem names the reference, never what it leads to.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::document::Value;
use super::environment::Environment;
use super::problem::quoted;
use super::raw::Field;
use super::sources::{Files, Unread};
use crate::domain::{Secret, SecretSource};

/// The largest secret file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

const FORMS: &str = "write a text, `{env: NAME}` or `{file: PATH}`";

/// What references are resolved against.
pub(super) struct Surroundings<'a> {
    pub(super) environment: &'a Environment,
    /// The directory of the file that holds the reference.
    pub(super) directory: &'a Path,
    /// What files are read with.
    pub(super) files: &'a Files,
}

impl Surroundings<'_> {
    /// Reads a secret field.
    pub(super) fn secret(&self, field: &Field<'_>) -> Option<Secret> {
        let field = field.clone().secret();
        match &field.node.value {
            Value::Text(text) if field.sink.texts => {
                // What the environment says of a setting is a reference already.
                made(
                    &field,
                    text.as_bytes(),
                    SecretSource::Env(field.path.to_string()),
                )
            }
            Value::Text(text) => {
                let secret = made(&field, text.as_bytes(), SecretSource::Inline)?;
                field.push(
                    field
                        .problem("secret_inline", "the secret stands in the file itself")
                        .warning()
                        .remedy("keep it apart: `{env: NAME}` or `{file: PATH}`"),
                );
                Some(secret)
            }
            Value::Map(_) => self.reference(&field),
            Value::Number(_) | Value::Bool(_) => {
                let message = format!("must be a text or a reference, not {}", field.found());
                field.report("wrong_type", message, "put it in quotes");
                None
            }
            Value::Null | Value::List(_) => {
                let message = format!("must be a text or a reference, not {}", field.found());
                field.report("wrong_type", message, FORMS);
                None
            }
        }
    }

    /// Reads a secret field that may be an empty text. A reference to something empty stays a problem: most often it was forgotten.
    pub(super) fn secret_or_empty(&self, field: &Field<'_>) -> Option<Secret> {
        if matches!(&field.node.value, Value::Text(text) if text.is_empty()) {
            Some(Secret::empty())
        } else {
            self.secret(field)
        }
    }

    fn reference(&self, field: &Field<'_>) -> Option<Secret> {
        let mut object = field.object()?;
        let (has_env, has_file) = (object.has("env"), object.has("file"));
        let (env, file) = (object.take("env"), object.take("file"));
        object.finish();
        match (env, file) {
            (Some(env), None) if !has_file => self.in_environment(&env),
            (None, Some(file)) if !has_env => self.in_file(&file),
            (Some(_) | None, Some(_) | None) => {
                // A reference without a value is reported already.
                if has_env == has_file {
                    field.report(
                        "secret_reference",
                        "needs exactly one of `env` and `file`",
                        FORMS,
                    );
                }
                None
            }
        }
    }

    fn in_environment(&self, field: &Field<'_>) -> Option<Secret> {
        let name = field.text()?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || name.len() > 128 || !name.bytes().all(legal) {
            // Somebody may have put the secret itself here.
            field.report(
                "secret_reference",
                "is no name of an environment variable",
                "write a name of letters, digits and `_`",
            );
            return None;
        }
        let Some(value) = self.environment.find(name) else {
            field.report(
                "secret_missing",
                format!("the environment variable `{name}` is not set"),
                format!("set `{name}` for egressd, or name another variable"),
            );
            return None;
        };
        made(field, value.as_bytes(), SecretSource::Env(name.to_owned()))
    }

    fn in_file(&self, field: &Field<'_>) -> Option<Secret> {
        let path = self.directory.join(field.text()?);
        let shown = quoted(&path.display().to_string());
        let bytes = match read(self.files, &path) {
            Ok(bytes) => bytes,
            Err(why) => {
                field.report(
                    "secret_missing",
                    format!("the secret file {shown} {why}"),
                    "name a readable file of at most 64 KiB that holds the secret and nothing else",
                );
                return None;
            }
        };
        let secret = made(field, &bytes, SecretSource::File(path.clone()))?;
        if fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            field.push(
                field
                    .problem(
                        "secret_readable",
                        format!("every user can read the secret file {shown}"),
                    )
                    .warning()
                    .remedy("`chmod o-r` it; in Kubernetes set `defaultMode: 0440` and `fsGroup`"),
            );
        }
        Some(secret)
    }
}

/// The file's bytes without one line feed at their end.
fn read(files: &Files, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let mut bytes = files.secret(path, MAX_FILE).map_err(|why| match why {
        Unread::NoFile => "is not a regular file".to_owned(),
        Unread::Io(error) => format!("cannot be read: {}", error.kind()),
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is larger than 64 KiB".to_owned());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn made(field: &Field<'_>, bytes: &[u8], source: SecretSource) -> Option<Secret> {
    let from = match &source {
        SecretSource::Inline => "the secret".to_owned(),
        SecretSource::Env(_) | SecretSource::File(_) => {
            format!("the secret of {}", quoted(&source.to_string()))
        }
    };
    match Secret::new(bytes.to_vec(), source) {
        Ok(secret) => Some(secret),
        Err(invalid) => {
            field.report(
                "invalid_secret",
                format!("{from} {invalid}"),
                "write the bare secret: at least one character, no line breaks or control characters",
            );
            None
        }
    }
}

/// Refuses a secret that is sent as it stands and would lose white space at its ends.
pub(super) fn trimmed(field: &Field<'_>, secret: Secret) -> Option<Secret> {
    match secret.without_outer_space() {
        Ok(secret) => Some(secret),
        Err(invalid) => {
            let hidden = field.clone().secret();
            hidden.report(
                "invalid_secret",
                format!("the secret {invalid}"),
                "take the white space out",
            );
            None
        }
    }
}
