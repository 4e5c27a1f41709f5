//! `egressd probe`: tests the upstream and the credential of a connection, step by step, without a
//! request to its API.
//!
//! The steps run the code of `serve`. This file puts them in order, and `report` shows them. The
//! report contains addresses, because an operator runs the command, and no secrets.

mod credential;
mod remedy;
mod report;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::check::Format;
use super::{Exit, Streams, describe_definitions, exit_after_writing, report_problems_as};
use crate::app::UpstreamFactory;
use crate::config::{
    self, Environment, ListenAddress, LoadOptions, Loaded, LoginArguments, Problem, Settings,
    SettingsOverrides,
};
use crate::domain::{Auth, Connection, Host, Http2Mode};
use crate::token_store::TokenStore;
use crate::upstream::{DialTarget, Dialer, ProbeStep, ProbeStepKind, ResolverSettings, Trust};

const AFTER_HELP: &str = "\
Sends no HTTP request to the upstream. If the credential is an OAuth token, it requests one from the token endpoint, as it would for a request. The grant of a person is never refreshed; its status is reported.
Exit codes: 0 every step succeeded, 1 a step failed or the connection does not exist, 64 the configuration has problems.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Probe {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Id of the connection
    connection: String,
    /// Definition files and directories, instead of those in the settings
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The report of one step.
#[derive(Serialize)]
struct StepReport {
    step: &'static str,
    /// The host and port of a URL, or the kind of the credential.
    target: String,
    ok: bool,
    /// The duration in milliseconds, with one decimal.
    ms: f64,
    /// The result of the step, or why it failed.
    detail: String,
    /// The remedy for a failure.
    remedy: Option<String>,
}

/// The reason why a step failed, and the remedy.
struct StepFailure {
    detail: String,
    remedy: Option<String>,
}

impl StepReport {
    /// Creates the report of a step; `outcome` is what it found.
    fn new(
        step: &'static str,
        target: String,
        took: Duration,
        outcome: Result<String, StepFailure>,
    ) -> Self {
        let ok = outcome.is_ok();
        let (detail, remedy) = outcome.map_or_else(
            |failure| (failure.detail, failure.remedy),
            |found| (found, None),
        );
        Self {
            step,
            target,
            ok,
            // Tenths of milliseconds: on loopback most steps take less than a millisecond.
            ms: (took.as_secs_f64() * 10_000.0).round() / 10.0,
            detail,
            remedy,
        }
    }
}

impl Probe {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let (config, has_paths) = (self.config.clone(), !self.paths.is_empty());
        let loaded = match config::load(&LoadOptions {
            config: self.config,
            overrides: SettingsOverrides {
                connections: self.paths,
                ..SettingsOverrides::default()
            },
            environment,
        }) {
            Ok(loaded) => loaded,
            Err(problems) => return report_problems_as(self.format, &problems, streams),
        };
        let id = self.connection.as_str();
        // The resource name of the management API is accepted too.
        let id = id.strip_prefix("connections/").unwrap_or(id);
        let Some(connection) = loaded.connections.iter().find(|c| c.id.as_str() == id) else {
            let problem = unknown_connection(id, &loaded, has_paths);
            return report_obstacle(self.format, problem, Exit::Failure, streams);
        };
        let Ok(trust) = Trust::from_platform(&loaded.settings.egress.roots) else {
            let why = "a certificate in `egress.ca_files` cannot be used as a trust anchor";
            let problem = Problem::whole("settings", "invalid_ca_file", why.to_owned())
                .field("egress.ca_files")
                .remedy("remove it, or have it replaced");
            return report_obstacle(self.format, problem, Exit::Usage, streams);
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (names, unresolvable) = ResolverSettings::from_system();
        if let Some(warning) = unresolvable {
            writeln!(streams.err, "egressd probe: {warning}")?;
        }
        let own = own_listeners(&loaded.settings);
        let upstreams = UpstreamFactory::new(&loaded.settings, trust.clone(), names, own);
        let mut rows = runtime.block_on(run_steps(connection, &trust, &upstreams));
        rows.extend(credential::consent_step(
            connection,
            &TokenStore::new(loaded.settings.token_store),
            &LoginArguments::new(config.as_deref(), has_paths),
        ));
        let written = match self.format {
            Format::Text => report::write_text(connection, &rows, streams.out),
            Format::Json => report::write_json(connection, &rows, streams.out),
        };
        let good = rows.iter().all(|row| row.ok);
        exit_after_writing(written, if good { Exit::Success } else { Exit::Failure })
    }
}

/// Reports why nothing is probed: in text on one line of standard error, in JSON as `egressd check`
/// does.
fn report_obstacle(
    format: Format,
    problem: Problem,
    exit: Exit,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let written = match format {
        Format::Text => {
            let Problem {
                message, remedy, ..
            } = problem;
            writeln!(streams.err, "egressd probe: {message}; {remedy}")
        }
        Format::Json => write!(streams.out, "{}", config::render_json(&[problem])),
    };
    exit_after_writing(written, exit)
}

fn unknown_connection(id: &str, loaded: &Loaded, has_paths: bool) -> Problem {
    let ids = loaded.connections.iter().map(|c| c.id.as_str());
    // The argument may be a misplaced secret.
    let named = if config::may_show(id) {
        format!("connection `{id}`")
    } else {
        "connection of this id".to_owned()
    };
    let remedy = match config::nearest(id, ids) {
        Some(near) => format!("did you mean `{near}`?"),
        None => describe_definitions(loaded, has_paths),
    };
    let message = format!("there is no {named}");
    Problem::whole("command line", "unknown_connection", message).remedy(remedy)
}

/// Returns the addresses that egressd listens on with these settings. The dialer refuses to connect
/// to them.
pub(super) fn own_listeners(settings: &Settings) -> Arc<[SocketAddr]> {
    let listen = settings.proxy.addresses();
    let all = listen.chain(&settings.management.listen);
    all.filter_map(tcp_address).collect()
}

fn tcp_address(listen: &ListenAddress) -> Option<SocketAddr> {
    match listen {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

async fn run_steps(
    connection: &Connection,
    trust: &Trust,
    upstreams: &UpstreamFactory,
) -> Vec<StepReport> {
    // One dialer for all steps: it refuses to connect to the addresses of egressd itself, as in
    // `serve`.
    let dialer = upstreams.dialer();
    let url = &connection.base_url;
    let upstream = ProbedEndpoint::new("base_url", url.host(), url.port());
    let mut rows = upstream
        .dial_steps(connection, connection.http2, trust, &dialer)
        .await;
    rows.push(credential::credential_step(connection));
    if let Auth::OauthClientCredentials(oauth) = &connection.auth {
        let url = &oauth.terms().token_url;
        let endpoint = ProbedEndpoint::new("token_url", url.host(), url.port());
        let steps = endpoint
            // The field `http2` is about the API. Token endpoints always negotiate the protocol.
            .dial_steps(connection, Http2Mode::Auto, trust, &dialer)
            .await;
        let reached = steps.iter().all(|row| row.ok);
        rows.extend(steps);
        // The failed step has already been reported. A token request would repeat its error.
        if reached {
            rows.push(token::token_step(oauth, endpoint.shown, upstreams.client()).await);
        }
    }
    rows
}

/// The host and port of a URL in the definition.
struct ProbedEndpoint<'c> {
    field: &'static str,
    host: &'c Host,
    port: u16,
    shown: String,
}

impl<'c> ProbedEndpoint<'c> {
    fn new(field: &'static str, host: &'c Host, port: u16) -> Self {
        let shown = match host {
            Host::Name(name) => format!("{name}:{port}"),
            Host::Ip(address) => SocketAddr::new(*address, port).to_string(),
        };
        Self {
            field,
            host,
            port,
            shown,
        }
    }

    /// Runs the steps of a dial, up to an established TLS session.
    async fn dial_steps(
        &self,
        connection: &Connection,
        http2: Http2Mode,
        trust: &Trust,
        dialer: &Dialer,
    ) -> Vec<StepReport> {
        let allowed_cidrs = &connection.allowed_private_cidrs;
        let target = DialTarget::new(self.host, self.port, allowed_cidrs, http2, trust);
        let steps = dialer.probe(&target).await;
        steps
            .into_iter()
            .map(|step| self.report_step(step))
            .collect()
    }

    fn peer_name(&self) -> &'static str {
        if self.field == "token_url" {
            "the token endpoint"
        } else {
            "the upstream"
        }
    }

    fn report_step(&self, step: ProbeStep) -> StepReport {
        let name = match step.kind {
            ProbeStepKind::Resolve => "resolve",
            ProbeStepKind::Addresses => "address",
            ProbeStepKind::Connect => "connect",
            ProbeStepKind::Handshake => "handshake",
        };
        let outcome = step.outcome.map_err(|broken| StepFailure {
            detail: report::failure_text(&broken, self.peer_name()),
            remedy: remedy::remedy_for(&broken, self.field),
        });
        StepReport::new(name, self.shown.clone(), step.took, outcome)
    }
}
