//! `egressd explain`: explains how a request would be handled, without sending it.

mod listener;

use std::io;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::check::{Format, Secrets};
use super::{Exit, Streams, describe_definitions, exit_after_writing, report_problems_as};
use crate::config::{
    self, Environment, LoadOptions, LoginArguments, Problem, SecretValues, SettingsOverrides, load,
};
use crate::credential::oauth::ConnectionStatus;
use crate::domain::{Connection, ConnectionId};
use crate::proxy::explain::{
    ExplainOutcome, ExplainedRefusal, ExplainedStatus, Explanation, RequestInput, ServedAddresses,
    explain,
};
use crate::snapshot::Snapshot;
use crate::token_store::TokenStore;
use listener::{explained_listener, tcp_port, unknown_port_note};

const AFTER_HELP: &str = "\
Explains a request without a body, and sends nothing. It does not check what depends on a body, on other requests or on the upstream: the body size, limits, the response, and the name, the address, TLS and the token, which `egressd probe` checks.
Exit codes: 0 the route is allowed, also if a person has to log in first, 1 the request is refused, 64 the arguments are not a request or the configuration has problems.";

const FRAGMENT_NOTE: &str = "the fragment (`#…`) is ignored: clients never send it; write `#` as `%23` in a path or a query";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
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
    /// Address of the listener that the request arrives on [default: the one with the port of the
    /// URL, or `proxy.listen`]
    #[arg(long, value_name = "ADDRESS")]
    listener: Option<String>,
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

/// The JSON document for arguments that are not a request.
#[derive(Serialize)]
struct InvalidArguments {
    result: &'static str,
    message: String,
}

impl Explain {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let values = self.secrets.into();
        let (config, has_paths) = (self.config.clone(), !self.paths.is_empty());
        let names_nothing = config.is_none() && !has_paths;
        let loaded = match load(&LoadOptions {
            config: self.config,
            overrides: SettingsOverrides {
                connections: self.paths,
                secrets: values,
                ..SettingsOverrides::default()
            },
            environment,
        }) {
            Ok(loaded) => loaded,
            Err(problems) => return report_problems_as(self.format, &problems, streams),
        };
        // Without arguments, the settings file that is read may be one that the operator did not
        // mean.
        let definitions = (names_nothing && loaded.sources.settings.is_some())
            .then(|| describe_definitions(&loaded, false));
        let proxy = &loaded.settings.proxy;
        let ports: Vec<u16> = proxy.addresses().filter_map(tcp_port).collect();
        let named = self.listener.as_deref();
        let listener = match explained_listener(named, &self.target, proxy) {
            Ok(listener) => listener,
            Err(why) => return report_invalid(self.format, why, streams),
        };
        let served = ServedAddresses {
            listener: &listener,
            serves_mcp: loaded.settings.mcp.enabled,
            ports: &ports,
        };
        let snapshot = Snapshot::new(loaded.connections);
        let request = RequestInput {
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
        };
        let mut explained = match explain(request, served, &snapshot) {
            Ok(explained) => explained,
            Err(invalid) => return report_invalid(self.format, invalid.to_string(), streams),
        };
        if values == SecretValues::Read {
            let store = TokenStore::new(loaded.settings.token_store);
            let login = LoginArguments::new(config.as_deref(), has_paths);
            add_status(&mut explained, &snapshot, &store, &login);
        }
        write_warnings(loaded.warnings, explained.connection(), streams)?;
        let port_note = unknown_port_note(&self.target, proxy).filter(|_| named.is_none());
        let fragment_note = self.target.contains('#').then(|| FRAGMENT_NOTE.to_owned());
        for note in port_note.into_iter().chain(fragment_note) {
            writeln!(streams.err, "egressd explain: {note}")?;
        }
        if let ExplainOutcome::Refused(refused) = &explained
            && refused.is_connection_unknown()
            && let Some(definitions) = definitions
        {
            writeln!(streams.err, "egressd explain: {definitions}")?;
        }
        write_outcome(self.format, &explained, streams)
    }
}

/// Adds the status of the connection to a request that the routes allow.
fn add_status(
    explained: &mut ExplainOutcome,
    snapshot: &Snapshot,
    store: &TokenStore,
    login: &LoginArguments<'_>,
) {
    if let ExplainOutcome::Forwarded(forwarded) = explained {
        let entry = snapshot.find(&forwarded.connection);
        forwarded.status = entry.and_then(|entry| status_at_start(&entry.connection, store, login));
    }
}

/// Returns the status of a connection that a person has to consent to. Other connections have no
/// status before a request.
fn status_at_start(
    connection: &Connection,
    store: &TokenStore,
    login: &LoginArguments<'_>,
) -> Option<ExplainedStatus> {
    let grant = &connection.auth.consent()?.parameters().grant;
    let file = store.read(grant);
    let status = ConnectionStatus::at_start(connection, Some(file), Timestamp::now());
    let needs_login = status.name.needs_login();
    Some(ExplainedStatus {
        status: status.name.as_str(),
        reason: status.reason,
        remedy: needs_login.then(|| login.remedy(&connection.id)),
    })
}

/// Writes the warnings about the connection of the request, because they explain surprising
/// results, such as a pattern that matches a literal `*`. The others are only counted.
fn write_warnings(
    warnings: Vec<Problem>,
    connection: Option<&str>,
    streams: &mut Streams<'_>,
) -> io::Result<()> {
    let is_about = |warning: &Problem| {
        let about = warning.connection.as_ref().map(ConnectionId::as_str);
        about.is_some() && about == connection
    };
    let (shown, others): (Vec<_>, Vec<_>) = warnings.into_iter().partition(is_about);
    write!(streams.err, "{}", config::render_text(&shown))?;
    let noun = match others.len() {
        0 => return Ok(()),
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    writeln!(
        streams.err,
        "egressd explain: {noun} about other parts of the configuration; `egressd check` shows all"
    )
}

fn report_invalid(format: Format, message: String, streams: &mut Streams<'_>) -> io::Result<Exit> {
    let written = match format {
        Format::Text => writeln!(streams.err, "egressd explain: {message}"),
        Format::Json => write_json(
            &InvalidArguments {
                result: "invalid",
                message,
            },
            streams,
        ),
    };
    exit_after_writing(written, Exit::Usage)
}

fn write_outcome(
    format: Format,
    outcome: &ExplainOutcome,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let exit = match outcome {
        ExplainOutcome::Refused(_) => Exit::Failure,
        ExplainOutcome::Forwarded(_) | ExplainOutcome::Listing | ExplainOutcome::Mcp => {
            Exit::Success
        }
    };
    if let ExplainOutcome::Refused(refused) = outcome
        && let Some(id) = &refused.deleted
    {
        let note = "is soft-deleted (`delete_time`), so for agents it does not exist";
        writeln!(streams.err, "egressd explain: connection `{id}` {note}")?;
    }
    let written = match (format, outcome) {
        (Format::Json, outcome) => write_json(outcome, streams),
        (Format::Text, ExplainOutcome::Forwarded(forwarded)) => write_forwarded(forwarded, streams),
        (Format::Text, ExplainOutcome::Refused(refused)) => write_refused(refused, streams),
        (Format::Text, ExplainOutcome::Listing) => writeln!(
            streams.out,
            "allowed\n  answered by egressd with the list of connections"
        ),
        (Format::Text, ExplainOutcome::Mcp) => writeln!(
            streams.out,
            "allowed\n  answered by egressd with the Model Context Protocol"
        ),
    };
    exit_after_writing(written, exit)
}

fn write_json(document: &impl Serialize, streams: &mut Streams<'_>) -> io::Result<()> {
    let json = serde_json::to_string_pretty(document).map_err(io::Error::other)?;
    writeln!(streams.out, "{json}")
}

fn write_forwarded(explanation: &Explanation, streams: &mut Streams<'_>) -> io::Result<()> {
    let Explanation {
        connection,
        pattern,
        method,
        upstream_url,
        status,
        ..
    } = explanation;
    let remedy = status.as_ref().and_then(|status| status.remedy.as_deref());
    match remedy {
        // The route is allowed, but a first line without this would hide that agents get a 403.
        Some(remedy) => writeln!(
            streams.out,
            "allowed, but refused until a person logs in: {remedy}"
        )?,
        None => writeln!(streams.out, "allowed")?,
    }
    writeln!(streams.out, "  connection  {connection}")?;
    writeln!(streams.out, "  pattern     {pattern}")?;
    writeln!(streams.out, "  upstream    {method} {upstream_url}")?;
    if let Some(ExplainedStatus { status, reason, .. }) = status {
        let reason = reason.map(|reason| format!(" ({reason})"));
        let reason = reason.unwrap_or_default();
        writeln!(streams.out, "  status      {status}{reason}")?;
    }
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
    writeln!(
        streams.out,
        "  unchecked   body size, limits, name, address, TLS, token, response"
    )
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
