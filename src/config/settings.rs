//! The settings of the process: listeners, limits, trust and logs.
//!
//! [`Settings`] holds converted values: addresses are parsed, seconds are durations, and
//! certificate authorities are read. Code outside `config` therefore opens no file and reads no
//! variable. Defaults and bounds of numbers are in `settings_spec`, and the default addresses are
//! in `listen`.

mod agent_listeners;
mod definition_rules;
mod listen;
mod read;
mod reader;
mod startup;
mod taken_addresses;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

pub(super) use definition_rules::{
    DefinitionRules, read_connector_directories, read_definition_rules,
};
pub(super) use read::{ReadSettings, read_management_listen, read_settings};
pub(super) use reader::SettingsReader;
pub use startup::StartupSettings;

use crate::config::secret_policy::SecretSettings;
use crate::domain::auth::BasicAuth;
use crate::domain::{Ceilings, ListenerScope};

/// All settings, from file, environment and flags.
pub struct Settings {
    /// `proxy`: the agents' side.
    pub proxy: ProxySettings,
    /// `management`: the operators' side.
    pub management: ManagementSettings,
    /// `mcp`: the Model Context Protocol on the agents' side.
    pub mcp: McpSettings,
    /// `egress`: the upstreams' side.
    pub egress: EgressSettings,
    /// The directories and files that hold definitions. Relative paths are already resolved.
    pub connections: Vec<PathBuf>,
    /// `token_store.directory`: the directory of the token store. A relative path is already
    /// resolved.
    pub token_store: PathBuf,
    /// The directories of connectors. Relative paths are already resolved.
    pub connectors: Vec<PathBuf>,
    /// The sources that connections may take their secrets from.
    pub secrets: SecretSettings,
    /// `limits`: the largest limits that connections may set.
    pub ceilings: Ceilings,
    /// `log`: the problem log and the access log.
    pub log: LogSettings,
    /// The time that exchanges in flight get to finish at shutdown.
    pub shutdown_grace_period: Duration,
}

/// `proxy`
pub struct ProxySettings {
    /// The addresses at which agents reach every connection. May be empty if there are other
    /// listeners. No two addresses of the process clash.
    pub listen: Vec<ListenAddress>,
    /// Accepted host names in addition to localhost and the loopback addresses, in lower case,
    /// without a port.
    pub allowed_hosts: Vec<String>,
    /// `proxy.listeners`: further listeners, which serve one or some of the connections.
    pub listeners: Vec<AgentListener>,
    /// The number of worker threads. 0 means one per core.
    pub workers: usize,
    /// The maximum number of open sockets.
    pub max_connections: usize,
    /// The maximum number of requests in flight.
    pub max_in_flight: usize,
    /// The largest request body, in bytes.
    pub max_request_body_bytes: u64,
    /// The time limit for reading the head of a request.
    pub header_read_timeout: Duration,
    /// The time after which a socket without a request is closed.
    pub idle_timeout: Duration,
    /// The longest pause between two pieces of a request's body.
    pub body_idle_timeout: Duration,
    /// The longest time for which an agent may stop reading a response.
    pub write_stall_timeout: Duration,
}

/// An item of `proxy.listeners`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentListener {
    /// The addresses that agents connect to. At least one.
    pub addresses: Vec<ListenAddress>,
    /// The connections that agents reach there; never all of them.
    pub scope: ListenerScope,
    /// Accepted host names, like those of [`ProxySettings`].
    pub allowed_hosts: Vec<String>,
}

/// `management`
pub struct ManagementSettings {
    /// The addresses that operators connect to. An empty list turns the management API off.
    pub listen: Vec<ListenAddress>,
    /// The login that `/v1` requires. Always set if an address is not loopback.
    pub basic_auth: Option<BasicAuth>,
}

/// `mcp`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McpSettings {
    /// `true` if `/mcp` is served.
    pub enabled: bool,
    /// The most bytes of a response's body that the result of a tool contains.
    pub max_result_bytes: u64,
}

/// `egress`
pub struct EgressSettings {
    /// The certificates of `ca_files`, each usable as a trust anchor. They are added to the roots
    /// of the platform.
    pub roots: Vec<CertificateDer<'static>>,
    /// The time limit for a TCP connect and the TLS handshake together.
    pub connect_timeout: Duration,
    /// The time after which an idle socket in the pool is closed.
    pub pool_idle_timeout: Duration,
    /// The maximum number of idle sockets per upstream.
    pub pool_max_idle_per_host: usize,
}

/// `log`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Text or JSON lines.
    pub format: LogFormat,
    /// The lowest level that is logged.
    pub level: EventLevel,
    /// The exchanges that get an access log line.
    pub access: AccessFilter,
}

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a TCP port.
    Tcp(SocketAddr),
    /// A Unix domain socket at this path.
    Unix(PathBuf),
}

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Text if the log goes to a terminal, otherwise JSON lines.
    #[default]
    Auto,
    /// Text.
    Text,
    /// JSON lines.
    Json,
}

/// `log.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventLevel {
    /// Failures.
    Error,
    /// Adds conditions that may lead to a failure.
    Warn,
    /// Adds start, reload and shutdown.
    #[default]
    Info,
    /// Adds sessions with upstreams, and tokens.
    Debug,
    /// Everything.
    Trace,
}

/// `log.access`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccessFilter {
    /// Every exchange.
    #[default]
    All,
    /// Exchanges that egressd refused, and others that were not forwarded.
    Refused,
    /// No exchange.
    Off,
}

impl ProxySettings {
    /// Returns all addresses that agents connect to, those of `proxy.listen` first.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        let others = self.listeners.iter();
        let others = others.flat_map(|listener| &listener.addresses);
        self.listen.iter().chain(others)
    }
}

impl ListenAddress {
    /// Returns whether only processes on this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Returns whether the two addresses cannot both be bound. Port 0, which the system replaces by
    /// a free one, never clashes.
    fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => {
                // `0.0.0.0` and `[::]` include every address of the machine; by default `[::]`
                // also accepts IPv4 (ipv6(7)).
                let any = a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() == b.port() && a.port() != 0 && (any || a.ip() == b.ip())
            }
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
