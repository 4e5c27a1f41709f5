//! API keys: asks for the values that a definition reads from files, and writes the files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::failure::{LoginFailure, interrupted};
use super::key_file::KeyFile;
use super::session::timed_out;
use super::terminal::{Line, Terminal, read_standard_input};
use crate::domain::connector::{Connector, CredentialKey};
use crate::domain::{Auth, Connection, Secret, SecretSource};

/// A login of a connection with fixed credentials.
pub(crate) struct ApiKeyLogin<'s> {
    /// The connection. The values of its secrets need not be read.
    pub(crate) connection: &'s Connection,
    /// The connector that the definition names.
    pub(crate) connector: Option<&'s Connector>,
    /// The controlling terminal, if there is one.
    pub(crate) terminal: Option<Terminal>,
    /// The time for each value and question.
    pub(crate) timeout: Duration,
    /// `true` if no question is asked.
    pub(crate) says_yes: bool,
    /// Standard output: the result.
    pub(crate) out: &'s mut dyn Write,
    /// Standard error: everything else.
    pub(crate) err: &'s mut dyn Write,
}

/// A value that is asked for.
struct KeyField {
    /// The field of the definition.
    field: String,
    label: String,
    path: PathBuf,
    prefix: String,
    is_username: bool,
}

impl ApiKeyLogin<'_> {
    /// Asks for the values and writes them, unless `interruption` is ready first. Reports a
    /// failure.
    ///
    /// # Errors
    ///
    /// Returns the failure that was reported.
    pub(crate) async fn run(
        mut self,
        interruption: impl Future<Output = ()>,
    ) -> Result<(), LoginFailure> {
        let ended = tokio::select! {
            biased;
            ended = self.run_steps() => ended,
            () = interruption => Err(interrupted()),
        };
        if let Err(failure) = &ended {
            self.note(&format!("egressd login: {}", failure.message));
        }
        ended
    }

    async fn run_steps(&mut self) -> Result<(), LoginFailure> {
        let fields = self.fields()?;
        if self.terminal.is_none() && !self.says_yes {
            return Err(LoginFailure::usage(
                "there is no terminal to ask questions on; run the command in a terminal, or add --yes",
            ));
        }
        self.note(&format!("connection: {}", self.connection.id.as_str()));
        let mut files = Vec::new();
        for field in &fields {
            // Created before the prompt, so that a person does not enter a value that cannot be
            // stored.
            let created = KeyFile::create(&field.path);
            let created = created.map_err(|error| cannot_write(&field.path, &error))?;
            files.push((created, self.read_value(field).await?, &field.path));
        }
        let names: Vec<String> = fields
            .iter()
            .map(|field| format!("`{}`", field.path.display()))
            .collect();
        let names = names.join(", ");
        if !self.says_yes {
            let existing = fields.iter().any(|field| field.path.exists());
            let question = match existing {
                true => format!("Replace {names}?"),
                false => format!("Write {names}?"),
            };
            if !self.ask(&question).await? {
                return Err(LoginFailure::refused("not confirmed; nothing was stored"));
            }
        }
        for (file, value, path) in files {
            file.put_in_place(&value)
                .map_err(|error| cannot_write(path, &error))?;
        }
        writeln!(self.out, "wrote {names}")?;
        Ok(self.out.flush()?)
    }

    fn note(&mut self, text: &str) {
        // A closed stream cannot be reported anywhere.
        let _closed = writeln!(self.err, "{text}");
        let _closed = self.err.flush();
    }

    /// Returns the values to ask for: those that the definition reads from files.
    fn fields(&self) -> Result<Vec<KeyField>, LoginFailure> {
        let mut fields = Vec::new();
        match &self.connection.auth {
            Auth::BearerToken(bearer) => {
                let key = CredentialKey::BearerToken;
                fields.extend(self.field("bearer_token.token", &key, bearer.token())?);
            }
            Auth::BasicAuth(basic) => {
                let username = basic.username();
                fields.extend(self.field(
                    "basic_auth.username",
                    &CredentialKey::Username,
                    username,
                )?);
                // An empty password is part of the definition, and is not entered.
                if basic.password().len() > 0 {
                    let password = basic.password();
                    let key = CredentialKey::Password;
                    fields.extend(self.field("basic_auth.password", &key, password)?);
                }
            }
            Auth::StaticHeaders(headers) => {
                for header in headers {
                    let is_public = !header.is_searched_for();
                    if is_public && !matches!(header.value.source(), SecretSource::File(_)) {
                        continue;
                    }
                    let name = format!("static_headers.headers.{}", header.written);
                    let key = CredentialKey::Header(header.written.clone());
                    fields.extend(self.field(&name, &key, &header.value)?);
                }
            }
            other
            @ (Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_) | Auth::NoAuth) => {
                return Err(LoginFailure::usage(format!(
                    "the auth kind `{}` has no value to enter; change the credential in the definition",
                    other.kind()
                )));
            }
        }
        match fields.is_empty() {
            true => Err(LoginFailure::usage("the definition has no value to enter")),
            false => Ok(fields),
        }
    }

    fn field(
        &self,
        field: &str,
        key: &CredentialKey,
        secret: &Secret,
    ) -> Result<Option<KeyField>, LoginFailure> {
        let path = match secret.source() {
            SecretSource::File(path) => path.clone(),
            // F-359 (a)
            SecretSource::Inline | SecretSource::Env(_) => {
                return Err(LoginFailure::usage(format!(
                    "`{field}` is not read from a file ({}); write `{{file: PATH}}` there, or change the value where it is",
                    secret.source()
                )));
            }
        };
        let known = self.connector.and_then(|connector| {
            let mut known = connector.credential_fields.iter();
            known.find(|known| is_same_key(&known.key, key))
        });
        Ok(Some(KeyField {
            field: field.to_owned(),
            label: known.map_or_else(|| field.to_owned(), |known| known.label.clone()),
            path,
            prefix: known.map(|known| known.prefix.clone()).unwrap_or_default(),
            is_username: *key == CredentialKey::Username,
        }))
    }

    /// Asks for a value until it is valid, and adds the prefix.
    async fn read_value(&mut self, field: &KeyField) -> Result<Zeroizing<Vec<u8>>, LoginFailure> {
        loop {
            let prompt = format!("{}: ", field.label);
            let refused = match self.read_line(&prompt, field.is_username).await? {
                Line::Text(text) => match check_value(&text, field.is_username) {
                    Ok(()) => {
                        let value = [field.prefix.as_bytes(), &text].concat();
                        return Ok(Zeroizing::new(value));
                    }
                    Err(why) => why,
                },
                Line::TooLong => "is longer than 8 KiB".to_owned(),
                Line::Several => "contains a line break".to_owned(),
                Line::End => {
                    return Err(LoginFailure::refused(format!(
                        "no value was entered for `{}`; nothing was stored",
                        field.field
                    )));
                }
            };
            self.note(&format!("not accepted: the value {refused}"));
        }
    }

    async fn read_line(&mut self, prompt: &str, has_echo: bool) -> Result<Line, LoginFailure> {
        let read = async {
            match &mut self.terminal {
                Some(terminal) => terminal.read_line(prompt, has_echo).await,
                None => read_standard_input().await,
            }
        };
        let read = tokio::time::timeout(self.timeout, read).await;
        Ok(read.map_err(|_late| timed_out())??)
    }

    async fn ask(&mut self, question: &str) -> Result<bool, LoginFailure> {
        let Some(terminal) = &mut self.terminal else {
            return Ok(false);
        };
        let answer = tokio::time::timeout(self.timeout, terminal.confirm(question)).await;
        Ok(answer.map_err(|_late| timed_out())??)
    }
}

fn is_same_key(one: &CredentialKey, other: &CredentialKey) -> bool {
    match (one, other) {
        // Names of header fields do not depend on the case.
        (CredentialKey::Header(one), CredentialKey::Header(other)) => {
            one.eq_ignore_ascii_case(other)
        }
        (one, other) => one == other,
    }
}

/// Checks that a value can be sent in a header field.
fn check_value(value: &[u8], is_username: bool) -> Result<(), String> {
    let secret = Secret::new(value.to_vec(), SecretSource::Inline);
    let secret = secret.and_then(Secret::without_outer_space);
    secret.map_err(|invalid| invalid.to_string())?;
    match is_username && value.contains(&b':') {
        true => Err("contains a colon, which a user name cannot have".to_owned()),
        false => Ok(()),
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> LoginFailure {
    LoginFailure::unavailable(format!(
        "cannot write `{}`: {error}; nothing was changed there; check that this user may write to its directory",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::check_value;

    #[test]
    fn a_value_can_be_sent_in_a_header_field() {
        // F-359 (b)
        assert_eq!(check_value(b"key:1", false), Ok(()));
        for bad in [&b""[..], b" a", b"a ", b"a\tb", b"a\x1b[0m"] {
            assert!(check_value(bad, false).is_err());
        }
        assert!(check_value(b"a:b", true).is_err());
    }
}
