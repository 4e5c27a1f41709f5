//! HTTP requests to listeners that may answer, and what their answers and errors mean.

use std::io::ErrorKind;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::finding::{Check, Finding};
use super::network::Reach;
use super::socket_error::{reason, shut};
use crate::probe_client::{Answer, Door, Silence};

pub(super) const UNRESOLVED: &str = "the name does not resolve";

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
