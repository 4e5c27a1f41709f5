//! All that the problem log can say. An event is a level, a name for programs, a sentence for people, and typed fields.
//!
//! Texts in an event are ours, the operator's own configuration, or the system's; never an agent's, an upstream's or a token endpoint's.

use std::fmt;
use std::time::Duration;

use super::EventLevel;
use super::memory::MemoryEvent;
use super::outward::{TokenEvent, UpstreamEvent};
use super::reflections::ReflectionEvent;
use super::reloads::ReloadEvent;
use crate::domain::ConnectionId;
use crate::telemetry::json::JsonLine;

/// How often a wrong password is told of at most.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two events about surplus bytes of one connection, because an upstream
/// can send some with every response.
const SURPLUS_PAUSE: Duration = Duration::from_secs(60);

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A listener is bound.
    Listening {
        /// For whom.
        door: ListenerKind,
        /// `host:port`, or `unix:path`.
        address: Box<str>,
    },
    /// Every listener is bound, and requests are answered.
    Ready {
        /// How many connections there are.
        connections: usize,
    },
    /// The process did not start.
    StartFailed {
        /// The sentence of `app::StartError`: an address and the system's error.
        why: Box<str>,
    },
    /// Told to stop.
    Stopping,
    /// Stopped.
    Stopped {
        /// How many exchanges were under way when the grace period was over.
        cut_off: usize,
    },
    /// SIGHUP, where there is nothing to read anew.
    ReloadUnsupported,
    /// Of the configuration under a running process.
    Reload(ReloadEvent),
    /// A finding about the configuration that stops a reload.
    ConfigProblem(Box<ConfigFinding>),
    /// A finding about the configuration that stops nothing.
    ConfigWarning(Box<ConfigFinding>),
    /// The system names no name server.
    NoNameServers,
    /// The descriptor limit leaves room for fewer agents' sockets than the settings allow.
    FewDescriptors {
        /// The descriptor limit.
        limit: usize,
        /// The number of sockets that there is room for.
        sockets: usize,
        /// The setting `proxy.max_connections`.
        wanted: usize,
    },
    /// What the process gave up at its start: each measure by name, and `held`, `off` or why it failed.
    Hardened {
        /// Nothing that was asked for failed.
        whole: bool,
        /// Measures in the order in which they are taken.
        measures: Vec<(&'static str, Box<str>)>,
    },
    /// Of a token.
    Token(TokenEvent),
    /// Of a connection's upstream.
    Upstream(UpstreamEvent),
    /// An upstream sent bytes that belong to no request. The socket is closed.
    UpstreamSurplus {
        /// The connection.
        connection: ConnectionId,
    },
    /// A response held a secret.
    Reflected(ReflectionEvent),
    /// Of the process's memory limit.
    Memory(MemoryEvent),
    /// A wrong password on the management listener.
    LoginFailed,
    /// A panic, by its place: its message may hold anything.
    Panicked {
        /// The thread's name.
        thread: Box<str>,
        /// A file of the source; empty if it is not known.
        file: Box<str>,
        /// Its line.
        line: u32,
    },
    /// Lines of a log were lost: the queue was full, or nobody read.
    LinesLost {
        /// The log.
        log: LogStream,
        /// How many.
        lines: u64,
    },
}

/// For whom a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// For agents.
    Proxy,
    /// For operators.
    Management,
}

/// One of the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Exchanges.
    Access,
    /// Events.
    Problems,
}

/// A finding about the configuration, as `egressd check` reports it.
#[derive(Debug)]
pub struct ConfigFinding {
    /// The stable name of the kind of finding.
    pub code: &'static str,
    /// The file, as the operator reaches it.
    pub file: String,
    /// 1-based.
    pub line: Option<u32>,
    /// The path of the field.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl Event {
    /// How much it matters.
    pub fn level(&self) -> EventLevel {
        match self {
            Self::StartFailed { .. } | Self::Panicked { .. } | Self::ConfigProblem(_) => {
                EventLevel::Error
            }
            Self::Stopped { cut_off: 1.. }
            | Self::ReloadUnsupported
            | Self::ConfigWarning(_)
            | Self::NoNameServers
            | Self::FewDescriptors { .. }
            | Self::Hardened { whole: false, .. }
            | Self::UpstreamSurplus { .. }
            | Self::LoginFailed
            | Self::LinesLost { .. } => EventLevel::Warn,
            Self::Listening { .. }
            | Self::Ready { .. }
            | Self::Stopping
            | Self::Hardened { whole: true, .. }
            | Self::Stopped { cut_off: 0 } => EventLevel::Info,
            Self::Reload(reload) => reload.level(),
            Self::Memory(memory) => memory.level(),
            Self::Token(token) => token.level(),
            Self::Upstream(upstream) => upstream.level(),
            Self::Reflected(reflection) => reflection.level(),
        }
    }

    /// A stable name, in `snake_case`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::Ready { .. } => "ready",
            Self::StartFailed { .. } => "start_failed",
            Self::Stopping => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::ReloadUnsupported => "reload_unsupported",
            Self::Reload(reload) => reload.name(),
            Self::ConfigProblem(_) => "config_problem",
            Self::ConfigWarning(_) => "config_warning",
            Self::NoNameServers => "no_name_servers",
            Self::FewDescriptors { .. } => "few_descriptors",
            Self::Hardened { .. } => "hardening",
            Self::Memory(memory) => memory.name(),
            Self::Token(token) => token.name(),
            Self::Upstream(upstream) => upstream.name(),
            Self::UpstreamSurplus { .. } => "upstream_surplus",
            Self::Reflected(_) => "credential_reflected",
            Self::LoginFailed => "login_failed",
            Self::Panicked { .. } => "panic",
            Self::LinesLost { .. } => "lines_lost",
        }
    }

    /// What tells it from others of its name, and how long after one the next is left out; for events that requests bring about.
    pub(super) fn rate_limit(&self) -> Option<(&str, Duration)> {
        match self {
            Self::Token(token) => token.rate_limit(),
            Self::Upstream(upstream) => upstream.rate_limit(),
            Self::UpstreamSurplus { connection } => Some((connection.as_str(), SURPLUS_PAUSE)),
            Self::LoginFailed => Some(("", LOGIN_PAUSE)),
            Self::Listening { .. }
            | Self::Ready { .. }
            | Self::StartFailed { .. }
            | Self::Stopping
            | Self::Stopped { .. }
            | Self::ReloadUnsupported
            | Self::Reload(_)
            | Self::ConfigProblem(_)
            | Self::ConfigWarning(_)
            | Self::NoNameServers
            | Self::FewDescriptors { .. }
            | Self::Hardened { .. }
            | Self::Memory(_)
            | Self::Reflected(_)
            | Self::Panicked { .. }
            | Self::LinesLost { .. } => None,
        }
    }

    /// Its fields, for programs.
    pub(super) fn fields(&self, object: &mut JsonLine<'_>) {
        match self {
            Self::Listening { door, address } => {
                object.text("listener", door.as_str());
                object.text("address", address);
            }
            Self::Ready { connections } => object.number("connections", *connections as u64),
            Self::Stopped { cut_off } => object.number("cut_off", *cut_off as u64),
            Self::Reload(reload) => reload.fields(object),
            Self::ConfigProblem(finding) | Self::ConfigWarning(finding) => finding.fields(object),
            Self::Hardened { measures, .. } => {
                for (measure, state) in measures {
                    object.text(measure, state);
                }
            }
            Self::FewDescriptors {
                limit,
                sockets,
                wanted,
            } => {
                object.number("limit", *limit as u64);
                object.number("sockets", *sockets as u64);
                object.number("wanted", *wanted as u64);
            }
            Self::Memory(memory) => memory.fields(object),
            Self::Token(token) => token.fields(object),
            Self::Upstream(upstream) => upstream.fields(object),
            Self::UpstreamSurplus { connection } => {
                object.text("connection", connection.as_str());
            }
            Self::Reflected(reflection) => reflection.fields(object),
            Self::Panicked { thread, file, line } => {
                object.text("thread", thread);
                object.text("file", file);
                object.number("line", u64::from(*line));
            }
            Self::LinesLost { log, lines } => {
                object.text("log", log.as_str());
                object.number("lines", *lines);
            }
            Self::StartFailed { .. }
            | Self::Stopping
            | Self::ReloadUnsupported
            | Self::NoNameServers
            | Self::LoginFailed => {}
        }
    }
}

/// A sentence for people, without a full stop.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { door, address } => write!(f, "{} connect to {address}", door.clients()),
            Self::Ready { connections: 1 } => f.write_str("ready with 1 connection"),
            Self::Ready { connections } => write!(f, "ready with {connections} connections"),
            Self::StartFailed { why } => f.write_str(why),
            Self::Stopping => f.write_str("stopping; a second signal ends at once"),
            Self::Stopped { cut_off: 0 } => f.write_str("stopped"),
            Self::Stopped { cut_off: 1 } => f.write_str("stopped; 1 exchange was cut off"),
            Self::Stopped { cut_off } => write!(f, "stopped; {cut_off} exchanges were cut off"),
            Self::ReloadUnsupported => {
                f.write_str("SIGHUP: there is no configuration to read anew")
            }
            Self::Reload(reload) => reload.fmt(f),
            Self::ConfigProblem(finding) | Self::ConfigWarning(finding) => finding.fmt(f),
            Self::NoNameServers => f.write_str(
                "resolv.conf is missing, unreadable or names no server: only the hosts file is left",
            ),
            Self::FewDescriptors {
                limit,
                sockets,
                wanted,
            } => write!(
                f,
                "the limit of {limit} open files leaves room for {sockets} agent sockets, not the {wanted} of \
                 proxy.max_connections: raise it (`ulimit -n`, `LimitNOFILE=`), or lower the setting"
            ),
            Self::Hardened { measures, .. } => {
                f.write_str("hardening:")?;
                for (at, (measure, state)) in measures.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma} {measure} {state}")?;
                }
                Ok(())
            }
            Self::Memory(memory) => memory.fmt(f),
            Self::Token(token) => token.fmt(f),
            Self::Upstream(upstream) => upstream.fmt(f),
            Self::UpstreamSurplus { connection } => write!(
                f,
                "the upstream of {connection} sent bytes that belong to no request; the socket is closed, and the answer before them may belong to another request"
            ),
            Self::Reflected(reflection) => reflection.fmt(f),
            Self::LoginFailed => f.write_str("a wrong name or password for the management API"),
            Self::Panicked { thread, file, line } => write!(
                f,
                "a bug: {thread} panicked at {file}:{line} (the message is left out: it may hold anything)"
            ),
            Self::LinesLost { log, lines } => {
                write!(f, "{lines} lines of the {} log were lost: nobody read them in time", log.as_str())
            }
        }
    }
}

impl ListenerKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Management => "management",
        }
    }

    fn clients(self) -> &'static str {
        match self {
            Self::Proxy => "agents",
            Self::Management => "operators",
        }
    }
}

impl LogStream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Problems => "problem",
        }
    }
}

impl ConfigFinding {
    fn fields(&self, object: &mut JsonLine<'_>) {
        object.text("code", self.code);
        object.text("file", &self.file);
        object.number_or_null("line", self.line.map(u64::from));
        object.text("field", &self.field);
        object.text("remedy", &self.remedy);
    }
}

impl fmt::Display for ConfigFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}
