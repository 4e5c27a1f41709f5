//! One run of `login` or `logout`, with the parts that its steps and flows share: the store, the
//! terminal and the streams.

use std::io::Write;
use std::sync::Arc;

use super::failure::LoginFailure;
use super::options::LoginOptions;
use super::terminal::{Line, Terminal, read_standard_input};
use crate::domain::Connection;
use crate::domain::auth::{ConsentParameters, UserConsent, seed_hash};
use crate::token_store::{HeldGrant, LOCK_RETRY_INTERVAL, LOCK_TIMEOUT, LockError, TokenStore};
use crate::upstream::Client;

/// The text that is shown if the provider does not name the account.
pub(super) const UNKNOWN_ACCOUNT: &str = "unknown account";

/// One run of `login` or `logout` for a connection.
pub(crate) struct Session<'s> {
    /// The connection.
    pub(crate) connection: &'s Connection,
    /// Its parameters.
    pub(crate) user_consent: &'s UserConsent,
    /// The token store.
    pub(crate) store: TokenStore,
    /// The client for requests to the provider.
    pub(crate) client: Arc<Client>,
    /// The options.
    pub(crate) options: LoginOptions,
    /// The controlling terminal, if there is one.
    pub(crate) terminal: Option<Terminal>,
    /// Standard output: the result.
    pub(crate) out: &'s mut dyn Write,
    /// Standard error: everything else.
    pub(crate) err: &'s mut dyn Write,
}

impl<'s> Session<'s> {
    /// Returns the parameters of the consent.
    pub(super) fn consent(&self) -> &'s ConsentParameters {
        self.user_consent.parameters()
    }

    /// Writes a line to standard error.
    pub(super) fn note(&mut self, text: &str) {
        // A closed stream cannot be reported anywhere.
        let _closed = writeln!(self.err, "{text}");
        let _closed = self.err.flush();
    }

    /// Writes the failure of a command to standard error.
    pub(super) fn note_failure(&mut self, command: &str, failure: &LoginFailure) {
        let place = match failure.is_about_store() {
            true => format!(", which is `{}`", self.store.path().display()),
            false => String::new(),
        };
        self.note(&format!("egressd {command}: {}{place}", failure.message));
    }

    /// Takes the lock of the grant. The wait does not block the runtime, so that a signal can end
    /// it and the listener still answers.
    pub(super) async fn lock(&self) -> Result<HeldGrant, LoginFailure> {
        let client = self.consent().client();
        let wait = async {
            loop {
                if let Some(held) = self.store.try_lock(&self.consent().grant, &client)? {
                    return Ok(held);
                }
                tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
            }
        };
        let locked = tokio::time::timeout(LOCK_TIMEOUT, wait).await;
        locked.unwrap_or_else(|_late| Err(LockError::Busy.into()))
    }

    /// Returns the hash of the configured refresh token.
    pub(super) fn configured_seed(&self) -> Option<String> {
        let token = self.consent().refresh_token.as_ref();
        token.map(|token| seed_hash(token.expose()))
    }

    pub(super) fn report_stored(&mut self, account: Option<&str>) -> Result<(), LoginFailure> {
        let file = self.store.file_path(&self.consent().grant);
        writeln!(
            self.out,
            "stored the grant `{}` in `{}` for {}",
            self.consent().grant,
            file.display(),
            account.unwrap_or(UNKNOWN_ACCOUNT)
        )?;
        Ok(self.out.flush()?)
    }

    /// Asks a question, which must be answered within the timeout.
    pub(super) async fn ask(&mut self, question: &str) -> Result<bool, LoginFailure> {
        let Some(terminal) = &mut self.terminal else {
            return Err(LoginFailure::usage(
                "there is no terminal to ask questions on; add --yes",
            ));
        };
        let answer = tokio::time::timeout(self.options.timeout, terminal.confirm(question)).await;
        Ok(answer.map_err(|_late| timed_out())??)
    }

    /// Reads a value without echo: from the terminal, or from standard input if there is none.
    pub(super) async fn read_hidden(&mut self, prompt: &str) -> Result<Line, LoginFailure> {
        Ok(match &mut self.terminal {
            Some(terminal) => terminal.read_line(prompt, false).await?,
            None => read_standard_input().await?,
        })
    }
}

/// The failure of a person who did not answer in time.
pub(super) fn timed_out() -> LoginFailure {
    LoginFailure::refused(
        "timed out; nothing was stored; run the command again, with a longer --timeout if needed",
    )
}
