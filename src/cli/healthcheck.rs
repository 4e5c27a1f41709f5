//! `egressd healthcheck`: checks if the egressd that runs with these settings is ready, for images
//! without a shell or curl.
//!
//! A container runtime runs the command every few seconds, so it does little. From the settings it
//! reads only the addresses of the management API. It opens no definition and no secret. Other
//! mistakes in the settings are not reported: the running process may have started before they were
//! made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::check::Format;
use super::{Exit, Streams, exit_after_writing, parse_timeout, report_problems};
use crate::config::{self, Environment, ListenAddress, LoadOptions, SettingsOverrides};
use crate::probe_client::{ProbeFailure, ProbeResponse, ProbeTarget, printable};
use crate::proxy::refusal::X_EGRESSD_ERROR;

const AFTER_HELP: &str = "\
Requests /readyz at all addresses of `management.listen` at once; the first response counts. For an address such as 0.0.0.0 it uses loopback. It needs no password.
Reads no definition and no secret. Exit codes: 0 ready, 1 not ready or no response in time, 64 the settings contain no address to query.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Healthcheck {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the management API, instead of `management.listen`; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Vec<String>,
    /// Time limit for the response, in seconds from 1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = parse_timeout)]
    timeout: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The JSON document of `--format json`.
#[derive(Serialize)]
struct Health {
    ready: bool,
    /// The address that answered, or all addresses that were queried.
    address: String,
    /// The status and the first line of the response, or why there is none.
    seen: String,
}

impl Healthcheck {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let options = LoadOptions {
            config: self.config,
            overrides: SettingsOverrides {
                management_listen: self.management_listen,
                ..SettingsOverrides::default()
            },
            environment,
        };
        let listeners = match config::management_listen(&options) {
            Ok(listeners) => listeners,
            Err(problems) => return report_problems(&problems, streams),
        };
        let targets = match probe_targets(listeners) {
            Ok(targets) => targets,
            Err(why) => {
                writeln!(streams.err, "egressd healthcheck: {why}")?;
                return Ok(Exit::Usage);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let health = runtime.block_on(query_health(targets, Duration::from_secs(self.timeout)));
        let written = match self.format {
            // Strings and a boolean always serialise.
            Format::Json => {
                let text = serde_json::to_string(&health).unwrap_or_default();
                writeln!(streams.out, "{text}")
            }
            Format::Text if health.ready => writeln!(streams.out, "ready"),
            Format::Text => writeln!(
                streams.out,
                "not ready: {} ({})",
                health.seen, health.address
            ),
        };
        exit_after_writing(
            written,
            if health.ready {
                Exit::Success
            } else {
                Exit::Failure
            },
        )
    }
}

/// Returns the targets to query. Port 0 is an error: the port that the system chose is in no file.
fn probe_targets(listeners: Vec<ListenAddress>) -> Result<Vec<ProbeTarget>, &'static str> {
    if listeners.is_empty() {
        return Err(
            "`management.listen` is empty, so there is no address to query; list an address such as 127.0.0.1:8081 or unix:/path",
        );
    }
    let target = |listener| match listener {
        ListenAddress::Tcp(address) if address.port() == 0 => Err(
            "`management.listen` has port 0, so the system chose the port; name the chosen port with --management-listen",
        ),
        ListenAddress::Tcp(address) => Ok(ProbeTarget::listener_targets(address)),
        ListenAddress::Unix(path) => Ok(vec![ProbeTarget::Unix(path)]),
    };
    let targets: Result<Vec<Vec<ProbeTarget>>, _> = listeners.into_iter().map(target).collect();
    Ok(targets?.into_iter().flatten().collect())
}

/// Queries all targets at once. They belong to one process, so the first response counts; the other
/// targets may not be reachable from here.
async fn query_health(targets: Vec<ProbeTarget>, limit: Duration) -> Health {
    let address = targets.iter().map(ToString::to_string);
    let address = address.collect::<Vec<_>>().join(", ");
    let until = Instant::now() + limit;
    let mut queries = JoinSet::new();
    for target in targets {
        queries.spawn(async move { (target.get("/readyz", until).await, target) });
    }
    // A listener that does not answer explains more than an address without a listener.
    let (mut unreachable, mut silent) = (None, None);
    while let Some(ended) = queries.join_next().await {
        match ended {
            Ok((Ok(answer), target)) => {
                // Dropping the set cancels the other requests.
                return Health {
                    // A draining process answers 503.
                    ready: answer.status.as_u16() == 200,
                    address: target.to_string(),
                    seen: summary(&answer),
                };
            }
            Ok((Err(ProbeFailure::NotConnected(error)), _)) => {
                unreachable = Some(connect_error(&error))
            }
            Ok((Err(ProbeFailure::NotHttp), _)) => {
                silent = Some("the response of the listener is not HTTP/1.1".to_owned());
            }
            Ok((Err(ProbeFailure::TimedOut), _)) => {
                silent = Some(format!("no answer within {} s", limit.as_secs()));
            }
            Err(_) => unreachable = Some("the request failed unexpectedly".to_owned()),
        }
    }
    Health {
        ready: false,
        address,
        seen: silent.or(unreachable).unwrap_or_default(),
    }
}

/// Returns the status of a response and its first line, or the reason for that status.
fn summary(answer: &ProbeResponse) -> String {
    let status = answer.status.as_u16();
    // Only the proxy sends this header. The management API has no refusals.
    if answer.fields.contains_key(X_EGRESSD_ERROR) {
        return format!(
            "{status}, because this is the listener for agents; use the address of `management.listen`"
        );
    }
    let shown = format!("{status} {}", answer.first_line());
    shown.trim_end().to_owned()
}

fn connect_error(error: &io::Error) -> String {
    // `NotFound` is the error of a Unix socket whose file does not exist.
    use io::ErrorKind::{ConnectionRefused, NotFound};
    if matches!(error.kind(), ConnectionRefused | NotFound) {
        "nothing listens there; check that egressd is running with these settings".to_owned()
    } else {
        format!("cannot connect: {}", printable(&error.to_string()))
    }
}
