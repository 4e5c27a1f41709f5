//! `egressd check`: loads the configuration and reports every problem. Starts nothing.

mod token_files;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Exit, Streams, exit_after_writing};
use crate::config::{
    self, Environment, LoadOptions, LoginArguments, Problem, SecretValues, SettingsOverrides, load,
    load_paths,
};
use crate::domain::auth::Rotation;
use crate::domain::{Auth, Connection};
use crate::token_store::{DirectoryState, TokenStore};
use token_files::warn_of_token_files;

const AFTER_HELP: &str = "\
Exit codes: 0 no problems (warnings are possible), 1 problems, 64 invalid arguments.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Check {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    secrets: Secrets,
    /// Definition files and directories to check, instead of those in the settings; without
    /// --config, nothing else is read
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The format of a command's output: text for people, JSON for programs.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

/// The option that decides if the values of secrets are read.
#[derive(Args)]
pub(super) struct Secrets {
    /// `read` the values of secrets, or `skip` them: open no secret file and read no secret
    /// variable
    #[arg(long = "secrets", value_name = "MODE", value_enum, default_value_t)]
    values: Values,
}

/// The treatment of `{env: …}` and `{file: …}` references.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum Values {
    #[default]
    Read,
    Skip,
}

impl From<Secrets> for SecretValues {
    fn from(secrets: Secrets) -> Self {
        match secrets.values {
            Values::Read => Self::Read,
            Values::Skip => Self::Skip,
        }
    }
}

impl Check {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let format = self.format;
        let (connections, problems, exit) = match self.load(environment) {
            // Warnings alone do not fail the check, so that it can run in CI.
            Ok((connections, warnings)) => (Some(connections), warnings, Exit::Success),
            Err(problems) => (None, problems, Exit::Failure),
        };
        let written = match format {
            Format::Json => write!(streams.out, "{}", config::render_json(&problems)),
            Format::Text => writeln!(
                streams.out,
                "{}{}",
                config::render_text(&problems),
                config::render_summary(connections, &problems)
            ),
        };
        exit_after_writing(written, exit)
    }

    fn load(self, environment: Environment) -> Result<(usize, Vec<Problem>), Vec<Problem>> {
        let secrets = self.secrets.into();
        // Without this case, a settings file in the working directory would change the result for
        // the given definitions.
        if self.config.is_none() && !self.paths.is_empty() {
            let mut loaded = load_paths(&self.paths, &environment, secrets)?;
            let login = LoginArguments::new(None, true);
            let found = warn_of_store(&loaded.connections, &loaded.token_store, secrets, &login);
            loaded.warnings.extend(found);
            return Ok((loaded.connections.len(), loaded.warnings));
        }
        let (config, has_paths) = (self.config.clone(), !self.paths.is_empty());
        let mut loaded = load(&LoadOptions {
            config: self.config,
            overrides: SettingsOverrides {
                connections: self.paths,
                secrets,
                ..SettingsOverrides::default()
            },
            environment,
        })?;
        let login = LoginArguments::new(config.as_deref(), has_paths);
        let store = &loaded.settings.token_store;
        let found = warn_of_store(&loaded.connections, store, secrets, &login);
        loaded.warnings.extend(found);
        Ok((loaded.connections.len(), loaded.warnings))
    }
}

/// Returns the warnings about the token store. The files in it are secrets, so they are read only
/// if secrets are.
fn warn_of_store(
    connections: &[Connection],
    directory: &Path,
    secrets: SecretValues,
    login: &LoginArguments<'_>,
) -> Vec<Problem> {
    let store = TokenStore::new(directory.to_owned());
    let files = match secrets {
        SecretValues::Read => warn_of_token_files(connections, &store, login),
        SecretValues::Skip => Vec::new(),
    };
    let directory = warn_of_directory(connections, &store);
    directory.into_iter().chain(files).collect()
}

/// Returns a warning if the directory of the token store cannot keep the next token of a grant
/// whose refresh tokens are accepted once. Only this command examines the directory: the hardened
/// process may not.
fn warn_of_directory(connections: &[Connection], store: &TokenStore) -> Option<Problem> {
    let mut single_use = connections.iter().filter(|connection| {
        let is_single_use = matches!(
            &connection.auth,
            Auth::OauthUserConsent(consent) if consent.parameters().rotation == Rotation::SingleUse
        );
        is_single_use && connection.enabled && connection.delete_time.is_none()
    });
    let connection = single_use.next()?;
    let shown = store.path().display().to_string();
    let (code, state, remedy) = match store.directory_state() {
        DirectoryState::Writable {
            is_in_memory: false,
        } => return None,
        DirectoryState::Writable { is_in_memory: true } => (
            "token_store_in_memory",
            "is in memory, so its tokens are lost at a restart".to_owned(),
            "name a directory on a disk",
        ),
        DirectoryState::ReadOnly => (
            "token_store_read_only",
            "cannot be written, so no token is refreshed".to_owned(),
            "make the directory writable, or name another one",
        ),
        DirectoryState::Missing => (
            "token_store_missing",
            "does not exist, so no token is refreshed".to_owned(),
            "run `egressd login`, which creates the directory, or name another one",
        ),
        DirectoryState::Unusable(error) => (
            "token_store_unusable",
            format!("cannot be opened: {error}"),
            "correct its permissions, or name another directory",
        ),
    };
    let message = format!(
        "refresh tokens of the connection `{}` are accepted once, and the token store `{shown}` {state}",
        connection.id
    );
    let mut problem = Problem::whole("settings", code, message).warning();
    problem.connection = Some(connection.id.clone());
    Some(problem.field("token_store.directory").remedy(remedy))
}
