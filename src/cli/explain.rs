//! `egressd explain`: what would become of a request, without sending it.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::check::{Format, Secrets};
use super::{Exit, Streams, exit_after_writing, report_problems};
use crate::config::{Environment, LoadOptions, SettingsOverrides, load};
use crate::proxy::explain::{ExplainOutcome, ExplainedRefusal, Explanation, RequestInput, explain};
use crate::snapshot::Snapshot;

#[derive(Args)]
pub(super) struct Explain {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Header of the request, as curl takes it; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    secrets: Secrets,
    /// Method of the request
    method: String,
    /// Target as the agent writes it: /ID/PATH or http://127.0.0.1:8080/ID/PATH
    #[arg(value_name = "URL-OR-PATH")]
    target: String,
    /// Definition files and directories, instead of those in the settings
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
            Err(problems) => return report_problems(&problems, streams),
        };
        let hosts = loaded.settings.proxy.allowed_hosts;
        let snapshot = Snapshot::new(loaded.connections);
        let request = RequestInput {
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
        };
        let explained = match explain(request, &hosts, &snapshot) {
            Ok(explained) => explained,
            Err(no_request) => {
                writeln!(streams.err, "egressd explain: {no_request}")?;
                return Ok(Exit::Usage);
            }
        };
        let exit = match &explained {
            ExplainOutcome::Refused(_) => Exit::Failure,
            ExplainOutcome::Forwarded(_) | ExplainOutcome::Listing => Exit::Success,
        };
        let written = match (self.format, &explained) {
            (Format::Json, explained) => {
                let json = serde_json::to_string_pretty(explained).map_err(io::Error::other)?;
                writeln!(streams.out, "{json}")
            }
            (Format::Text, ExplainOutcome::Forwarded(forwarded)) => {
                write_forwarded(forwarded, streams)
            }
            (Format::Text, ExplainOutcome::Refused(refused)) => write_refused(refused, streams),
            (Format::Text, ExplainOutcome::Listing) => writeln!(
                streams.out,
                "allowed\n  answered by egressd with the list of connections"
            ),
        };
        exit_after_writing(written, exit)
    }
}

fn write_forwarded(explanation: &Explanation, streams: &mut Streams<'_>) -> io::Result<()> {
    let Explanation {
        connection,
        pattern,
        method,
        upstream_url,
        ..
    } = explanation;
    writeln!(streams.out, "allowed")?;
    writeln!(streams.out, "  connection  {connection}")?;
    writeln!(streams.out, "  pattern     {pattern}")?;
    writeln!(streams.out, "  upstream    {method} {upstream_url}")?;
    let to_body = explanation.added_to_body.iter();
    let to_body = to_body.map(|name| format!("{name} (if there is a body)"));
    let added: Vec<_> = explanation.added.iter().cloned().chain(to_body).collect();
    for (label, names) in [
        ("added", &added),
        ("passed", &explanation.passed),
        ("dropped", &explanation.dropped),
    ] {
        if !names.is_empty() {
            writeln!(streams.out, "  {label:<10}  {}", names.join(", "))?;
        }
    }
    Ok(())
}

fn write_refused(refused: &ExplainedRefusal, streams: &mut Streams<'_>) -> io::Result<()> {
    let refusal = &refused.refusal;
    let code = refusal.code();
    let status = code.status().as_u16();
    writeln!(streams.out, "refused: {status} {}", code.as_str())?;
    writeln!(streams.out, "  {}", refusal.detail())?;
    if let Some(methods) = refusal.allowed_methods() {
        writeln!(streams.out, "  allowed methods: {methods}")?;
    }
    let routes = refused.allowed_routes();
    if !routes.is_empty() {
        writeln!(streams.out, "  allowed routes:")?;
    }
    for route in routes {
        writeln!(streams.out, "    {route}")?;
    }
    Ok(())
}
