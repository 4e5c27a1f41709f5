//! Reads a secret field into a [`Secret`]: the value itself, `{env: NAME}` or `{file: PATH}`.
//!
//! Invariant kept here: a problem names the reference, never the value that it leads to.

mod messages;

use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind::NotFound;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::connection_spec::SECRET_REFERENCE;
use super::document::Value;
use super::environment::Environment;
use super::field::Field;
use super::login_command::LoginArguments;
use super::redaction::{self, quoted_path};
use super::secret_policy::{SecretPolicy, SecretValues};
use super::sources::Files;
use crate::domain::{Ceilings, ConnectionId, Secret, SecretSource};
use messages::{describe_source, reject_file, reject_variable};

/// The largest secret file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

const FORMS: &str = "write a string, `{env: NAME}` or `{file: PATH}`";

/// Placeholder for a value that is not read. Long enough to cause no warning about short secrets,
/// and valid in every place where a secret is allowed.
const UNREAD: &[u8] = b"a-secret-that-was-not-read";

/// The environment, directory and policy that references are resolved against, and the ceilings
/// that limits are checked against.
pub(super) struct ResolveContext<'a> {
    pub(super) environment: &'a Environment,
    /// The directory of the file that holds the reference.
    pub(super) directory: &'a Path,
    /// Reads files and records them.
    pub(super) files: &'a Files,
    /// Decides if references are followed.
    values: SecretValues,
    /// Limits what may be named. `None` for the settings themselves, which may name everything.
    policy: Option<&'a SecretPolicy>,
    /// The largest limits that a definition may set.
    pub(super) ceilings: Ceilings,
    /// The arguments that remedies repeat for `egressd login`.
    pub(super) login: LoginArguments<'a>,
    /// The connection whose secrets `egressd login` asks for, if it asks for those of this
    /// definition.
    login_for: Option<&'a ConnectionId>,
    /// The references that were read.
    used: RefCell<Vec<SecretSource>>,
}

impl<'a> ResolveContext<'a> {
    /// Creates the context for the settings, which may take secrets from anywhere.
    pub(super) fn for_settings(
        environment: &'a Environment,
        directory: &'a Path,
        files: &'a Files,
        values: SecretValues,
    ) -> Self {
        Self {
            environment,
            directory,
            files,
            values,
            policy: None,
            ceilings: Ceilings::default(),
            login: LoginArguments::default(),
            login_for: None,
            used: RefCell::default(),
        }
    }

    /// Creates the context for a definition. Relative paths start from `directory`, and the policy
    /// limits which sources the definition may name.
    pub(super) fn for_definition(&self, directory: &'a Path, policy: &'a SecretPolicy) -> Self {
        Self {
            directory,
            policy: Some(policy),
            used: RefCell::default(),
            ..*self
        }
    }

    /// Creates the context for a definition whose secrets `egressd login` asks for.
    pub(super) fn with_login(&self, connection: Option<&'a ConnectionId>) -> Self {
        Self {
            login_for: connection,
            used: RefCell::default(),
            ..*self
        }
    }

    /// Returns the remedy for a secret file that cannot be read.
    fn file_remedy(&self, path: &Path) -> String {
        let is_missing = fs::symlink_metadata(path).is_err_and(|e| e.kind() == NotFound);
        if !is_missing {
            return "name a readable file of at most 64 KiB that contains only the secret"
                .to_owned();
        }
        let remedy = "write the secret into this file";
        match self.login_for {
            Some(connection) => format!("{remedy}, or {}", self.login.remedy(connection)),
            None => format!("{remedy}; `file` takes a path, not the secret itself"),
        }
    }

    /// Returns the mode: references are followed, or no secret is read.
    pub(super) fn values(&self) -> SecretValues {
        self.values
    }

    /// Returns the sources that secrets were taken from.
    pub(super) fn used_sources(&self) -> Vec<SecretSource> {
        self.used.borrow().clone()
    }

    /// Reads a secret field.
    pub(super) fn read_secret(&self, field: &Field<'_>) -> Option<Secret> {
        let secret = self.read_value(field)?;
        if *secret.source() == SecretSource::Inline {
            field.clone().into_secret().warn(
                "secret_inline",
                "the secret is written in the file itself",
                "store it elsewhere: `{env: NAME}` or `{file: PATH}`",
            );
        }
        Some(secret)
    }

    /// Reads a field that is written like a secret but need not be one.
    pub(super) fn read_value(&self, field: &Field<'_>) -> Option<Secret> {
        let field = field.clone().into_secret();
        match &field.node.value {
            Value::Text(text) if field.input.texts => {
                // A variable that sets a field of the settings is itself the reference.
                new_secret(
                    &field,
                    text.as_bytes(),
                    SecretSource::Env(field.path.to_string()),
                )
            }
            Value::Text(text) => new_secret(&field, text.as_bytes(), SecretSource::Inline),
            Value::Map(_) => self.read_reference(&field),
            value @ (Value::Number(_) | Value::Bool(_) | Value::Null | Value::List(_)) => {
                let is_scalar = matches!(value, Value::Number(_) | Value::Bool(_));
                let remedy = if is_scalar { "put it in quotes" } else { FORMS };
                let message = format!(
                    "must be a string or a reference, not {}",
                    field.describe_value()
                );
                field.reject("wrong_type", message, remedy)
            }
        }
    }

    /// Reads a secret field that may be an empty text. A reference to an empty source stays a
    /// problem, because most often its content was forgotten.
    pub(super) fn read_secret_or_empty(&self, field: &Field<'_>) -> Option<Secret> {
        if matches!(&field.node.value, Value::Text(text) if text.is_empty()) {
            Some(Secret::empty())
        } else {
            self.read_secret(field)
        }
    }

    fn read_reference(&self, field: &Field<'_>) -> Option<Secret> {
        let object = field.read_object(&SECRET_REFERENCE)?;
        let (has_env, has_file) = (object.has_field("env"), object.has_field("file"));
        let (env, file) = (object.take_field("env"), object.take_field("file"));
        match (env, file) {
            (Some(env), None) if !has_file => self.read_from_environment(&env),
            (None, Some(file)) if !has_env => self.read_from_file(&file),
            (Some(_) | None, Some(_) | None) => {
                // A reference without a value was reported when the field was taken.
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

    fn read_from_environment(&self, field: &Field<'_>) -> Option<Secret> {
        let name = field.read_text()?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || name.len() > 128 || !name.bytes().all(legal) {
            // The text may be the secret itself, put here by mistake.
            return field.reject(
                "secret_reference",
                "is not the name of an environment variable",
                "write the bare name, without `$` or braces: 1 to 128 letters, digits and `_`",
            );
        }
        let source = SecretSource::Env(name.to_owned());
        let value = self.environment.get(name);
        // A variable that is not allowed is reported as such whether it is set or not.
        let admitted = self
            .policy
            .map_or(Ok(()), |policy| policy.admit_variable(name));
        if let Err(denied) = admitted {
            return reject_variable(field, &describe_source(&source), denied);
        }
        self.used.borrow_mut().push(source.clone());
        if self.values == SecretValues::Skip {
            return placeholder(source);
        }
        let Some(value) = value else {
            let (variable, remedy) = match redaction::shown_variable(name) {
                Some(shown) => {
                    let remedy = format!("set {shown} for egressd, or name another variable");
                    (shown, remedy)
                }
                None => {
                    let remedy = "set it for egressd; `env` takes the name of a variable, not the secret itself";
                    ("of this name".to_owned(), remedy.to_owned())
                }
            };
            let message = format!("the environment variable {variable} is not set");
            return field.reject("secret_missing", message, remedy);
        };
        new_secret(field, value.as_bytes(), source)
    }

    fn read_from_file(&self, field: &Field<'_>) -> Option<Secret> {
        let path = self.directory.join(field.read_text()?);
        let admitted = match self.policy {
            Some(policy) => policy
                .admit_file(&path)
                .map(Some)
                .map_err(|denied| (denied, policy)),
            None => Ok(None),
        };
        let source = SecretSource::File(path.clone());
        self.used.borrow_mut().push(source.clone());
        let resolved = match admitted {
            Ok(resolved) => resolved,
            Err((denied, policy)) => {
                // A reload must notice when the path leads to an allowed file later.
                self.files.record_denied(&path);
                return reject_file(field, &path, denied, policy);
            }
        };
        if self.values == SecretValues::Skip {
            return placeholder(source);
        }
        let bytes = match read_secret_file(self.files, &path, resolved.as_deref()) {
            Ok(bytes) => bytes,
            Err(why) => {
                return field.reject(
                    "secret_missing",
                    format!("the secret file {} {why}", quoted_path(&path)),
                    self.file_remedy(&path),
                );
            }
        };
        let secret = new_secret(field, &bytes, source)?;
        // Only access for others is reported: Kubernetes gives a group access with `fsGroup`.
        if fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            let shown = quoted_path(&path);
            let message = format!("every user can read the secret file {shown}");
            let remedy = "`chmod o-r` it; in Kubernetes set `defaultMode: 0440` and `fsGroup`";
            field.warn("secret_readable", message, remedy);
        }
        Some(secret)
    }
}

/// Returns the placeholder that `--secrets skip` uses for every value.
fn placeholder(source: SecretSource) -> Option<Secret> {
    Secret::new(UNREAD.to_vec(), source).ok()
}

/// Reads the file, and removes one line feed at its end.
fn read_secret_file(
    files: &Files,
    path: &Path,
    resolved: Option<&Path>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = files
        .read_secret(path, resolved, MAX_FILE_BYTES)
        .map_err(|why| why.describe())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("is larger than 64 KiB".to_owned());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn new_secret(field: &Field<'_>, bytes: &[u8], source: SecretSource) -> Option<Secret> {
    let named = describe_source(&source);
    // An inline text is used as written: editors and shells add line ends and byte order marks only
    // to files and variables.
    let bare = match source {
        SecretSource::Inline => bytes,
        SecretSource::Env(_) | SecretSource::File(_) => without_editor_traces(field, bytes, &named),
    };
    let remedy = match source {
        // A YAML block such as `|` keeps its line end, and so does `"…\n"`.
        SecretSource::Inline if bytes.ends_with(b"\n") => {
            "remove the line end; in YAML, write `|-` instead of `|`"
        }
        SecretSource::Inline | SecretSource::Env(_) => {
            "write the bare secret: at least one character, no line breaks or control characters"
        }
        SecretSource::File(_) => {
            "write the bare secret with `printf %s`: at least one character, no line breaks or control characters"
        }
    };
    match Secret::new(bare.to_vec(), source) {
        Ok(secret) => {
            if let Some(form) = secret.placeholder_form() {
                let message =
                    format!("{named} contains text like `{form}`, which is sent unchanged");
                let remedy = "egressd does not expand variables in strings: write `{env: NAME}`";
                field.warn("unexpanded_variable", message, remedy);
            }
            Some(secret)
        }
        Err(invalid) => field.reject("invalid_secret", format!("{named} {invalid}"), remedy),
    }
}

/// Removes byte order marks and line ends, which editors and shells add, and warns the operator.
fn without_editor_traces<'b>(field: &Field<'_>, bytes: &'b [u8], named: &str) -> &'b [u8] {
    let warn = |code, what: &str, remedy| {
        let message = format!("{named} {what}");
        field.warn(code, message, remedy);
    };
    let marked = bytes.strip_prefix(b"\xef\xbb\xbf");
    if marked.is_some() {
        let remedy = "save it as UTF-8 without a byte order mark";
        warn(
            "secret_byte_order_mark",
            "begins with a byte order mark, which is removed",
            remedy,
        );
    }
    let bytes = marked.unwrap_or(bytes);
    let ends = bytes.iter().rev();
    let ends = ends
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let bare = bytes.get(..bytes.len() - ends).unwrap_or(bytes);
    if ends > 0 && !bare.is_empty() {
        let remedy = "store the secret without a line end: use `printf %s`, not `echo`";
        warn(
            "secret_line_end",
            "ends with a carriage return or several line feeds, which are removed",
            remedy,
        );
    }
    bare
}

/// Rejects a secret with white space at its ends, which a header's value would lose.
pub(super) fn require_trimmed(field: &Field<'_>, secret: Secret) -> Option<Secret> {
    match secret.without_outer_space() {
        Ok(secret) => Some(secret),
        Err(invalid) => {
            let message = format!("the secret {invalid}");
            let hidden = field.clone().into_secret();
            hidden.reject("invalid_secret", message, "remove the white space")
        }
    }
}
