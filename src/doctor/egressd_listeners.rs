//! Checks of egressd's listeners from the agent's side: the agent should reach the proxy, and
//! should not reach the management API.

use tokio::task::JoinSet;

use super::finding::{Finding, FindingState, SandboxCheck};
use super::http_probes::{
    ProbeOutcome, UNRESOLVED, Verdict, contains, probe_http, probe_http_at, worst_finding,
};
use super::network::NetworkProbe;
use super::runtimes::{self, RuntimeApi};
use crate::probe_client::{ProbeResponse, ProbeTarget};

/// The beginning of a list of connections in the management API.
const CONNECTION_LIST: &[u8] = b"{\"connections\":";
const API: &str = "/v1/connections";
const METRICS: &str = "/metrics";

/// A path that every listener for agents refuses before it looks at a connection, because it is not
/// canonical. Any other path could be one of an API, and egressd would add the credential.
const REFUSED_PATH: &str = "//";

/// Checks if egressd answers at the address that the agent uses. If the target is a name, one
/// address that answers is enough.
pub(super) async fn probe_proxy(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let shown = target.to_string();
    let outcomes = probe_http(&probe, target, REFUSED_PATH).await.into_iter();
    let verdicts = outcomes.map(|outcome| match outcome {
        ProbeOutcome::Response(response) if is_proxy(&response) => {
            (FindingState::Closed, "answers as egressd".into())
        }
        ProbeOutcome::Response(response) => other_server(&response),
        ProbeOutcome::NothingListens(why)
        | ProbeOutcome::NoResponse(why)
        | ProbeOutcome::NotTried(why) => (FindingState::Unknown, why.into()),
    });
    // Here closed is the good state: the agent must reach the proxy.
    let best = verdicts.min_by_key(|(state, _)| *state);
    let (state, seen) = best.unwrap_or((FindingState::Unknown, UNRESOLVED.into()));
    SandboxCheck::Proxy.finding(state, shown, seen)
}

/// Returns `true` for a refusal: every refusal has its code in the field `X-Egressd-Error`.
fn is_proxy(response: &ProbeResponse) -> bool {
    response.fields.contains_key("x-egressd-error")
}

fn other_server(response: &ProbeResponse) -> Verdict {
    let status = response.status.as_u16();
    let seen = format!("something other than egressd answers ({status})");
    (FindingState::Unknown, seen.into())
}

/// Checks if the management API answers without a password.
pub(super) async fn probe_management(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let found = (SandboxCheck::Management, format!("{target}{API}"));
    let classify = |response: &ProbeResponse| match response.status.as_u16() {
        200 if response.body.starts_with(CONNECTION_LIST) => {
            let seen = "lists the connections, without a password";
            (FindingState::Open, seen.into())
        }
        401 => (FindingState::Closed, "requires a password".into()),
        // egressd limits the rate of all requests, so this answer does not prove a password.
        429 => (
            FindingState::Unknown,
            "answers that it has too many requests; run the check again".into(),
        ),
        403 | 421 => (FindingState::Closed, "refuses to answer here".into()),
        _ => other_server(response),
    };
    worst_finding(&probe, (target, API), found, classify).await
}

/// Checks if the metrics can be read.
pub(super) async fn probe_metrics(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let found = (SandboxCheck::Metrics, format!("{target}{METRICS}"));
    let classify = |response: &ProbeResponse| match response.status.as_u16() {
        200 if contains(&response.body, b"egressd_") => (FindingState::Open, "can be read".into()),
        // The metrics of egressd need no login, but a server in front of them may require one.
        401 | 403 => (FindingState::Closed, "requires a password".into()),
        _ => other_server(response),
    };
    worst_finding(&probe, (target, METRICS), found, classify).await
}

/// Returns the targets without the listeners of egressd for agents. A request there could reach an
/// API with its credential.
async fn without_proxy_listeners(
    probe: &NetworkProbe,
    targets: Vec<ProbeTarget>,
) -> Vec<ProbeTarget> {
    let mut checks = JoinSet::new();
    for target in targets {
        let until = probe.deadline();
        checks.spawn(async move {
            let outcome = probe_http_at(target.clone(), REFUSED_PATH, until).await;
            let is_for_agents =
                matches!(&outcome, ProbeOutcome::Response(response) if is_proxy(response));
            (!is_for_agents).then_some(target)
        });
    }
    let others = checks.join_all().await;
    others.into_iter().flatten().collect()
}

/// Checks if the management API or the API of a container runtime answers at one of these
/// listeners, whose owners are unknown. Reports each open listener, and counts the others.
pub(super) async fn probe_listeners(
    probe: NetworkProbe,
    (targets, is_complete): (Vec<ProbeTarget>, bool),
) -> Vec<Finding> {
    let count = targets.len();
    let mut probes = JoinSet::new();
    for target in without_proxy_listeners(&probe, targets).await {
        probes.spawn(probe_management(probe.clone(), target.clone()));
        probes.spawn(probe_metrics(probe.clone(), target.clone()));
        // The default ports of container runtimes have separate checks.
        if runtimes::runtime_apis().all(|(known, _)| known != target) {
            probes.spawn(runtimes::probe_api(
                probe.clone(),
                target,
                RuntimeApi::Engine,
            ));
        }
    }
    let mut open = probes.join_all().await;
    // Any local service may listen there, so closed and unknown findings say nothing about egressd.
    open.retain(|finding| finding.state == FindingState::Open);
    open.sort_by(|a, b| a.target.cmp(&b.target));
    for check in [SandboxCheck::Management, SandboxCheck::Metrics] {
        let shown = "listeners";
        if !is_complete {
            let seen = format!("{count} were queried; there may be more");
            open.push(check.unknown(shown, seen));
        } else if open.iter().all(|finding| finding.check != check) {
            let seen = match count {
                0 => "no other listener in this network".to_owned(),
                1 => "1 other listener in this network, where it was not found".to_owned(),
                _ => format!("{count} other listeners in this network, where it was not found"),
            };
            open.push(check.closed(shown, seen));
        }
    }
    open
}
