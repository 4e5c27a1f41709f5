//! Events of the configuration under a running process: what a reload changed, and what none will.

use std::fmt;

use super::EventLevel;
use crate::domain::{Changes, ConnectionId};
use crate::telemetry::json::JsonLine;

/// Connections that a sentence names, of each kind of change.
const NAMED: usize = 3;
/// Connections that a line's fields name, of each kind of change.
const LISTED: usize = 100;

/// Something that happened to the configuration.
#[derive(Debug)]
pub enum ReloadEvent {
    /// A new generation is in use.
    Done {
        /// Its number.
        generation: u64,
        /// How many live connections it has.
        connections: usize,
        /// The name of what it says.
        hash: Box<str>,
        /// What it changed.
        changes: Changes,
    },
    /// A reload found problems; the generation before stays in use.
    Failed {
        /// How many; each has an event of its own.
        problems: usize,
    },
    /// The files could not be read because the system has no descriptor or memory left.
    Postponed,
    /// Among what could not be read is something that the process gave up at its start, when nothing of the configuration lay there.
    OutOfReach,
    /// The login of the management API is another one now.
    LoginChanged,
    /// Settings that take effect at the start only are not what they were then.
    NeedsRestart {
        /// Their paths.
        settings: Vec<&'static str>,
    },
    /// A file that is a mount of its own: a successor of it will never be seen.
    MountedAlone {
        /// As the operator names it.
        file: Box<str>,
    },
    /// The system does not tell of changes; contents are compared now and then.
    Unwatched {
        /// The system's error.
        why: Box<str>,
    },
}

impl ReloadEvent {
    pub(super) fn level(&self) -> EventLevel {
        match self {
            Self::Failed { .. } => EventLevel::Error,
            Self::Postponed
            | Self::OutOfReach
            | Self::NeedsRestart { .. }
            | Self::MountedAlone { .. }
            | Self::Unwatched { .. } => EventLevel::Warn,
            Self::Done { .. } | Self::LoginChanged => EventLevel::Info,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "reloaded",
            Self::Failed { .. } => "reload_failed",
            Self::Postponed => "reload_postponed",
            Self::OutOfReach => "out_of_reach",
            Self::LoginChanged => "login_changed",
            Self::NeedsRestart { .. } => "restart_needed",
            Self::MountedAlone { .. } => "mounted_alone",
            Self::Unwatched { .. } => "unwatched",
        }
    }

    pub(super) fn fields(&self, object: &mut JsonLine<'_>) {
        match self {
            Self::Done {
                generation,
                connections,
                hash,
                changes,
            } => {
                object.number("generation", *generation);
                object.number("connections", *connections as u64);
                object.text("hash", hash);
                let ids = |ids: &[ConnectionId]| -> Vec<String> {
                    let ids = ids.iter().take(LISTED);
                    ids.map(ToString::to_string).collect()
                };
                let texts = |texts: Vec<String>| texts.into_iter();
                let changed = changes.changed.iter().take(LISTED);
                let changed = changed.map(|one| format!("{}: {}", one.id, one.fields.join(", ")));
                for (key, texts) in [
                    ("added", texts(ids(&changes.added))),
                    ("removed", texts(ids(&changes.removed))),
                    ("changed", texts(changed.collect())),
                ] {
                    object.texts(key, texts.as_slice().iter().map(String::as_str));
                }
            }
            Self::Failed { problems } => object.number("problems", *problems as u64),
            Self::NeedsRestart { settings } => object.texts("settings", settings.iter().copied()),
            Self::MountedAlone { file } => object.text("file", file),
            Self::Postponed | Self::OutOfReach | Self::LoginChanged | Self::Unwatched { .. } => {}
        }
    }
}

impl fmt::Display for ReloadEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done {
                generation,
                connections,
                hash: _,
                changes,
            } => {
                write!(
                    f,
                    "reloaded: generation {generation}, live connections {connections}; "
                )?;
                sentence(changes, f)
            }
            Self::Failed { problems } => write!(
                f,
                "not reloaded, problems {problems}: the configuration in use stays"
            ),
            Self::Postponed => f.write_str(
                "the configuration cannot be read: no file descriptor or memory is left; the configuration in \
                 use stays, and egressd reads the files again within seconds",
            ),
            Self::OutOfReach => f.write_str(
                "since its start this process reads only the directories that its files lay in then: a file elsewhere takes a restart",
            ),
            Self::LoginChanged => f.write_str("the login of the management API is another one now"),
            Self::NeedsRestart { settings } => write!(
                f,
                "changed, and without effect until the next start: {}",
                settings.join(", ")
            ),
            Self::MountedAlone { file } => write!(
                f,
                "{file} is a mount of its own (a `subPath`, or a single file that a container was given): \
                 a new one will not be seen; mount its directory"
            ),
            Self::Unwatched { why } => write!(
                f,
                "the system does not tell of changed files ({why}): they are compared every few seconds"
            ),
        }
    }
}

fn sentence(changes: &Changes, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let ids = |ids: &[ConnectionId]| ids.iter().map(ToString::to_string).collect();
    let changed = changes.changed.iter();
    let changed = changed.map(|one| format!("{} ({})", one.id, one.fields.join(", ")));
    let kinds: [(&str, Vec<String>); 3] = [
        ("added", ids(&changes.added)),
        ("removed", ids(&changes.removed)),
        ("changed", changed.collect()),
    ];
    let mut before = "";
    for (word, all) in kinds.iter().filter(|(_, all)| !all.is_empty()) {
        let named: Vec<&str> = all.iter().take(NAMED).map(String::as_str).collect();
        write!(f, "{before}{word} {}", named.join(", "))?;
        match all.len().saturating_sub(NAMED) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        before = "; ";
    }
    if changes.is_empty() {
        f.write_str("nothing changed")?;
    }
    Ok(())
}
