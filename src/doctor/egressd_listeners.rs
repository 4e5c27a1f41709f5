//! Connection tests of egressd's own listeners from the agent's side: the proxy, which the agent
//! should reach, and the others, which it should not.

use http::StatusCode;
use tokio::task::JoinSet;

use super::finding::{Finding, FindingState, SandboxCheck};
use super::http_probes::{ProbeOutcome, UNRESOLVED, Verdict, contains, probe_http, worst_finding};
use super::network::NetworkProbe;
use super::runtimes::{self, RuntimeApi};
use crate::probe_client::{ProbeResponse, ProbeTarget};

/// How a list of connections begins.
const CONNECTION_LIST: &[u8] = b"{\"connections\":";
const API: &str = "/v1/connections";
const METRICS: &str = "/metrics";

/// Does egressd answer where the agent should reach it? One address that answers is enough.
pub(super) async fn probe_proxy(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let shown = target.to_string();
    let outcomes = probe_http(&probe, target, "/").await.into_iter();
    let verdicts = outcomes.map(|outcome| match outcome {
        ProbeOutcome::Response(response) if is_proxy(&response) => {
            (FindingState::Closed, "answers as egressd".into())
        }
        ProbeOutcome::Response(response) => other_server(&response),
        ProbeOutcome::NothingListens(why)
        | ProbeOutcome::NoResponse(why)
        | ProbeOutcome::NotTried(why) => (FindingState::Unknown, why.into()),
    });
    let best = verdicts.min_by_key(|(state, _)| *state);
    let (state, seen) = best.unwrap_or((FindingState::Unknown, UNRESOLVED.into()));
    SandboxCheck::Proxy.finding(state, shown, seen)
}

/// Lists of connections begin like this, and every refusal has its code in a field.
fn is_proxy(response: &ProbeResponse) -> bool {
    let lists = response.status == StatusCode::OK && response.body.starts_with(CONNECTION_LIST);
    lists || response.fields.contains_key("x-egressd-error")
}

fn other_server(response: &ProbeResponse) -> Verdict {
    let status = response.status.as_u16();
    let seen = format!("something else than egressd answers ({status})");
    (FindingState::Unknown, seen.into())
}

/// Does the management API answer without a password?
pub(super) async fn probe_management(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let found = (SandboxCheck::Management, format!("{target}{API}"));
    let judge = |response: &ProbeResponse| match response.status.as_u16() {
        200 if response.body.starts_with(CONNECTION_LIST) => {
            let seen = "lists the connections, without a password";
            (FindingState::Open, seen.into())
        }
        401 | 429 => (FindingState::Closed, "asks for a password".into()),
        403 | 421 => (FindingState::Closed, "refuses to answer here".into()),
        _ => other_server(response),
    };
    worst_finding(&probe, (target, API), found, judge).await
}

/// Are the metrics there to be read?
pub(super) async fn probe_metrics(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let found = (SandboxCheck::Metrics, format!("{target}{METRICS}"));
    let judge = |response: &ProbeResponse| match response.status.as_u16() {
        200 if contains(&response.body, b"egressd_") => (FindingState::Open, "can be read".into()),
        401 | 403 => (FindingState::Closed, "asks for a password".into()),
        _ => other_server(response),
    };
    worst_finding(&probe, (target, METRICS), found, judge).await
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
