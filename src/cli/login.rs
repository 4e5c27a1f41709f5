//! `egressd login`: a person consents to a connection, or enters its API keys.

mod api_keys;
mod target;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::{Exit, Streams};
use crate::config::Environment;
use crate::domain::Auth;
use crate::hardening;
use crate::login::{Flow, LoginFailure, LoginOptions, Opener, Terminal};
pub(super) use target::{Target, TargetArguments, report, run_session};

const AFTER_HELP: &str = "\
Without a flow, a browser on this machine is used if the redirect URI is a loopback address; otherwise the device flow, or --paste.
Exit codes: 0 the grant is stored, 1 denied, not confirmed, timed out, another account, fewer scopes or the link was taken, 64 wrong arguments or configuration, 69 a port, the token store or an endpoint is unavailable.";

/// The largest import.
const MAX_IMPORT_BYTES: u64 = 64 * 1024;

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Login {
    #[command(flatten)]
    target: TargetArguments,
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
}

impl Login {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        // Before a secret is read.
        hardening::protect_memory()?;
        let Some(mut target) = Target::find(&self.target, environment, streams)? else {
            return Ok(Exit::Usage);
        };
        if let Some(connection) = target.connection()
            && !matches!(connection.auth, Auth::OauthUserConsent(_))
        {
            if self.device || self.paste || self.import.is_some() {
                let kind = connection.auth.kind();
                let failure = LoginFailure::usage(format!(
                    "--device, --paste and --import are for `oauth_user_consent`, and this connection has `{kind}`"
                ));
                return report(&failure, "login", streams);
            }
            return api_keys::run(&self, &target.loaded, connection, streams);
        }
        let Some(loaded) = target.load_secrets(streams)? else {
            return Ok(Exit::Usage);
        };
        let found = match target.consent(&loaded) {
            Ok(found) => found,
            Err(failure) => return report(&failure, "login", streams),
        };
        let options = match self.options(&target) {
            Ok(options) => options,
            Err(failure) => return report(&failure, "login", streams),
        };
        run_session(&loaded, found, options, streams, async |mut session| {
            // A process without a terminal gets an error when it asks a question.
            session.terminal = Terminal::open().ok();
            session.run(interruption()).await
        })
    }

    fn options(&self, target: &Target) -> Result<LoginOptions, LoginFailure> {
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
            hidden_variables: target.variables(),
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

/// Returns a future that is ready after a signal that ends the process. Without it, a terminal
/// would stay without echo. The signals are caught from now on. Must be called inside a runtime.
fn interruption() -> impl Future<Output = ()> {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let signals = kinds.map(signal);
    async move {
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
            // Without handlers, the signals end the process.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
