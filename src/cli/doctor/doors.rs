//! egressd's own doors as the agent sees them: the one that it is to use, and those that are not for it. And sockets of container runtimes.

use std::io::ErrorKind;
use std::path::Path;

use http::StatusCode;
use tokio::time::timeout_at;

use super::finding::{Check, Finding};
use super::reach::{Reach, reason, shut};
use crate::cli::knock::{Answer, Door, Silence};

/// Shown of an answer nobody expected.
const STRANGER: &str = "something else than egressd answers";

/// What came of a question.
enum Heard {
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
    match hear(&reach, door, "/").await {
        Heard::Answer(answer) if is_proxy(&answer) => check.closed(shown, "answers as egressd"),
        Heard::Answer(answer) => {
            check.unknown(shown, format!("{STRANGER} ({})", answer.status.as_u16()))
        }
        Heard::Nobody(why) | Heard::Mute(why) | Heard::Untried(why) => check.unknown(shown, why),
    }
}

/// Lists of connections begin like this, and every refusal has its code in a field.
fn is_proxy(answer: &Answer) -> bool {
    let lists = answer.status == StatusCode::OK && answer.body.starts_with(b"{\"connections\":");
    lists || answer.fields.contains_key("x-egressd-error")
}

/// Does the management API answer without a password?
pub(super) async fn management(reach: Reach, door: Door) -> Finding {
    let check = Check::Management;
    let shown = format!("{door}/v1/connections");
    match hear(&reach, door, "/v1/connections").await {
        Heard::Answer(answer) => match answer.status.as_u16() {
            200 if answer.body.starts_with(b"{\"connections\":") => {
                check.open(shown, "lists the connections, without a password")
            }
            401 | 429 => check.closed(shown, "asks for a password"),
            403 | 421 => check.closed(shown, "refuses to answer here"),
            status => check.unknown(shown, format!("{STRANGER} ({status})")),
        },
        Heard::Nobody(why) => check.closed(shown, why),
        Heard::Mute(why) | Heard::Untried(why) => check.unknown(shown, why),
    }
}

/// Are the metrics there to be read?
pub(super) async fn metrics(reach: Reach, door: Door) -> Finding {
    let check = Check::Metrics;
    let shown = format!("{door}/metrics");
    match hear(&reach, door, "/metrics").await {
        Heard::Answer(answer) => match answer.status.as_u16() {
            200 if has(&answer.body, b"egressd_") => check.open(shown, "can be read"),
            401 | 403 => check.closed(shown, "asks for a password"),
            status => check.unknown(shown, format!("{STRANGER} ({status})")),
        },
        Heard::Nobody(why) => check.closed(shown, why),
        Heard::Mute(why) | Heard::Untried(why) => check.unknown(shown, why),
    }
}

/// Can a container runtime be told to do something?
pub(super) async fn runtime_socket(reach: Reach, path: &'static str) -> Finding {
    let check = Check::RuntimeSocket;
    match hear(&reach, Door::Unix(Path::new(path).to_owned()), "/").await {
        Heard::Answer(_) | Heard::Mute(_) => check.open(path, "a connection was accepted"),
        Heard::Nobody(why) => check.closed(path, why),
        Heard::Untried(why) => check.unknown(path, why),
    }
}

async fn hear(reach: &Reach, door: Door, path: &'static str) -> Heard {
    let until = reach.until();
    let resolved = timeout_at(until, reach.resolved(door)).await;
    let Ok(Some(door)) = resolved else {
        return Heard::Nobody("the name does not resolve".to_owned());
    };
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

fn has(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}
