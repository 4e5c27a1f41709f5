//! `egressd demo`: a complete egressd with an embedded API and nothing to configure.
//!
//! The command uses only its flags. It reads no settings file and no `EGRESSD_…` variable, so it
//! behaves the same on every machine.

use std::io;
use std::time::Duration;

use clap::Args;

use super::{Exit, Streams, report_problems};
use crate::app::{App, Launch, SignalStreams};
use crate::config::{self, Environment, LogFormat, Problem, SettingsOverrides};
use crate::demo::{
    ConsentWords, CurlOrigin, DemoDirectory, DemoSecrets, DemoServer, connection_definitions,
    write_curl_lines,
};
use crate::server::ListenAddress;

/// The grace period at the end. It is enough for requests in flight; the demo's event stream has no
/// end and may be cut off.
const GRACE: Duration = Duration::from_secs(3);

const AFTER_HELP: &str = "\
The commands go to standard output; the access log and all other messages go to standard error.
The files for egressd login are in a temporary directory, which is removed at the end. No settings file and no EGRESSD_ variable is read. A port may be 0: the commands then contain the chosen port.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Demo {
    /// Address for agents, instead of 127.0.0.1:8080; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Address of the management API, instead of 127.0.0.1:8081; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Vec<String>,
}

impl Demo {
    pub(super) fn run(self, streams: &mut Streams<'_>) -> io::Result<Exit> {
        // First, so that a signal during the start is not lost.
        let signals = SignalStreams::new()?;
        let started = DemoSecrets::generate().and_then(|secrets| {
            let api = DemoServer::start(&secrets)?;
            let directory = api.create_directory()?;
            Ok((api, secrets, directory))
        });
        // The directory is removed at the end of this function.
        let (api, secrets, directory) = match started {
            Ok(started) => started,
            Err(error) => {
                writeln!(
                    streams.err,
                    "egressd demo: cannot start the embedded API, or create its directory: {error}"
                )?;
                return Ok(Exit::Unavailable);
            }
        };
        let loaded = match self.load(&api, &secrets, &directory) {
            Ok(loaded) => loaded,
            Err(problems) => return report_problems(&problems, streams),
        };
        // Standard output is reserved for the curl lines, so both logs go to standard error.
        let err = streams.process.err;
        let launch = Launch {
            signals,
            loaded,
            reload_options: None,
            // Confinement applies to threads that start later. The threads of the embedded API
            // already run in this process.
            hardening: None,
            access_output: err()?,
            problem_output: err()?,
            panic_log: streams.process.panic_log.clone(),
        };
        launch
            .run(|app| print_curl_lines(app, &api.consent_words(&directory), streams))
            .map(Exit::from)
    }

    fn load(
        self,
        api: &DemoServer,
        secrets: &DemoSecrets,
        directory: &DemoDirectory,
    ) -> Result<config::Loaded, Vec<Problem>> {
        let overrides = SettingsOverrides {
            listen: self.listen,
            management_listen: self.management_listen,
            ..SettingsOverrides::default()
        };
        // The definitions read the generated secrets from variables, as real definitions do.
        let environment = Environment::new(secrets.environment_variables());
        let mut loaded = config::load_texts(
            connection_definitions(api.addresses()),
            &overrides,
            &environment,
        )?;
        // The embedded API has a certificate of an authority that exists only in this process.
        loaded.settings.egress.roots.push(api.root_certificate());
        loaded.settings.token_store = directory.token_store();
        // The output is for a person, also if it is piped.
        loaded.settings.log.format = LogFormat::Text;
        loaded.settings.shutdown_grace_period = GRACE;
        Ok(loaded)
    }
}

fn print_curl_lines(app: &App, words: &ConsentWords, streams: &mut Streams<'_>) -> io::Result<()> {
    let (agent, operator) = (
        curl_origin(app.proxy_addresses()),
        curl_origin(app.management_addresses()),
    );
    if let (Some(agent), Some(operator)) = (agent, operator) {
        write_curl_lines(streams.out, &agent, &operator, words)?;
    }
    streams.out.flush()
}

/// Returns the origin and the curl options for the first TCP address, or for the first address if
/// none is TCP.
fn curl_origin(addresses: &[ListenAddress]) -> Option<CurlOrigin> {
    let is_tcp = |address: &&ListenAddress| matches!(address, ListenAddress::Tcp(_));
    let best = addresses.iter().find(is_tcp).or(addresses.first())?;
    Some(match best {
        ListenAddress::Tcp(address) => CurlOrigin::tcp(*address),
        ListenAddress::Unix(path) => CurlOrigin::unix(path),
    })
}
