//! Connection tests of egressd's own listeners from the agent's side: the proxy, which the agent
//! should reach, and the others, which it should not.

use std::io::ErrorKind;

use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::finding::{Check, Finding, State};
use super::reach::{Reach, reason, shut};
use super::runtimes::{self, Api};
use crate::cli::knock::{Answer, Door, Silence};

/// Shown of an answer nobody expected.
const STRANGER: &str = "something else than egressd answers";
const UNRESOLVED: &str = "the name does not resolve";
/// How a list of connections begins.
const LISTS: &[u8] = b"{\"connections\":";
const API: &str = "/v1/connections";
const METRICS: &str = "/metrics";

/// What came of a question.
pub(super) enum Heard {
    Answer(Answer),
    /// Nobody is there, and why.
    Nobody(String),
    /// Somebody is, who does not answer.
    Mute(String),
    /// It could not be found out, and why.
    Untried(String),
}

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

/// Of a door that is not for the agent one address that is open is enough.
pub(super) fn worst(
    check: Check,
    shown: &str,
    heard: Vec<Heard>,
    judge: impl Fn(Answer) -> Finding,
) -> Finding {
    let found = heard.into_iter().map(|heard| match heard {
        Heard::Answer(answer) => judge(answer),
        Heard::Nobody(why) => check.closed(shown, why),
        Heard::Mute(why) | Heard::Untried(why) => check.unknown(shown, why),
    });
    found
        .max_by_key(|finding| finding.state)
        .unwrap_or_else(|| check.closed(shown, UNRESOLVED))
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

/// What each address of a door says; none, if its name does not resolve.
pub(super) async fn hear(reach: &Reach, door: Door, path: &'static str) -> Vec<Heard> {
    let until = reach.until();
    let resolved = timeout_at(until, reach.resolved(door)).await;
    let mut asked = JoinSet::new();
    for door in resolved.unwrap_or_default() {
        asked.spawn(hear_at(door, path, until));
    }
    asked.join_all().await
}

pub(super) async fn hear_at(door: Door, path: &'static str, until: Instant) -> Heard {
    match door.get(path, until).await {
        Ok(answer) => Heard::Answer(answer),
        Err(Silence::Mute) => {
            Heard::Mute("something listens there that does not answer in HTTP".to_owned())
        }
        Err(Silence::Slow) => Heard::Mute("something listens there and does not answer".to_owned()),
        Err(Silence::Closed(error)) => {
            let why = reason(&error).to_ascii_lowercase();
            let nobody = shut(&error).is_some()
                || matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::TimedOut
                );
            if nobody {
                Heard::Nobody(why)
            } else {
                Heard::Untried(format!("could not try: {why}"))
            }
        }
    }
}

pub(super) fn has(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}
