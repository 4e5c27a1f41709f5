//! HTTP requests to listeners, and the meaning of their responses and errors.

use std::borrow::Cow;
use std::io::ErrorKind;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::finding::{Finding, FindingState, SandboxCheck};
use super::network::NetworkProbe;
use super::socket_error::{closed_reason, reason};
use crate::probe_client::{ProbeFailure, ProbeResponse, ProbeTarget};

pub(super) const UNRESOLVED: &str = "the name does not resolve";

/// The outcome of a request.
pub(super) enum ProbeOutcome {
    Response(ProbeResponse),
    /// The address has no listener, with the reason.
    NothingListens(String),
    /// A listener accepted the connection and sent no HTTP response.
    NoResponse(String),
    /// The request could not be sent, with the reason.
    NotTried(String),
}

/// The state that a response shows, and its description.
pub(super) type Verdict = (FindingState, Cow<'static, str>);

/// Sends `GET path` to each address of a target that the agent should not reach. Returns the worst
/// finding, because one open address is enough for an agent. The finding names the target as
/// `shown`.
pub(super) async fn worst_finding(
    probe: &NetworkProbe,
    (target, path): (ProbeTarget, &'static str),
    (check, shown): (SandboxCheck, String),
    classify: impl Fn(&ProbeResponse) -> Verdict,
) -> Finding {
    let outcomes = probe_http(probe, target, path).await.into_iter();
    let verdicts = outcomes.map(|outcome| match outcome {
        ProbeOutcome::Response(response) => classify(&response),
        ProbeOutcome::NothingListens(why) => (FindingState::Closed, why.into()),
        ProbeOutcome::NoResponse(why) | ProbeOutcome::NotTried(why) => {
            (FindingState::Unknown, why.into())
        }
    });
    // `FindingState` orders the states from closed to open.
    let worst = verdicts.max_by_key(|(state, _)| *state);
    let (state, seen) = worst.unwrap_or((FindingState::Closed, UNRESOLVED.into()));
    check.finding(state, shown, seen)
}

/// Returns the outcome for each address of a target; none if its name does not resolve.
pub(super) async fn probe_http(
    probe: &NetworkProbe,
    target: ProbeTarget,
    path: &'static str,
) -> Vec<ProbeOutcome> {
    let until = probe.deadline();
    let resolved = timeout_at(until, probe.resolve(target)).await;
    let mut requests = JoinSet::new();
    for target in resolved.unwrap_or_default() {
        requests.spawn(probe_http_at(target, path, until));
    }
    requests.join_all().await
}

pub(super) async fn probe_http_at(
    target: ProbeTarget,
    path: &'static str,
    until: Instant,
) -> ProbeOutcome {
    match target.get(path, until).await {
        Ok(answer) => ProbeOutcome::Response(answer),
        Err(ProbeFailure::NotHttp) => ProbeOutcome::NoResponse(
            "something listens there that does not answer in HTTP".to_owned(),
        ),
        Err(ProbeFailure::TimedOut) => {
            ProbeOutcome::NoResponse("something listens there and does not answer".to_owned())
        }
        Err(ProbeFailure::NotConnected(error)) => {
            let why = reason(&error).to_ascii_lowercase();
            let has_no_listener = closed_reason(&error).is_some()
                || matches!(
                    error.kind(),
                    // The errors of a Unix socket without a file.
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::TimedOut
                );
            if has_no_listener {
                ProbeOutcome::NothingListens(why)
            } else {
                ProbeOutcome::NotTried(format!("could not try: {why}"))
            }
        }
    }
}

pub(super) fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}
