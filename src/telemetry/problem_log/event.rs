//! The events of the problem log. An event is a name for programs, a level, a sentence for people,
//! and fields.
//!
//! Texts in an event are ours, the operator's own configuration, or the system's; never an agent's, an upstream's or a token endpoint's.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::EventLevel::{self, Debug, Error, Info, Warn};
use super::changes::{self, ChangeSummary};
use super::parts::{
    ConfigProblem, ListenerKind, LogStream, ResponsePart, TokenFault, held_secret, shown_ids,
    shown_measures, with_plural,
};
use crate::domain::{Changes, ConnectionId};
use crate::telemetry::json;

/// The shortest time between two events about wrong passwords.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// The shortest time between two events about surplus bytes of one connection, because an upstream
/// can send some with every response.
const SURPLUS_PAUSE: Duration = Duration::from_secs(60);
/// The shortest time between two events about failed dials of one connection: its exchanges have
/// access lines.
const DIAL_PAUSE: Duration = Duration::from_secs(60);
/// The shortest time between two events about the assumed life of one token, because such a token
/// is obtained every few minutes.
const LIFE_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Defines every event in one place: its fields as a line has them, its name, its level, its
/// sentence (without a full stop), and for an event that requests bring about, how often it is
/// logged at most for one subject.
macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $variant:ident $({ $($(#[$attribute:meta])* $field:ident: $type:ty,)* })?
            => $name:literal, $level:expr, ($($sentence:tt)+)
            $(, every $pause:ident for $subject:expr)?;
    )*) => {
        /// Something that happened. Serializes as the fields of its line.
        #[derive(Debug, Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $($(#[$doc])* $variant $({ $($(#[$attribute])* $field: $type,)* })?,)*
        }

        impl Event {
            /// Returns the stable name, in `snake_case`.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// Returns how much the event matters.
            pub fn level(&self) -> EventLevel {
                match self {
                    $(Self::$variant $({ $($field,)* })? => { $($(let _ = $field;)*)? $level })*
                }
            }

            /// Returns the subject that tells the event from others of its name, and how long after
            /// an event the next one of the same subject is left out.
            pub(super) fn rate_limit(&self) -> Option<(&str, Duration)> {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        $($(let _ = $field;)*)?
                        None$(.or(Some(($subject, $pause))))?
                    })*
                }
            }
        }

        impl fmt::Display for Event {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        $($(let _ = $field;)*)?
                        write!(f, $($sentence)+)
                    })*
                }
            }
        }
    };
}

events! {
    /// A listener is bound.
    Listening {
        /// For whom.
        listener: ListenerKind,
        /// `host:port`, or `unix:path`.
        address: Box<str>,
    } => "listening", Info, ("{} connect to {address}", listener.clients());

    /// Every listener is bound, and requests are answered.
    Ready {
        /// How many connections there are.
        connections: usize,
    } => "ready", Info, ("ready with {}", with_plural(*connections, "connection"));

    /// The process did not start.
    StartFailed {
        /// The sentence of `app::StartError`: an address and the system's error.
        #[serde(skip)]
        why: Box<str>,
    } => "start_failed", Error, ("{why}");

    /// A signal to stop was received.
    Stopping => "stopping", Info, ("stopping; a second signal ends at once");

    /// The process stopped.
    Stopped {
        /// How many exchanges were under way when the grace period was over.
        cut_off: usize,
    } => "stopped", if *cut_off == 0 { Info } else { Warn }, ("stopped{}", match *cut_off {
        0 => String::new(),
        1 => "; 1 exchange was cut off".to_owned(),
        more => format!("; {more} exchanges were cut off"),
    });

    /// SIGHUP, where there is no configuration file to reload.
    ReloadUnsupported => "reload_unsupported", Warn,
        ("SIGHUP: there is no configuration to read anew");

    /// A new generation of the configuration is in use.
    Reloaded {
        /// Its number.
        generation: u64,
        /// How many live connections it has.
        connections: usize,
        /// The hash of its definitions.
        hash: Box<str>,
        /// What it changed.
        #[serde(flatten, serialize_with = "changes::serialize_changes")]
        changes: Changes,
    } => "reloaded", Info,
        ("reloaded: generation {generation}, live connections {connections}; {}", ChangeSummary(changes));

    /// A reload found problems; the generation before stays in use.
    ReloadFailed {
        /// How many; each has an event of its own.
        problems: usize,
    } => "reload_failed", Error, ("not reloaded, problems {problems}: the configuration in use stays");

    /// The files could not be read because the system has no descriptor or memory left.
    ReloadPostponed => "reload_postponed", Warn,
        ("the configuration cannot be read: no file descriptor or memory is left; the configuration in \
          use stays, and egressd reads the files again within seconds");

    /// Something that could not be read lies where the process gave up access at its start.
    OutOfReach => "out_of_reach", Warn,
        ("since its start this process reads only the directories that its files lay in then: a file elsewhere takes a restart");

    /// The credentials of the management API were replaced.
    LoginChanged => "login_changed", Info, ("the login of the management API is another one now");

    /// Settings changed that take effect at the start only.
    RestartNeeded {
        /// Their paths.
        settings: Vec<&'static str>,
    } => "restart_needed", Warn,
        ("changed, and without effect until the next start: {}", settings.join(", "));

    /// A file is a mount of its own, so a successor of it will never be seen.
    MountedAlone {
        /// As the operator names it.
        file: Box<str>,
    } => "mounted_alone", Warn,
        ("{file} is a mount of its own (a `subPath`, or a single file that a container was given): \
          a new one will not be seen; mount its directory");

    /// The system does not report changes; contents are compared now and then.
    Unwatched {
        /// The system's error.
        #[serde(skip)]
        why: Box<str>,
    } => "unwatched", Warn,
        ("the system does not tell of changed files ({why}): they are compared every few seconds");

    /// A finding about the configuration that stops a reload.
    ConfigProblem {
        /// The finding.
        #[serde(flatten)]
        problem: Box<ConfigProblem>,
    } => "config_problem", Error, ("{problem}");

    /// A finding about the configuration that stops nothing.
    ConfigWarning {
        /// The finding.
        #[serde(flatten)]
        problem: Box<ConfigProblem>,
    } => "config_warning", Warn, ("{problem}");

    /// The system names no name server.
    NoNameServers => "no_name_servers", Warn,
        ("resolv.conf is missing, unreadable or names no server: only the hosts file is left");

    /// The descriptor limit leaves room for fewer agents' sockets than the settings allow.
    FewDescriptors {
        /// The descriptor limit.
        limit: usize,
        /// The number of sockets that there is room for.
        sockets: usize,
        /// The setting `proxy.max_connections`.
        wanted: usize,
    } => "few_descriptors", Warn,
        ("the limit of {limit} open files leaves room for {sockets} agent sockets, not the {wanted} of \
          proxy.max_connections: raise it (`ulimit -n`, `LimitNOFILE=`), or lower the setting");

    /// The process has dropped privileges.
    Hardened {
        /// No measure that was asked for failed.
        #[serde(skip)]
        succeeded: bool,
        /// Measures in the order in which they are taken, each with `held`, `off` or why it failed.
        #[serde(flatten, serialize_with = "json::serialize_pairs")]
        measures: Vec<(&'static str, Box<str>)>,
    } => "hardening", if *succeeded { Info } else { Warn }, ("hardening:{}", shown_measures(measures));

    /// No token was obtained.
    TokenFailed {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// Why.
        #[serde(flatten)]
        fault: TokenFault,
        /// How long the token endpoint is left alone.
        #[serde(rename = "retry_in_ms", serialize_with = "json::serialize_millis")]
        retry_in: Duration,
        /// Failures in a row, this one among them.
        in_a_row: u32,
    } => "token_failed", Warn, (
        "no token for {}: {fault}; asked again in {:.0} s at the earliest{}",
        shown_ids(connections), retry_in.as_secs_f64().ceil(), fault.remedy_clause()
    );

    /// A token was obtained after failures.
    TokenRecovered {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// Failures in a row before it.
        failures: u32,
    } => "token_recovered", Info, (
        "a token for {} again, after {}",
        shown_ids(connections), with_plural(*failures as usize, "failure")
    );

    /// A token was obtained.
    TokenObtained {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// How many seconds it may be used; `None`: by the requests that waited for it.
        life_s: Option<u64>,
    } => "token_obtained", Debug, ("a token for {}", shown_ids(connections));

    /// The life of a token could not be read.
    TokenLifeAssumed {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// The field of the response that should have it.
        field: &'static str,
        /// The life that is assumed instead, in seconds.
        life_s: u64,
    } => "token_life_assumed", Warn, (
        "the token endpoint of {} sends an `{field}` that is not a number of seconds; {life_s} s are assumed",
        shown_ids(connections)
    ), every LIFE_PAUSE for connections.first().map_or("", ConnectionId::as_str);

    /// A TLS session with an upstream is established.
    UpstreamDialled {
        /// The connection.
        connection: ConnectionId,
        /// `h2` or `http/1.1`.
        protocol: &'static str,
        /// From the name's lookup on.
        #[serde(rename = "took_ms", serialize_with = "json::serialize_millis")]
        took: Duration,
    } => "upstream_dialled", Debug,
        ("{protocol} with the upstream of {connection} after {} ms", took.as_millis());

    /// An upstream cannot be reached.
    UpstreamUnreachable {
        /// The connection.
        connection: ConnectionId,
        /// The error type of RFC 9209.
        fault: &'static str,
    } => "upstream_unreachable", Warn, ("the upstream of {connection} cannot be reached ({fault})"),
        every DIAL_PAUSE for connection.as_str();

    /// An address of an upstream's name may not be dialled.
    AddressRefused {
        /// The connection.
        connection: ConnectionId,
        /// The kind of address.
        kind: &'static str,
    } => "address_refused", Warn, ("the upstream of {connection} has a forbidden address ({kind})"),
        every DIAL_PAUSE for connection.as_str();

    /// The system had no descriptor or memory left for a socket.
    DialShortage {
        /// The connection.
        connection: ConnectionId,
    } => "dial_shortage", Warn, (
        "no file descriptor or memory is left for a socket to the upstream of {connection}; \
         raise the limit of open files (`ulimit -n`) or of memory"
    ), every DIAL_PAUSE for connection.as_str();

    /// An upstream sent bytes that belong to no request. The socket is closed.
    UpstreamSurplus {
        /// The connection.
        connection: ConnectionId,
    } => "upstream_surplus", Warn, (
        "the upstream of {connection} sent bytes that belong to no request; the socket is closed, \
         and the answer before them may belong to another request"
    ), every SURPLUS_PAUSE for connection.as_str();

    /// A response held a secret. Identifies the secret without its value.
    CredentialReflected {
        /// The connection that the response came through.
        connection: ConnectionId,
        /// The part of the response.
        #[serde(rename = "where")]
        part: ResponsePart,
        /// The kind of secret, in `snake_case`.
        secret: &'static str,
        /// The configured header that carries the secret, if there is one.
        header: Option<Box<str>>,
        /// The connection that the secret belongs to, if it is known.
        owner: Option<ConnectionId>,
        /// `true` if the secret can be guessed, so the connection now refuses all requests.
        closed: bool,
        /// `true` if the response held a text that begins like the secret, and not the secret. Such
        /// guesses are refused once the secret was exposed.
        guess: bool,
    } => "credential_reflected", if *closed { Error } else { Warn }, (
        "{connection}: the {} of a response held {}{}", part.as_str(),
        held_secret(secret, header.as_deref(), owner.as_ref().filter(|owner| *owner != connection), *guess),
        if *closed {
            "; it is short enough to be guessed, so the connection is closed until a reload changes it"
        } else {
            ""
        }
    );

    /// Memory has become short.
    MemoryShort {
        /// Bytes in use.
        used_bytes: u64,
        /// Bytes that may be used.
        limit_bytes: u64,
    } => "memory_short", Warn,
        ("memory is short ({used_bytes} of {limit_bytes} bytes): new requests are refused, but for a few");

    /// Memory is no longer short.
    MemoryRecovered {
        /// Bytes in use.
        used_bytes: u64,
        /// Bytes that may be used; 0 if there is no limit any more.
        limit_bytes: u64,
    } => "memory_recovered", Info, ("memory is no longer short: requests are taken as ever");

    /// A wrong name or password on the management listener.
    LoginFailed => "login_failed", Warn, ("a wrong name or password for the management API"),
        every LOGIN_PAUSE for "";

    /// A panic, by its place: its message may hold anything.
    Panicked {
        /// The thread's name.
        thread: Box<str>,
        /// A file of the source; empty if it is not known.
        file: Box<str>,
        /// Its line.
        line: u32,
    } => "panic", Error,
        ("a bug: {thread} panicked at {file}:{line} (the message is left out: it may hold anything)");

    /// Lines of a log were lost: the queue was full, or nobody read.
    LinesLost {
        /// The log.
        log: LogStream,
        /// How many.
        lines: u64,
    } => "lines_lost", Warn,
        ("{lines} lines of the {} log were lost: nobody read them in time", log.as_str());
}
