//! `egressd login` and `egressd logout`: a person consents to a connection, and ends the consent.

mod api_keys;
mod variables;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::probe::own_listeners;
use super::{Exit, Streams, describe_definitions, report_problems};
use crate::app::UpstreamFactory;
use crate::config::{self, Environment, LoadOptions, Loaded, SecretValues};
use crate::domain::auth::UserConsent;
use crate::domain::{Auth, Connection};
use crate::hardening;
use crate::login::{
    FailureKind, Flow, LoginFailure, LoginOptions, LogoutScope, Opener, Session, Terminal,
};
use crate::token_store::TokenStore;
use crate::upstream::{ResolverSettings, Trust};
use variables::secret_variables;

const LOGIN_HELP: &str = "\
Without a flow, a browser on this machine is used if the redirect URI is a loopback address; otherwise the device flow, or --paste.
Exit codes: 0 the grant is stored, 1 denied, not confirmed, timed out, another account, fewer scopes or the link was taken, 64 wrong arguments or configuration, 69 a port, the token store or an endpoint is unavailable.";

const LOGOUT_HELP: &str = "\
If the provider has no revocation endpoint, prints the page at which a person can revoke the grant.
Exit codes: 0 the grant is ended, 1 the provider did not revoke it and nothing changed, 64 wrong arguments or configuration, 69 the token store is unavailable.";

/// The largest import.
const MAX_IMPORT_BYTES: u64 = 64 * 1024;

#[derive(Args)]
#[command(after_help = LOGIN_HELP)]
pub(super) struct Login {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show a code to enter on any device (RFC 8628)
    #[arg(long, conflicts_with_all = ["paste", "import"])]
    device: bool,
    /// Paste the address at which the browser ended
    #[arg(long, conflicts_with = "import")]
    paste: bool,
    /// Read a token answer or a refresh token as JSON; `-` is standard input
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Print the link instead of opening a browser
    #[arg(long)]
    no_browser: bool,
    /// Port of the loopback listener, if `redirect_uri` has none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Time for the consent, and for each question, in seconds from 60 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(60..=3600))]
    timeout: u64,
    /// Ask the provider to show its choice of accounts
    #[arg(long)]
    select_account: bool,
    /// Replace an existing grant, also one of another account
    #[arg(long)]
    replace: bool,
    /// Ask no questions; implies --no-browser
    #[arg(long)]
    yes: bool,
    /// With --yes, accept that scopes are missing
    #[arg(long)]
    accept_fewer_scopes: bool,
    /// Id of the connection
    connection: String,
}

#[derive(Args)]
#[command(after_help = LOGOUT_HELP)]
pub(super) struct Logout {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send nothing to the provider
    #[arg(long)]
    local: bool,
    /// Id of the connection
    connection: String,
}

impl Login {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        // Before a secret is read.
        hardening::protect_memory()?;
        let mut options = LoadOptions {
            config: self.config.clone(),
            environment,
            ..LoadOptions::default()
        };
        // First without the values of secrets: the files of keys may be missing.
        options.overrides.secrets = SecretValues::Skip;
        let Some((loaded, id)) = load(&options, &self.connection, streams)? else {
            return Ok(Exit::Usage);
        };
        let mut connections = loaded.connections.iter();
        let found = connections.find(|known| known.id.as_str() == id);
        match found.map(|connection| (connection, &connection.auth)) {
            Some((_, Auth::OauthUserConsent(_))) | None => {}
            Some((connection, _)) => return api_keys::run(&self, &loaded, connection, streams),
        }
        options.overrides.secrets = SecretValues::Read;
        let Some((loaded, id)) = load(&options, &self.connection, streams)? else {
            return Ok(Exit::Usage);
        };
        let found = find_consent(&loaded, &id);
        let (connection, consent) = match found {
            Ok(found) => found,
            Err(failure) => return report(&failure, "login", streams),
        };
        let options = match self.options(&loaded) {
            Ok(options) => options,
            Err(failure) => return report(&failure, "login", streams),
        };
        let run = |setup: Setup, streams: &mut Streams<'_>| {
            setup.runtime.block_on(async {
                let session = Session {
                    connection,
                    user_consent: consent,
                    store: TokenStore::new(loaded.settings.token_store.clone()),
                    client: Arc::new(setup.upstreams.client()),
                    options,
                    // A process without a terminal gets an error when it asks a question.
                    terminal: Terminal::open().ok(),
                    out: streams.out,
                    err: streams.err,
                };
                tokio::select! {
                    biased;
                    ended = session.run() => ended.map_err(Ended::Reported),
                    () = interrupted() => Err(Ended::Interrupted),
                }
            })
        };
        run_with_setup(&loaded, streams, run)
    }

    fn options(&self, loaded: &Loaded) -> Result<LoginOptions, LoginFailure> {
        let flow = match (self.device, self.paste, &self.import) {
            (true, ..) => Some(Flow::Device),
            (_, true, _) => Some(Flow::Paste),
            (.., Some(_)) => Some(Flow::Import),
            (.., None) => None,
        };
        let import = match &self.import {
            Some(path) => Some(read_import(path)?),
            None => None,
        };
        let opener = Opener {
            browser: std::env::var("BROWSER").ok(),
            hidden_variables: secret_variables(&loaded.connections),
        };
        Ok(LoginOptions {
            flow,
            import,
            // Another process can read the link in the command line of the program that opens it,
            // and with --yes no person would see the account.
            opener: (!self.no_browser && !self.yes).then_some(opener),
            port: self.port,
            timeout: Duration::from_secs(self.timeout),
            selects_account: self.select_account,
            replaces: self.replace,
            says_yes: self.yes,
            accepts_fewer_scopes: self.accept_fewer_scopes,
        })
    }
}

impl Logout {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        hardening::protect_memory()?;
        let options = LoadOptions {
            config: self.config,
            environment,
            ..LoadOptions::default()
        };
        let Some((loaded, id)) = load(&options, &self.connection, streams)? else {
            return Ok(Exit::Usage);
        };
        let (connection, consent) = match find_consent(&loaded, &id) {
            Ok(found) => found,
            Err(failure) => return report(&failure, "logout", streams),
        };
        let grant = &consent.parameters().grant;
        let uses_grant = |other: &&Connection| {
            matches!(&other.auth, Auth::OauthUserConsent(other)
                if other.parameters().grant == *grant)
        };
        let sharing = loaded.connections.iter().filter(uses_grant);
        let sharing: Vec<&str> = sharing.map(|other| other.id.as_str()).collect();
        let scope = match self.local {
            true => LogoutScope::Local,
            false => LogoutScope::Provider,
        };
        let run = |setup: Setup, streams: &mut Streams<'_>| {
            setup.runtime.block_on(async {
                let session = Session {
                    connection,
                    user_consent: consent,
                    store: TokenStore::new(loaded.settings.token_store.clone()),
                    client: Arc::new(setup.upstreams.client()),
                    options: LoginOptions::without_questions(),
                    terminal: None,
                    out: streams.out,
                    err: streams.err,
                };
                let ended = session.log_out(scope, &sharing).await;
                ended.map_err(Ended::Reported)
            })
        };
        run_with_setup(&loaded, streams, run)
    }
}

/// What a login needs besides the configuration.
struct Setup {
    runtime: tokio::runtime::Runtime,
    upstreams: UpstreamFactory,
}

/// The end of a command without success.
enum Ended {
    /// A failure that was reported.
    Reported(LoginFailure),
    /// A signal.
    Interrupted,
}

fn run_with_setup(
    loaded: &Loaded,
    streams: &mut Streams<'_>,
    run: impl FnOnce(Setup, &mut Streams<'_>) -> Result<(), Ended>,
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
    let setup = Setup {
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        upstreams: UpstreamFactory::new(&loaded.settings, trust, names, own),
    };
    let ended = run(setup, streams);
    finish(ended, streams)
}

/// Returns the exit code, and reports an interruption.
fn finish(ended: Result<(), Ended>, streams: &mut Streams<'_>) -> io::Result<Exit> {
    match ended {
        Ok(()) => Ok(Exit::Success),
        Err(Ended::Reported(failure)) => Ok(to_exit(failure.kind)),
        Err(Ended::Interrupted) => {
            writeln!(
                streams.err,
                "egressd login: interrupted; nothing was stored"
            )?;
            Ok(Exit::Failure)
        }
    }
}

/// Loads the configuration, and checks that the connection exists. Reports problems.
fn load(
    options: &LoadOptions,
    connection: &str,
    streams: &mut Streams<'_>,
) -> io::Result<Option<(Loaded, String)>> {
    let loaded = match config::load(options) {
        Ok(loaded) => loaded,
        Err(problems) => return report_problems(&problems, streams).map(|_usage| None),
    };
    // The resource name of the management API is accepted too.
    let id = connection
        .strip_prefix("connections/")
        .unwrap_or(connection);
    if loaded
        .connections
        .iter()
        .any(|known| known.id.as_str() == id)
    {
        let id = id.to_owned();
        return Ok(Some((loaded, id)));
    }
    // The argument may be a misplaced secret.
    let named = match config::may_show(id) {
        true => format!("connection `{id}`"),
        false => "connection of this id".to_owned(),
    };
    let known = describe_definitions(&loaded, false);
    writeln!(streams.err, "egressd: there is no {named}; {known}")?;
    Ok(None)
}

fn find_consent<'l>(
    loaded: &'l Loaded,
    id: &str,
) -> Result<(&'l Connection, &'l UserConsent), LoginFailure> {
    let mut connections = loaded.connections.iter();
    let found = connections.find(|known| known.id.as_str() == id);
    match found.map(|connection| (connection, &connection.auth)) {
        Some((connection, Auth::OauthUserConsent(consent))) => Ok((connection, consent)),
        Some((_, auth)) => Err(LoginFailure::usage(format!(
            "connection `{id}` has the auth kind `{}`, which needs no consent; change its credential in the definition",
            auth.kind()
        ))),
        None => Err(LoginFailure::usage("there is no such connection")),
    }
}

fn read_import(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoginFailure> {
    let read = |reader: &mut dyn io::Read| {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_IMPORT_BYTES as usize + 1));
        reader
            .take(MAX_IMPORT_BYTES + 1)
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    };
    let bytes = match path.to_str() {
        Some("-") => read(&mut io::stdin().lock()),
        _ => File::open(path).and_then(|mut file| read(&mut file)),
    };
    let bytes = bytes.map_err(|error| {
        LoginFailure::usage(format!("cannot read `{}`: {error}", path.display()))
    })?;
    match bytes.len() as u64 > MAX_IMPORT_BYTES {
        true => Err(LoginFailure::refused("the import is larger than 64 KiB")),
        false => Ok(bytes),
    }
}

/// Waits for a signal that ends the process. Without it, a terminal would stay without echo.
async fn interrupted() {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [interrupt, terminate, hangup] = kinds.map(signal);
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (interrupt, terminate, hangup)
    else {
        // Without handlers, the signals end the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn report(failure: &LoginFailure, command: &str, streams: &mut Streams<'_>) -> io::Result<Exit> {
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
