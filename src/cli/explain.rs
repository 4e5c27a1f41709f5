//! `egressd explain`: what would become of a request, without sending it.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::check::Secrets;
use super::{Exit, Streams, answered, misconfigured};
use crate::config::{Environment, LoadOptions, SettingsOverrides, load};
use crate::proxy::explain::{Explained, Explanation, explain};
use crate::proxy::refusal::Refusal;
use crate::snapshot::Snapshot;

/// The widest line, as in the help texts.
const WIDTH: usize = 100;

#[derive(Args)]
pub(super) struct Explain {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    secrets: Secrets,
    /// The request's method
    method: String,
    /// As the agent writes it: /ID/PATH or `http://127.0.0.1:8080/ID/PATH`
    #[arg(value_name = "URL-OR-PATH")]
    target: String,
    /// Files and directories with definitions, instead of those that the settings list
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Explain {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let loaded = match load(&LoadOptions {
            config: self.config,
            overrides: SettingsOverrides {
                connections: self.paths,
                secrets: self.secrets.into(),
                ..SettingsOverrides::default()
            },
            environment,
        }) {
            Ok(loaded) => loaded,
            Err(problems) => return misconfigured(&problems, streams),
        };
        let hosts = loaded.settings.proxy.allowed_hosts;
        let snapshot = Snapshot::new(loaded.connections);
        match explain(&self.method, &self.target, &hosts, &snapshot) {
            Err(no_request) => {
                writeln!(streams.err, "egressd explain: {no_request}")?;
                Ok(Exit::Usage)
            }
            Ok(Err(refusal)) => answered(refused(&refusal, streams), Exit::No),
            Ok(Ok(Explained::Listing)) => {
                writeln!(streams.out, "allowed")?;
                writeln!(
                    streams.out,
                    "  answered by egressd with the list of connections"
                )?;
                Ok(Exit::Good)
            }
            Ok(Ok(Explained::Forwarded(explanation))) => {
                allowed(&self.method, &explanation, streams)?;
                Ok(Exit::Good)
            }
        }
    }
}

fn allowed(method: &str, explanation: &Explanation, streams: &mut Streams<'_>) -> io::Result<()> {
    let Explanation {
        connection,
        pattern,
        upstream_url,
        added,
        dropped,
        passed,
    } = explanation;
    writeln!(streams.out, "allowed")?;
    writeln!(streams.out, "  connection  {connection}")?;
    writeln!(streams.out, "  pattern     {pattern}")?;
    writeln!(streams.out, "  upstream    {method} {upstream_url}")?;
    writeln!(streams.out, "  added       {}", added.join(", "))?;
    if !passed.is_empty() {
        let passed = passed.join(", ");
        writeln!(streams.out, "  passed      {passed} (allow_agent_headers)")?;
    }
    dropped_headers(dropped, streams)
}

/// Writes the names in lines of at most [`WIDTH`] columns.
fn dropped_headers(names: &[String], streams: &mut Streams<'_>) -> io::Result<()> {
    let mut line = "  dropped    ".to_owned();
    let last = names.len().saturating_sub(1);
    for (at, name) in names.iter().enumerate() {
        if line.len() + name.len() + 2 > WIDTH {
            writeln!(streams.out, "{line}")?;
            line = " ".repeat(13);
        }
        line.push(' ');
        line.push_str(name);
        line.push_str(if at < last { "," } else { "" });
    }
    writeln!(streams.out, "{line}")
}

fn refused(refusal: &Refusal, streams: &mut Streams<'_>) -> io::Result<()> {
    let code = refusal.code();
    writeln!(
        streams.out,
        "refused: {} {}",
        code.status().as_u16(),
        code.as_str()
    )?;
    writeln!(streams.out, "  {}", refusal.detail())?;
    if let Some(methods) = refusal.allowed_methods() {
        writeln!(streams.out, "  allowed methods: {methods}")?;
    }
    Ok(())
}
