//! What the whole process is told: listeners, limits, trust, logs.
//!
//! [`Settings`] is the refined side: addresses parsed, seconds turned into durations, certificate authorities read, so that nothing
//! past `config` opens a file or looks at the environment again. Every default and every bound has its home in `read`.

mod listen;
mod read;
mod startup;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

pub(super) use read::{
    ReadSettings, SettingsReader, read_management_listen, read_secret_settings, read_settings,
};
pub use startup::StartupSettings;

use crate::config::secret_policy::SecretSettings;
use crate::domain::auth::BasicAuth;

/// Everything of the settings file, the environment and the flags.
pub struct Settings {
    /// Towards agents.
    pub proxy: ProxySettings,
    /// Towards operators.
    pub management: ManagementSettings,
    /// Towards upstreams.
    pub egress: EgressSettings,
    /// The directories and files that hold definitions, ready to be opened.
    pub connections: Vec<PathBuf>,
    /// The sources that connections may take their secrets from.
    pub secrets: SecretSettings,
    /// What is written, and how.
    pub log: LogSettings,
    /// How long exchanges under way may take once the process is told to end.
    pub shutdown_grace_period: Duration,
}

/// `proxy`
pub struct ProxySettings {
    /// Where agents connect to; at least one, no two alike.
    pub listen: Vec<ListenAddress>,
    /// Host names beside localhost and the loopback addresses, in lower case, without a port.
    pub allowed_hosts: Vec<String>,
    /// Threads; 0: one per core.
    pub workers: usize,
    /// Sockets at once.
    pub max_connections: usize,
    /// Requests at once.
    pub max_in_flight: usize,
    /// The largest request body, in bytes.
    pub max_request_body_bytes: u64,
    /// How long a request's head may take.
    pub header_read_timeout: Duration,
    /// How long a socket may lie idle between requests.
    pub idle_timeout: Duration,
    /// How long an agent may pause within a request's body.
    pub body_idle_timeout: Duration,
    /// How long an agent may leave a response unread.
    pub write_stall_timeout: Duration,
}

/// `management`
pub struct ManagementSettings {
    /// Where operators connect to; empty: nowhere.
    pub listen: Vec<ListenAddress>,
    /// What `/v1` asks for. Always there if an address is not loopback.
    pub basic_auth: Option<BasicAuth>,
}

/// `egress`
pub struct EgressSettings {
    /// The certificates of `ca_files`, each fit to be a trust anchor. Added to the platform's roots.
    pub roots: Vec<CertificateDer<'static>>,
    /// How long a TCP connect and its TLS handshake may take.
    pub connect_timeout: Duration,
    /// How long a pooled socket may lie idle.
    pub pool_idle_timeout: Duration,
    /// Idle sockets kept per upstream.
    pub pool_max_idle_per_host: usize,
}

/// `log`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Text or JSON lines.
    pub format: LogFormat,
    /// How much is told.
    pub level: EventLevel,
    /// Which exchanges get an access line.
    pub access: AccessFilter,
}

/// An address that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix domain socket at this path.
    Unix(PathBuf),
}

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Text on a terminal, else JSON lines.
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
    /// What failed.
    Error,
    /// And what may fail soon.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And everything else.
    Trace,
}

/// `log.access`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccessFilter {
    /// Every exchange.
    #[default]
    All,
    /// What egressd refused.
    Refused,
    /// None.
    Off,
}

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether the two cannot both be bound. A port chosen by the system (0) never clashes.
    fn clashes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => {
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
