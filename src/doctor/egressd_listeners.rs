//! Connection tests of egressd's own listeners from the agent's side: the proxy, which the agent
//! should reach, and the others, which it should not.

use http::StatusCode;
use tokio::task::JoinSet;

use super::finding::{Check, Finding, State};
use super::http_probes::{Heard, UNRESOLVED, has, hear, worst};
use super::network::Reach;
use super::runtimes::{self, Api};
use crate::probe_client::{Answer, Door};

/// Shown of an answer nobody expected.
const STRANGER: &str = "something else than egressd answers";
/// How a list of connections begins.
const LISTS: &[u8] = b"{\"connections\":";
const API: &str = "/v1/connections";
const METRICS: &str = "/metrics";

/// The agent's own door.
pub(super) async fn proxy(reach: Reach, door: Door) -> Finding {
    let check = Check::Proxy;
    let shown = door.to_string();
    let judge = |heard| match heard {
        Heard::Answer(answer) if is_proxy(&answer) => {
            check.closed(shown.clone(), "answers as egressd")
        }
        Heard::Answer(answer) => check.unknown(
            shown.clone(),
            format!("{STRANGER} ({})", answer.status.as_u16()),
        ),
        Heard::Nobody(why) | Heard::Mute(why) | Heard::Untried(why) => {
            check.unknown(shown.clone(), why)
        }
    };
    // One address that answers is enough for the agent.
    let found = hear(&reach, door, "/").await.into_iter().map(judge);
    found
        .min_by_key(|finding| finding.state)
        .unwrap_or_else(|| check.unknown(shown.clone(), UNRESOLVED))
}

/// Lists of connections begin like this, and every refusal has its code in a field.
fn is_proxy(answer: &Answer) -> bool {
    let lists = answer.status == StatusCode::OK && answer.body.starts_with(LISTS);
    lists || answer.fields.contains_key("x-egressd-error")
}

/// Does the management API answer without a password?
pub(super) async fn management(reach: Reach, door: Door) -> Finding {
    let check = Check::Management;
    let shown = format!("{door}{API}");
    let judge = |answer: Answer| match answer.status.as_u16() {
        200 if answer.body.starts_with(LISTS) => {
            check.open(shown.clone(), "lists the connections, without a password")
        }
        401 | 429 => check.closed(shown.clone(), "asks for a password"),
        403 | 421 => check.closed(shown.clone(), "refuses to answer here"),
        status => check.unknown(shown.clone(), format!("{STRANGER} ({status})")),
    };
    worst(check, &shown, hear(&reach, door, API).await, judge)
}

/// Are the metrics there to be read?
pub(super) async fn metrics(reach: Reach, door: Door) -> Finding {
    let check = Check::Metrics;
    let shown = format!("{door}{METRICS}");
    let judge = |answer: Answer| match answer.status.as_u16() {
        200 if has(&answer.body, b"egressd_") => check.open(shown.clone(), "can be read"),
        401 | 403 => check.closed(shown.clone(), "asks for a password"),
        status => check.unknown(shown.clone(), format!("{STRANGER} ({status})")),
    };
    worst(check, &shown, hear(&reach, door, METRICS).await, judge)
}

/// Checks if the management API or a container runtime's API answers at one of these sockets, whose
/// owners are unknown. Reports each open socket separately, and does not identify the others.
pub(super) async fn listening(reach: Reach, (doors, all): (Vec<Door>, bool)) -> Vec<Finding> {
    let count = doors.len();
    let mut asked = JoinSet::new();
    for door in doors {
        asked.spawn(management(reach.clone(), door.clone()));
        asked.spawn(metrics(reach.clone(), door.clone()));
        // The usual ports of container runtimes have separate checks.
        if runtimes::apis().all(|(known, _)| known != door) {
            asked.spawn(runtimes::api(reach.clone(), door, Api::Engine));
        }
    }
    let mut open = asked.join_all().await;
    open.retain(|finding| finding.state == State::Open);
    open.sort_by(|a, b| a.target.cmp(&b.target));
    for check in [Check::Management, Check::Metrics] {
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
