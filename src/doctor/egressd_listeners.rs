//! Connection tests of egressd's own listeners from the agent's side: the proxy, which the agent
//! should reach, and the others, which it should not.

use http::StatusCode;
use tokio::task::JoinSet;

use super::finding::{Finding, FindingState, SandboxCheck};
use super::http_probes::{ProbeOutcome, UNRESOLVED, contains, probe_http, worst_finding};
use super::network::NetworkProbe;
use super::runtimes::{self, RuntimeApi};
use crate::probe_client::{ProbeResponse, ProbeTarget};

/// Shown of an answer nobody expected.
const OTHER_SERVER: &str = "something else than egressd answers";
/// How a list of connections begins.
const CONNECTION_LIST: &[u8] = b"{\"connections\":";
const API: &str = "/v1/connections";
const METRICS: &str = "/metrics";

/// Does egressd answer where the agent should reach it?
pub(super) async fn probe_proxy(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let check = SandboxCheck::Proxy;
    let shown = target.to_string();
    let judge = |heard| match heard {
        ProbeOutcome::Response(answer) if is_proxy(&answer) => {
            check.closed(shown.clone(), "answers as egressd")
        }
        ProbeOutcome::Response(answer) => check.unknown(
            shown.clone(),
            format!("{OTHER_SERVER} ({})", answer.status.as_u16()),
        ),
        ProbeOutcome::NothingListens(why)
        | ProbeOutcome::NoResponse(why)
        | ProbeOutcome::NotTried(why) => check.unknown(shown.clone(), why),
    };
    // One address that answers is enough for the agent.
    let found = probe_http(&probe, target, "/").await.into_iter().map(judge);
    found
        .min_by_key(|finding| finding.state)
        .unwrap_or_else(|| check.unknown(shown.clone(), UNRESOLVED))
}

/// Lists of connections begin like this, and every refusal has its code in a field.
fn is_proxy(answer: &ProbeResponse) -> bool {
    let lists = answer.status == StatusCode::OK && answer.body.starts_with(CONNECTION_LIST);
    lists || answer.fields.contains_key("x-egressd-error")
}

/// Does the management API answer without a password?
pub(super) async fn probe_management(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let check = SandboxCheck::Management;
    let shown = format!("{target}{API}");
    let judge = |answer: ProbeResponse| match answer.status.as_u16() {
        200 if answer.body.starts_with(CONNECTION_LIST) => {
            check.open(shown.clone(), "lists the connections, without a password")
        }
        401 | 429 => check.closed(shown.clone(), "asks for a password"),
        403 | 421 => check.closed(shown.clone(), "refuses to answer here"),
        status => check.unknown(shown.clone(), format!("{OTHER_SERVER} ({status})")),
    };
    worst_finding(check, &shown, probe_http(&probe, target, API).await, judge)
}

/// Are the metrics there to be read?
pub(super) async fn probe_metrics(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let check = SandboxCheck::Metrics;
    let shown = format!("{target}{METRICS}");
    let judge = |answer: ProbeResponse| match answer.status.as_u16() {
        200 if contains(&answer.body, b"egressd_") => check.open(shown.clone(), "can be read"),
        401 | 403 => check.closed(shown.clone(), "asks for a password"),
        status => check.unknown(shown.clone(), format!("{OTHER_SERVER} ({status})")),
    };
    worst_finding(
        check,
        &shown,
        probe_http(&probe, target, METRICS).await,
        judge,
    )
}

/// Checks if the management API or a container runtime's API answers at one of these sockets, whose
/// owners are unknown. Reports each open socket separately, and does not identify the others.
pub(super) async fn probe_listeners(
    probe: NetworkProbe,
    (targets, all): (Vec<ProbeTarget>, bool),
) -> Vec<Finding> {
    let count = targets.len();
    let mut asked = JoinSet::new();
    for target in targets {
        asked.spawn(probe_management(probe.clone(), target.clone()));
        asked.spawn(probe_metrics(probe.clone(), target.clone()));
        // The usual ports of container runtimes have separate checks.
        if runtimes::runtime_apis().all(|(known, _)| known != target) {
            asked.spawn(runtimes::probe_api(
                probe.clone(),
                target,
                RuntimeApi::Engine,
            ));
        }
    }
    let mut open = asked.join_all().await;
    open.retain(|finding| finding.state == FindingState::Open);
    open.sort_by(|a, b| a.target.cmp(&b.target));
    for check in [SandboxCheck::Management, SandboxCheck::Metrics] {
        let shown = "listeners";
        if !all {
            let seen = format!("{count} were asked; there may be more");
            open.push(check.unknown(shown, seen));
        } else if open.iter().all(|finding| finding.check != check) {
            let seen = match count {
                0 => "nobody else listens in this network".to_owned(),
                1 => "one more in this network, which does not answer as it does".to_owned(),
                _ => format!("{count} more in this network, of which none answers as it does"),
            };
            open.push(check.closed(shown, seen));
        }
    }
    open
}
