//! The parts that `egressd login` and `egressd logout` share: the connection that the command line
//! names, and the client for requests to the provider.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::app::UpstreamFactory;
use crate::cli::probe::own_listeners;
use crate::cli::{Exit, Streams, describe_definitions, report_problems};
use crate::config::{self, Environment, LoadOptions, Loaded, SecretValues};
use crate::domain::auth::UserConsent;
use crate::domain::{Auth, Connection, Secret, SecretSource};
use crate::login::{FailureKind, LoginFailure, LoginOptions, Session};
use crate::token_store::TokenStore;
use crate::upstream::{ResolverSettings, Trust};

/// The arguments that name a connection.
#[derive(Args)]
pub(in crate::cli) struct TargetArguments {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Id of the connection
    connection: String,
}

/// The connection that the command line names. It exists, and its definition has no problem.
pub(in crate::cli) struct Target {
    /// The configuration, without the values of secrets, because the files of API keys may be
    /// missing. Other connections whose definitions have problems are left out.
    pub(in crate::cli) loaded: Loaded,
    options: LoadOptions,
    id: String,
}

impl Target {
    /// Finds the connection, or reports why there is none.
    pub(in crate::cli) fn find(
        arguments: &TargetArguments,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Option<Self>> {
        let mut options = LoadOptions {
            config: arguments.config.clone(),
            environment,
            ..LoadOptions::default()
        };
        options.overrides.secrets = SecretValues::Skip;
        // The resource name of the management API is accepted too.
        let id = arguments.connection.strip_prefix("connections/");
        let id = id.unwrap_or(&arguments.connection).to_owned();
        let loaded = match config::load_connection(&options, &id) {
            Ok(loaded) => loaded,
            Err(problems) => return report_problems(&problems, streams).map(|_usage| None),
        };
        if find_connection(&loaded, &id).is_some() {
            return Ok(Some(Self {
                loaded,
                options,
                id,
            }));
        }
        // The argument may be a misplaced secret.
        let named = match config::may_show(&id) {
            true => format!("connection `{id}`"),
            false => "connection of this id".to_owned(),
        };
        let known = describe_definitions(&loaded, false);
        writeln!(streams.err, "egressd: there is no {named}; {known}")?;
        Ok(None)
    }

    /// Returns the connection, without the values of its secrets.
    pub(in crate::cli) fn connection(&self) -> Option<&Connection> {
        find_connection(&self.loaded, &self.id)
    }

    /// Loads the configuration again, with the values of secrets. Reports problems of the
    /// connection.
    pub(in crate::cli) fn load_secrets(
        &mut self,
        streams: &mut Streams<'_>,
    ) -> io::Result<Option<Loaded>> {
        self.options.overrides.secrets = SecretValues::Read;
        match config::load_connection(&self.options, &self.id) {
            Ok(loaded) => Ok(Some(loaded)),
            Err(problems) => report_problems(&problems, streams).map(|_usage| None),
        }
    }

    /// Returns the connection and its consent.
    pub(in crate::cli) fn consent<'l>(
        &self,
        loaded: &'l Loaded,
    ) -> Result<(&'l Connection, &'l UserConsent), LoginFailure> {
        let found = find_connection(loaded, &self.id);
        match found.map(|connection| (connection, &connection.auth)) {
            Some((connection, Auth::OauthUserConsent(consent))) => Ok((connection, consent)),
            Some((connection, auth)) => Err(LoginFailure::usage(format!(
                "connection `{}` has the auth kind `{}`, which needs no consent; {}",
                self.id,
                auth.kind(),
                describe_removal(loaded, connection)
            ))),
            // The definition was removed after the first load.
            None => Err(LoginFailure::usage("there is no such connection")),
        }
    }

    /// Returns the names of all variables that the configuration has looked up: those that hold
    /// secrets, also in other definitions, and those of settings.
    pub(super) fn variables(&self) -> Vec<OsString> {
        let names = self.options.environment.looked_up();
        names.into_iter().map(OsString::from).collect()
    }
}

/// Describes where a fixed credential is, and where it can be revoked.
fn describe_removal(loaded: &Loaded, connection: &Connection) -> String {
    let secrets: Vec<&Secret> = match &connection.auth {
        Auth::BearerToken(bearer) => vec![bearer.token()],
        Auth::BasicAuth(basic) => vec![basic.username(), basic.password()],
        Auth::StaticHeaders(headers) => headers.iter().map(|header| &header.value).collect(),
        Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_) | Auth::NoAuth => Vec::new(),
    };
    let files = secrets
        .into_iter()
        .filter_map(|secret| match secret.source() {
            SecretSource::File(path) => Some(format!("`{}`", path.display())),
            SecretSource::Inline | SecretSource::Env(_) => None,
        });
    let files: Vec<String> = files.collect();
    let place = match files.is_empty() {
        true => "remove its credential from the definition".to_owned(),
        false => format!("remove its credential, which is in {}", files.join(", ")),
    };
    let mut connectors = loaded.connectors.iter();
    let connector = connectors.find(|known| Some(&known.slug) == connection.connector.as_ref());
    match connector.and_then(|connector| connector.revoke_page.as_ref()) {
        Some(page) => format!("revoke it at {page}, and {place}"),
        None => format!("revoke it on the provider's page, and {place}"),
    }
}

fn find_connection<'l>(loaded: &'l Loaded, id: &str) -> Option<&'l Connection> {
    let mut connections = loaded.connections.iter();
    connections.find(|known| known.id.as_str() == id)
}

/// Runs the steps of a command with a session. The session has no terminal; `login` opens one.
pub(in crate::cli) fn run_session(
    loaded: &Loaded,
    (connection, user_consent): (&Connection, &UserConsent),
    options: LoginOptions,
    streams: &mut Streams<'_>,
    steps: impl AsyncFnOnce(Session<'_>) -> Result<(), LoginFailure>,
) -> io::Result<Exit> {
    let Ok(trust) = Trust::from_platform(&loaded.settings.egress.roots) else {
        writeln!(
            streams.err,
            "egressd: a certificate in `egress.ca_files` cannot be used as a trust anchor; remove it, or have it replaced"
        )?;
        return Ok(Exit::Usage);
    };
    let (names, unresolvable) = ResolverSettings::from_system();
    if let Some(warning) = unresolvable {
        writeln!(streams.err, "egressd: {warning}")?;
    }
    let own = own_listeners(&loaded.settings);
    let upstreams = UpstreamFactory::new(&loaded.settings, trust, names, own);
    run_to_end(async {
        let session = Session {
            connection,
            user_consent,
            store: TokenStore::new(loaded.settings.token_store.clone()),
            client: Arc::new(upstreams.client()),
            options,
            terminal: None,
            out: streams.out,
            err: streams.err,
        };
        steps(session).await
    })
}

/// Runs a command to its end, and returns its exit code. The command reports its own failure.
pub(super) fn run_to_end(
    command: impl Future<Output = Result<(), LoginFailure>>,
) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(command);
    // A thread may still be waiting for standard input, and a plain drop would wait for it.
    runtime.shutdown_background();
    Ok(match ended {
        Ok(()) => Exit::Success,
        Err(failure) => to_exit(failure.kind),
    })
}

/// Reports a failure, and returns its exit code.
pub(in crate::cli) fn report(
    failure: &LoginFailure,
    command: &str,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    writeln!(streams.err, "egressd {command}: {}", failure.message)?;
    Ok(to_exit(failure.kind))
}

fn to_exit(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Refused => Exit::Failure,
        FailureKind::Usage => Exit::Usage,
        FailureKind::Unavailable => Exit::Unavailable,
    }
}
