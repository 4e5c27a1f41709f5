//! The events of the problem log. An event has a stable name for programs, a level, a sentence for
//! people, and fields.
//!
//! Texts in an event come from egressd, the configuration or the system, and never from an agent,
//! an upstream or a token endpoint.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::EventLevel::{self, Debug, Error, Info, Warn};
use super::changes::{self, ChangeSummary};
use super::grant_event::GrantEvent;
use super::parts::{
    ConfigProblem, ListenerKind, LogStream, ResponsePart, TokenFault, held_secret,
    shown_connections, shown_measures, shown_scope, with_plural,
};
use crate::domain::{Changes, ConnectionId};
use crate::telemetry::json;

/// The minimum time between two events about failed logins.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// The minimum time between two events about surplus bytes of one connection. An upstream can send
/// such bytes with every response.
const SURPLUS_PAUSE: Duration = Duration::from_secs(60);
/// The minimum time between two events about failed dials of one connection. Each failed exchange
/// also has its access line.
const DIAL_PAUSE: Duration = Duration::from_secs(60);
/// The minimum time between two events about the assumed life of one token. Such a token is
/// obtained every few minutes.
const LIFE_PAUSE: Duration = Duration::from_secs(60 * 60);

events! {
    /// An event of the process.
    enum Event, with Grant(GrantEvent);

    /// A listener is bound.
    Listening {
        /// The callers that it is for.
        listener: ListenerKind,
        /// `host:port`, or `unix:path`.
        address: Box<str>,
        /// The connection at the root of the listener.
        #[serde(skip_serializing_if = "Option::is_none")]
        connection: Option<ConnectionId>,
        /// The connections that the listener serves, unless it is every connection.
        #[serde(skip_serializing_if = "Option::is_none")]
        connections: Option<Box<[ConnectionId]>>,
    } => "listening", Info, (
        "{} connect to {address}{}", listener.clients(),
        shown_scope(connection.as_ref(), connections.as_deref())
    );

    /// All listeners are bound, and requests are answered.
    Ready {
        /// The number of connections.
        connections: usize,
    } => "ready", Info, ("ready with {}", with_plural(*connections, "configured connection"));

    /// The process could not start.
    StartFailed {
        /// The text of `app::StartError`: an address and the system's error.
        #[serde(skip)]
        why: Box<str>,
    } => "start_failed", Error, ("{why}");

    /// The process received a signal to stop.
    Stopping => "stopping", Info,
        ("stopping after a signal, once the exchanges in flight have ended; a second signal ends the process at once");

    /// The process stopped.
    Stopped {
        /// The number of exchanges that were in flight when the grace period ended.
        cut_off: usize,
    } => "stopped", if *cut_off == 0 { Info } else { Warn }, ("stopped{}", match *cut_off {
        0 => String::new(),
        1 => "; 1 exchange was cut off at the end of the grace period".to_owned(),
        more => format!("; {more} exchanges were cut off at the end of the grace period"),
    });

    /// The process received SIGHUP, but it was started without a configuration file.
    ReloadUnsupported => "reload_unsupported", Warn,
        ("SIGHUP ignored: there is no configuration file to reload");

    /// A new generation of the configuration is in use.
    Reloaded {
        /// The number of the generation; the configuration at the start is 1.
        generation: u64,
        /// The number of connections that are not soft-deleted.
        connections: usize,
        /// The hash of the definitions of this generation.
        hash: Box<str>,
        /// The changes since the previous generation.
        #[serde(flatten, serialize_with = "changes::serialize_changes")]
        changes: Changes,
    } => "reloaded", Info,
        ("configuration reloaded: generation {generation}, live connections {connections}; {}", ChangeSummary(changes));

    /// A reload found problems, so the current generation stays in use.
    ReloadFailed {
        /// The number of problems. Each is also a [`Event::ConfigProblem`].
        problems: usize,
    } => "reload_failed", Error,
        ("configuration not reloaded: {}, logged before; the current configuration stays in use", with_plural(*problems, "problem"));

    /// The files could not be read because the system has no descriptor or memory left.
    ReloadPostponed => "reload_postponed", Warn,
        ("the configuration cannot be read: no file descriptor or memory is left; the current \
          configuration stays in use, and egressd reads the files again within seconds");

    /// A file could not be read because it is in a directory that the hardened process has no
    /// access to.
    OutOfReach => "out_of_reach", Warn,
        (
        "a configured file cannot be read: hardening limits this process to the directories that \
         contained its files at the start; restart egressd to use a file elsewhere"
    );

    /// The token store is in use, and the hardened process has no access to it.
    StoreOutOfReach => "out_of_reach", Warn,
        (
        "the token store cannot be written: hardening gives this process no access to a store that \
         appeared after the start; restart egressd to use it"
    );

    /// The credentials of the management API were replaced.
    LoginChanged => "login_changed", Info, ("management credentials replaced");

    /// Settings changed that take effect only at the start.
    RestartNeeded {
        /// The paths of the settings.
        settings: Vec<&'static str>,
    } => "restart_needed", Warn,
        ("changed settings take effect only after a restart: {}", settings.join(", "));

    /// A file is a mount of its own. A container then never sees a replacement of the file, because
    /// the mount keeps the old inode.
    MountedAlone {
        /// The path as the operator wrote it.
        file: Box<str>,
    } => "mounted_alone", Warn,
        ("{file} is a mount of its own (a `subPath`, or a single file bound into a container), so a \
          replacement of it will not be seen; mount its directory instead");

    /// The system cannot report file changes, so contents are compared regularly.
    Unwatched {
        /// The system's error.
        #[serde(skip)]
        why: Box<str>,
    } => "unwatched", Warn,
        ("the system does not report file changes ({why}); egressd compares the files every 5 s instead");

    /// A problem in the configuration that stops a reload.
    ConfigProblem {
        /// The problem.
        #[serde(flatten)]
        problem: Box<ConfigProblem>,
    } => "config_problem", Error, ("{problem}");

    /// A problem in the configuration that stops neither the start nor a reload.
    ConfigWarning {
        /// The problem.
        #[serde(flatten)]
        problem: Box<ConfigProblem>,
    } => "config_warning", Warn, ("{problem}");

    /// The system configures no name server.
    NoNameServers => "no_name_servers", Warn,
        (
        "no name server: resolv.conf is missing, unreadable or lists none, so only the names in the \
         hosts file can be resolved"
    );

    /// The descriptor limit leaves room for fewer agents' sockets than the settings allow.
    FewDescriptors {
        /// The descriptor limit.
        limit: usize,
        /// The number of agents' sockets that it leaves room for.
        sockets: usize,
        /// The setting `proxy.max_connections`.
        wanted: usize,
    } => "few_descriptors", Warn,
        ("the limit of {limit} open files leaves room for {sockets} agent sockets, not the {wanted} of \
          proxy.max_connections: raise the limit (`ulimit -n`, `LimitNOFILE=`), or lower the setting");

    /// The process has dropped privileges.
    Hardened {
        /// `true` if no requested measure failed.
        #[serde(skip)]
        succeeded: bool,
        /// The measures in the order in which they are taken, each with `held`, `off` or the reason
        /// why it failed.
        #[serde(flatten, serialize_with = "json::serialize_pairs")]
        measures: Vec<(&'static str, Box<str>)>,
    } => "hardening", if *succeeded { Info } else { Warn }, ("hardening:{}", shown_measures(measures));

    /// No token was obtained.
    TokenFailed {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// The reason.
        #[serde(flatten)]
        fault: TokenFault,
        /// The time during which no further token request is sent.
        #[serde(rename = "retry_in_ms", serialize_with = "json::serialize_millis")]
        retry_in: Duration,
        /// The number of consecutive failures, including this one.
        in_a_row: u32,
    } => "token_failed", Warn, (
        "could not obtain a token for {}: {fault}; next attempt in {:.0} s at the earliest{}",
        shown_connections(connections), retry_in.as_secs_f64().ceil(), fault.remedy_clause()
    );

    /// A token was obtained after failures.
    TokenRecovered {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// The number of consecutive failures before it.
        failures: u32,
    } => "token_recovered", Info, (
        "obtained a token for {} after {}",
        shown_connections(connections), with_plural(*failures as usize, "failed attempt")
    );

    /// A token was obtained.
    TokenObtained {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// The seconds for which the token may be used; `None` if only the requests that waited for
        /// it may use it.
        life_s: Option<u64>,
    } => "token_obtained", Debug, (
        "obtained a token for {}, usable {}", shown_connections(connections), match life_s {
            Some(seconds) => format!("for {seconds} s"),
            None => "only by the requests that waited for it".to_owned(),
        }
    );

    /// The life of a token could not be read from the response of the token endpoint.
    TokenLifeAssumed {
        /// The connections with this credential.
        connections: Box<[ConnectionId]>,
        /// The field that should contain the life.
        field: &'static str,
        /// The life that is assumed instead, in seconds.
        life_s: u64,
    } => "token_life_assumed", Warn, (
        "the token endpoint of {} sent an `{field}` that is not a number of seconds; egressd assumes {life_s} s",
        shown_connections(connections)
    ), every LIFE_PAUSE for connections.first().map_or("", ConnectionId::as_str);

    /// A TLS session with an upstream was established.
    UpstreamDialled {
        /// The connection.
        connection: ConnectionId,
        /// `h2` or `http/1.1`.
        protocol: &'static str,
        /// The time from the start of name resolution.
        #[serde(rename = "took_ms", serialize_with = "json::serialize_millis")]
        took: Duration,
    } => "upstream_dialled", Debug,
        ("connected to the upstream of connection {connection} over {protocol} in {} ms", took.as_millis());

    /// An upstream cannot be reached.
    UpstreamUnreachable {
        /// The connection.
        connection: ConnectionId,
        /// The error type of RFC 9209.
        fault: &'static str,
    } => "upstream_unreachable", Warn, (
        "the upstream of connection {connection} cannot be reached ({fault}); `egressd probe {connection}` \
         shows the step that fails"
    ),
        every DIAL_PAUSE for connection.as_str();

    /// An address of an upstream must not be dialled (S5).
    AddressRefused {
        /// The connection.
        connection: ConnectionId,
        /// The kind of address.
        kind: &'static str,
    } => "address_refused", Warn, (
        "the upstream of connection {connection} has a forbidden address ({kind}); \
         `allowed_private_cidrs` can allow most non-public addresses"
    ),
        every DIAL_PAUSE for connection.as_str();

    /// The system had no descriptor or memory left for a socket.
    DialResourcesExhausted {
        /// The connection.
        connection: ConnectionId,
    } => "dial_shortage", Warn, (
        "no file descriptor or memory is left for a socket to the upstream of connection {connection}; \
         raise the limit of open files (`ulimit -n`) or of memory"
    ), every DIAL_PAUSE for connection.as_str();

    /// An upstream sent bytes that belong to no request, and its socket was closed.
    UpstreamSurplus {
        /// The connection.
        connection: ConnectionId,
    } => "upstream_surplus", Warn, (
        "the upstream of connection {connection} sent bytes that belong to no request; the socket was \
         closed, and the response before them may belong to another request"
    ), every SURPLUS_PAUSE for connection.as_str();

    /// A response contained a secret. The fields identify the secret without its value.
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
        /// `true` if the secret is short enough to be guessed, so the connection now refuses all
        /// requests.
        closed: bool,
        /// `true` if the response contained a text that begins like the secret, but not the secret.
        /// Such guesses are refused once the secret was exposed.
        guess: bool,
    } => "credential_reflected", if *closed { Error } else { Warn }, (
        "the {} of a response through connection {connection} contained {}{}", part.as_str(),
        held_secret(secret, header.as_deref(), owner.as_ref().filter(|owner| *owner != connection), *guess),
        if *closed {
            "; the secret is short enough to be guessed, so the connection refuses all requests until a reload changes the credential"
        } else {
            ""
        }
    );

    /// Memory use has reached the level at which new requests are refused.
    MemoryShort {
        /// Bytes in use.
        used_bytes: u64,
        /// The memory limit in bytes.
        limit_bytes: u64,
    } => "memory_short", Warn,
        ("memory is short ({used_bytes} of {limit_bytes} bytes in use): new requests are refused, except a few at a time");

    /// Memory use has fallen, and new requests are accepted again.
    MemoryRecovered {
        /// Bytes in use.
        used_bytes: u64,
        /// The memory limit in bytes; 0 if the limit was removed.
        limit_bytes: u64,
    } => "memory_recovered", Info, ("memory is no longer short: new requests are accepted again");

    /// A request to the management API had a wrong name or password.
    LoginFailed => "login_failed", Warn, ("a request to the management API had a wrong name or password"),
        every LOGIN_PAUSE for "";

    /// A thread panicked. The event has the place and not the message, which may contain anything.
    Panicked {
        /// The name of the thread.
        thread: Box<str>,
        /// The source file; empty if it is unknown.
        file: Box<str>,
        /// The line in the source file; 0 if it is unknown.
        line: u32,
    } => "panic", Error,
        (
        "internal error, please report it: {thread} panicked at {file}:{line} (the message is omitted, \
         because it could contain a secret)"
    );

    /// Lines of a log were lost because the queue was full or the stream failed.
    LinesLost {
        /// The log.
        log: LogStream,
        /// The number of lines.
        lines: u64,
    } => "lines_lost", Warn,
        ("lost {} of the {} log: the stream was not read in time, or failed", with_plural(*lines as usize, "line"), log.as_str());
}
