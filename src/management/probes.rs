//! `/livez` and `/readyz`: whether the process lives, and whether agents should come. With `?verbose`, one line a check, as Kubernetes' own probes answer.
//!
//! Readiness depends on what this process does, never on others: a token endpoint that is down must not take the other connections down with it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Sources;
use crate::domain::Auth;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::MemoryUse;

/// Connections that a line names.
const NAMED: usize = 10;

/// The process answers, so it lives.
pub(super) async fn livez(RawQuery(query): RawQuery) -> Response {
    let mut report = Report::default();
    report.check("ping", true, "ok");
    report.answer("livez", query.as_deref(), "ok")
}

/// 503 once the process is stopping.
pub(super) async fn readyz(
    State(sources): State<Arc<Sources>>,
    RawQuery(query): RawQuery,
) -> Response {
    let snapshot = sources.published.current();
    let draining = sources.draining.load(Relaxed);
    let or_ok = |failing: &'static str| if draining { failing } else { "ok" };
    let mut report = Report::default();
    report.check("configuration", true, &configuration(&snapshot));
    report.check("listeners", !draining, or_ok("closed to agents"));
    report.check("shutdown", !draining, or_ok("draining"));
    if is_verbose(query.as_deref()) {
        let failed = if sources.metrics.last_reload_succeeded() {
            ""
        } else {
            "; the last reload found problems"
        };
        let (hash, since) = (snapshot.hash(), snapshot.compiled());
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let in_use = format!("hash {hash}, since {since}{failed}");
        report.fact("configuration", &in_use);
        let tokens = credentials(&snapshot, &sources);
        let closed = closed(&snapshot, &sources);
        report.fact("credentials", &format!("{tokens}{closed}"));
        report.fact("hardening", &sources.hardening.to_string());
        if let Some(memory) = sources.metrics.memory_use() {
            report.fact("memory", &memory_use(memory));
        }
        let logs = &sources.logs;
        for (log, lost) in [
            ("access log", logs.access.dropped_lines()),
            ("problem log", logs.problems.dropped_lines()),
        ] {
            report.fact(log, &format!("lines lost: {lost}"));
        }
    }
    report.answer("readyz", query.as_deref(), "draining")
}

fn configuration(snapshot: &Snapshot) -> String {
    let live = snapshot.entries().iter();
    let live = live.filter(|entry| entry.is_live()).count();
    let generation = snapshot.generation();
    format!("ok: generation {generation}, connections {live}")
}

/// The connections that are closed because a response held a credential that can be guessed.
fn closed(snapshot: &Snapshot, sources: &Sources) -> String {
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    let closed = live.filter(|entry| sources.credentials.exposure(entry.key).is_some());
    let closed: Vec<_> = closed.map(|entry| entry.connection.id.as_str()).collect();
    if closed.is_empty() {
        return String::new();
    }
    let count = closed.len();
    format!("; exposed and closed {count}: {}", named(&closed))
}

/// Lists the first [`NAMED`] identifiers, and the number of the others.
fn named(ids: &[&str]) -> String {
    let first = ids.iter().take(NAMED).copied().collect::<Vec<_>>();
    let more = match ids.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}

/// How many tokens there are, and whose there are not. The endpoints' words stay out of it: nobody has to log in to read this.
fn credentials(snapshot: &Snapshot, sources: &Sources) -> String {
    let mut with_tokens = 0_usize;
    let mut failing = Vec::new();
    for entry in snapshot.entries() {
        let connection = &entry.connection;
        let usable = entry.is_live() && connection.enabled;
        if !usable || !matches!(connection.auth, Auth::OauthClientCredentials(_)) {
            continue;
        }
        with_tokens += 1;
        let status = sources.credentials.grant_status(connection);
        if status.is_some_and(|status| status.last_failure.is_some()) {
            failing.push(connection.id.as_str());
        }
    }
    if failing.is_empty() {
        return format!("with tokens {with_tokens}, failing none");
    }
    format!(
        "with tokens {with_tokens}, failing {}: {}",
        failing.len(),
        named(&failing)
    )
}

fn memory_use(memory: MemoryUse) -> String {
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
struct Report {
    lines: String,
    failed: bool,
}

impl Report {
    /// Something that the answer depends on.
    fn check(&mut self, name: &str, good: bool, says: &str) {
        self.failed |= !good;
        let sign = if good { '+' } else { '-' };
        // A string takes everything.
        let _written = writeln!(self.lines, "[{sign}]{name} {says}");
    }

    /// Something worth knowing, which the answer does not depend on.
    fn fact(&mut self, name: &str, says: &str) {
        let _written = writeln!(self.lines, "[i]{name}: {says}");
    }

    /// All of it if that is asked for, else a word.
    fn answer(self, probe: &str, query: Option<&str>, failure: &str) -> Response {
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
