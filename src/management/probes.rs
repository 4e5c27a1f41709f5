//! `/livez` and `/readyz`: the liveness and readiness probes. With `?verbose`, the response has one
//! line per check, in the format of the Kubernetes API server's probes.
//!
//! Readiness depends on this process alone. If it depended on a token endpoint, an outage of that
//! endpoint would take the agent's other connections out of service too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::listeners::distinct_listeners;
use super::names::first_names;
use super::{ApiContext, ApiState};
use crate::credential::oauth::{ConnectionStatus, StatusName};
use crate::domain::auth::GrantName;
use crate::domain::{Auth, Ceilings};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::MemoryUse;

/// The number of grants that are listed, those that are not connected first.
const MAX_GRANTS: usize = 50;

/// Responds with 200: a process that can respond is alive.
pub(super) async fn livez(RawQuery(query): RawQuery) -> Response {
    let mut report = ProbeReport::default();
    report.add_check("ping", true, "ok");
    report.into_response("livez", query.as_deref(), "ok")
}

/// Responds with 200, or with 503 from the moment that the process begins to shut down.
pub(super) async fn readyz(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Response {
    let sources = &state.sources;
    let snapshot = sources.published.current();
    // `Relaxed`, because the flag guards no other data.
    let draining = sources.draining.load(Relaxed);
    let or_ok = |failing: &'static str| if draining { failing } else { "ok" };
    let mut report = ProbeReport::default();
    // A process without a valid configuration does not start, so this check cannot fail. It reports
    // the generation.
    report.add_check("configuration", true, &configuration_summary(&snapshot));
    report.add_check("listeners", !draining, or_ok("closed to agents"));
    report.add_check("shutdown", !draining, or_ok("draining"));
    if is_verbose(query.as_deref()) {
        // A failed reload is a fact and not a check: the previous configuration is still served.
        let failed = if sources.metrics.last_reload_succeeded() {
            ""
        } else {
            "; the last reload failed"
        };
        let (hash, since) = (snapshot.hash(), snapshot.compiled());
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let in_use = format!("hash {hash}, since {since}{failed}");
        report.add_fact("configuration", &in_use);
        report.add_fact("limits", &ceilings_summary(snapshot.ceilings()));
        let tokens = credential_summary(&snapshot, sources);
        let closed = exposed_summary(&snapshot, sources);
        report.add_fact("credentials", &format!("{tokens}{closed}"));
        report_grants(&mut report, &snapshot, sources);
        for listener in distinct_listeners(&sources.listeners) {
            let name = format!("listener {}", listener.address);
            report.add_fact(&name, &listener.served());
        }
        report.add_fact("hardening", &sources.hardening.to_string());
        if let Some(memory) = sources.metrics.memory_use() {
            report.add_fact("memory", &memory_summary(memory));
        }
        let logs = &sources.logs;
        for (log, dropped) in [
            ("access log", logs.access.dropped_lines()),
            ("problem log", logs.problems.dropped_lines()),
        ] {
            report.add_fact(log, &format!("dropped lines: {dropped}"));
        }
    }
    report.into_response("readyz", query.as_deref(), "draining")
}

fn configuration_summary(snapshot: &Snapshot) -> String {
    let live = snapshot.entries().iter();
    let live = live.filter(|entry| entry.is_live()).count();
    let generation = snapshot.generation();
    format!("ok: generation {generation}, connections {live}")
}

/// Returns the ceilings in force, by the names of their settings.
fn ceilings_summary(ceilings: Ceilings) -> String {
    let (default, highest) = (Ceilings::default(), ceilings);
    let raised = |is_raised| if is_raised { " (raised)" } else { "" };
    format!(
        "max_response_size_bytes {}{}, max_timeout_seconds {}{}",
        highest.response.bytes(),
        raised(highest.response > default.response),
        highest.timeout.duration().as_secs(),
        raised(highest.timeout > default.timeout),
    )
}

/// Returns the connections that refuse requests because a response contained a credential that is
/// short enough to be guessed.
fn exposed_summary(snapshot: &Snapshot, sources: &ApiContext) -> String {
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let closed = live.filter(|entry| sources.credentials.exposure(entry.key).is_some());
    let closed: Vec<_> = closed.map(|entry| entry.connection.id.as_str()).collect();
    if closed.is_empty() {
        return String::new();
    }
    let count = closed.len();
    format!(
        "; exposed {count} (requests refused): {}",
        first_names(&closed)
    )
}

/// Returns the number of connections with a token, and which of them cannot obtain one. The text
/// that a token endpoint sent is left out, because this path needs no login.
fn credential_summary(snapshot: &Snapshot, sources: &ApiContext) -> String {
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let connections = live.map(|entry| &entry.connection);
    let with_tokens: Vec<_> = connections
        .filter(|connection| connection.enabled)
        .filter(|connection| matches!(connection.auth, Auth::OauthClientCredentials(_)))
        .collect();
    let failing = with_tokens.iter().filter(|connection| {
        let status = sources.credentials.grant_status(connection);
        status.is_some_and(|status| status.last_failure.is_some())
    });
    let failing: Vec<_> = failing.map(|connection| connection.id.as_str()).collect();
    let total = with_tokens.len();
    if failing.is_empty() {
        return format!("tokens {total}, failing 0");
    }
    let (count, names) = (failing.len(), first_names(&failing));
    format!("tokens {total}, failing {count}: {names}")
}

/// Lists the grants that persons have consented to, with their status and their connections. They
/// are facts: a missing consent of one connection must not take the others out of service.
fn report_grants(report: &mut ProbeReport, snapshot: &Snapshot, sources: &ApiContext) {
    let mut grants: BTreeMap<&GrantName, (ConnectionStatus, Vec<&str>)> = BTreeMap::new();
    for entry in snapshot.entries().iter().filter(|entry| entry.is_live()) {
        let connection = &entry.connection;
        let Some(consent) = connection.auth.consent().filter(|_| connection.enabled) else {
            continue;
        };
        // Connections that share a grant have the same status.
        let status = || sources.credentials.connection_status(connection);
        let grant = grants.entry(&consent.parameters().grant);
        let (_, connections) = grant.or_insert_with(|| (status(), Vec::new()));
        connections.push(connection.id.as_str());
    }
    if grants.is_empty() {
        return;
    }
    let is_connected = |status: &ConnectionStatus| status.name == StatusName::Connected;
    let all = grants.len();
    let connected = grants.values().filter(|(status, _)| is_connected(status));
    report.add_fact("grants", &format!("{all}, connected {}", connected.count()));
    let mut listed: Vec<_> = grants.into_iter().collect();
    // Stable, so the grants are in the order of their names otherwise.
    listed.sort_by_key(|(_, (status, _))| is_connected(status));
    for (grant, (status, connections)) in listed.into_iter().take(MAX_GRANTS) {
        let reason = status.reason.map(|reason| format!(" ({reason})"));
        let text = format!(
            "{}{}: {}",
            status.name.as_str(),
            reason.unwrap_or_default(),
            first_names(&connections)
        );
        report.add_fact(&format!("grant {grant}"), &text);
    }
}

fn memory_summary(memory: MemoryUse) -> String {
    let mib = |bytes| bytes / (1024 * 1024);
    let (used, limit) = (mib(memory.used), mib(memory.limit));
    let refusing = if memory.is_short {
        ", short: most new requests are refused"
    } else {
        ""
    };
    format!("{used} of {limit} MiB{refusing}")
}

/// The checks and facts of a verbose response, one per line.
#[derive(Default)]
struct ProbeReport {
    lines: String,
    failed: bool,
}

impl ProbeReport {
    /// Adds a check. A failed check fails the probe.
    fn add_check(&mut self, name: &str, passed: bool, text: &str) {
        self.failed |= !passed;
        let sign = if passed { '+' } else { '-' };
        // Writing to a `String` does not fail.
        let _written = writeln!(self.lines, "[{sign}]{name} {text}");
    }

    /// Adds a fact that does not influence the result.
    fn add_fact(&mut self, name: &str, text: &str) {
        let _written = writeln!(self.lines, "[i]{name}: {text}");
    }

    /// Returns the lines if the query requests them, otherwise one word.
    fn into_response(self, probe: &str, query: Option<&str>, failure: &str) -> Response {
        let (status, word, verdict) = if self.failed {
            (StatusCode::SERVICE_UNAVAILABLE, failure, "failed")
        } else {
            (StatusCode::OK, "ok", "passed")
        };
        let text = if is_verbose(query) {
            format!("{}{probe} check {verdict}\n", self.lines)
        } else {
            format!("{word}\n")
        };
        (status, text).into_response()
    }
}

/// Returns whether the query has a parameter `verbose`, with any value or none. Other parameters
/// are ignored.
fn is_verbose(query: Option<&str>) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    parameters.any(|parameter| parameter.split('=').next() == Some("verbose"))
}
