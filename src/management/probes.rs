//! `/livez` and `/readyz`: whether the process lives, and whether agents should come. With `?verbose`, one line a check, as Kubernetes' own probes answer.
//!
//! Readiness depends on what this process does, never on others: a token endpoint that is down must not take the other connections down with it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::{ApiContext, ApiState};
use crate::domain::Auth;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::MemoryUse;

/// Connections that a line names.
const MAX_NAMES: usize = 10;

/// The process answers, so it lives.
pub(super) async fn livez(RawQuery(query): RawQuery) -> Response {
    let mut report = ProbeReport::default();
    report.add_check("ping", true, "ok");
    report.into_response("livez", query.as_deref(), "ok")
}

/// 503 once the process is stopping.
pub(super) async fn readyz(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Response {
    let sources = &state.sources;
    let snapshot = sources.published.current();
    let draining = sources.draining.load(Relaxed);
    let or_ok = |failing: &'static str| if draining { failing } else { "ok" };
    let mut report = ProbeReport::default();
    report.add_check("configuration", true, &configuration_summary(&snapshot));
    report.add_check("listeners", !draining, or_ok("closed to agents"));
    report.add_check("shutdown", !draining, or_ok("draining"));
    if is_verbose(query.as_deref()) {
        let failed = if sources.metrics.last_reload_succeeded() {
            ""
        } else {
            "; the last reload found problems"
        };
        let (hash, since) = (snapshot.hash(), snapshot.compiled());
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let in_use = format!("hash {hash}, since {since}{failed}");
        report.add_fact("configuration", &in_use);
        let tokens = credential_summary(&snapshot, sources);
        let closed = exposed_summary(&snapshot, sources);
        report.add_fact("credentials", &format!("{tokens}{closed}"));
        report.add_fact("hardening", &sources.hardening.to_string());
        if let Some(memory) = sources.metrics.memory_use() {
            report.add_fact("memory", &memory_summary(memory));
        }
        let logs = &sources.logs;
        for (log, lost) in [
            ("access log", logs.access.dropped_lines()),
            ("problem log", logs.problems.dropped_lines()),
        ] {
            report.add_fact(log, &format!("lines lost: {lost}"));
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

/// The connections that are closed because a response held a credential that can be guessed.
fn exposed_summary(snapshot: &Snapshot, sources: &ApiContext) -> String {
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let closed = live.filter(|entry| sources.credentials.exposure(entry.key).is_some());
    let closed: Vec<_> = closed.map(|entry| entry.connection.id.as_str()).collect();
    if closed.is_empty() {
        return String::new();
    }
    let count = closed.len();
    format!("; exposed and closed {count}: {}", first_names(&closed))
}

/// Lists the first [`MAX_NAMES`] identifiers, and the number of the others.
fn first_names(ids: &[&str]) -> String {
    let first = ids.iter().take(MAX_NAMES).copied().collect::<Vec<_>>();
    let more = match ids.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}

/// How many tokens there are, and whose there are not. The endpoints' words stay out of it: nobody has to log in to read this.
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
        return format!("with tokens {total}, failing none");
    }
    let (count, names) = (failing.len(), first_names(&failing));
    format!("with tokens {total}, failing {count}: {names}")
}

fn memory_summary(memory: MemoryUse) -> String {
    let mib = |bytes| bytes / (1024 * 1024);
    let (used, limit) = (mib(memory.used), mib(memory.limit));
    let refusing = if memory.is_short {
        ", short: new requests are refused, but for a few"
    } else {
        ""
    };
    format!("{used} of {limit} MiB{refusing}")
}

/// Checks and facts, a line each.
#[derive(Default)]
struct ProbeReport {
    lines: String,
    failed: bool,
}

impl ProbeReport {
    /// Something that the answer depends on.
    fn add_check(&mut self, name: &str, good: bool, says: &str) {
        self.failed |= !good;
        let sign = if good { '+' } else { '-' };
        // A string takes everything.
        let _written = writeln!(self.lines, "[{sign}]{name} {says}");
    }

    /// Something worth knowing, which the answer does not depend on.
    fn add_fact(&mut self, name: &str, says: &str) {
        let _written = writeln!(self.lines, "[i]{name}: {says}");
    }

    /// All of it if that is asked for, else a word.
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

/// `verbose` with whatever value; other parameters mean nothing.
fn is_verbose(query: Option<&str>) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    parameters.any(|parameter| parameter.split('=').next() == Some("verbose"))
}
