//! What the start takes from the system while the process still may: listeners are bound, files are read. After it the process may be confined; no thread runs
//! yet.

use std::io;
use std::net::SocketAddr;

use super::descriptors::{DescriptorNeeds, DescriptorShares};
use crate::clock::Clock;
use crate::config::{Listen, Settings};
use crate::memory::MemoryMonitor;
use crate::server::{self, ListenAddress};
use crate::upstream::{ResolverSettings, Trust};

/// Bound listeners, and what is read once.
pub struct Ground {
    pub(super) bound: Bound,
    /// How many threads serve agents. Asked once: a confined process no longer sees the quota of its control group.
    pub(super) workers: usize,
    pub(super) trust: Trust,
    pub(super) names: ResolverSettings,
    /// The system names no name server.
    pub(super) unresolvable: bool,
    /// The memory limit, if there is one. Its files stay open.
    pub(super) memory: Option<MemoryMonitor>,
    /// The clock that token lifetimes are measured on.
    pub(super) clock: Clock,
    pub(super) descriptors: DescriptorShares,
}

/// The listeners, before any of them is served.
pub(super) struct Bound {
    pub(super) proxy: Vec<server::BoundListener>,
    pub(super) management: Vec<server::BoundListener>,
}

/// Why it could not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be bound.
    Bind(Listener, ListenAddress, io::Error),
    /// A certificate of `ca_files` cannot be a root of trust.
    Trust,
    /// The system gives us no thread or no event queue.
    System(io::Error),
}

/// For whom an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// For agents.
    Proxy,
    /// For operators.
    Management,
}

impl Ground {
    /// Binds every listener and reads what is read once: roots of trust, name servers, the hosts file; and opens what is read again and again: the memory limit.
    pub fn take(settings: &Settings) -> Result<Self, StartError> {
        let trust = Trust::from_platform(&settings.egress.roots).map_err(|_| StartError::Trust)?;
        let workers = worker_count(settings);
        let bound = Bound {
            proxy: bind_all(Listener::Proxy, &settings.proxy.listen, workers)?,
            management: bind_all(Listener::Management, &settings.management.listen, 1)?,
        };
        let (names, unresolvable) = ResolverSettings::from_system();
        let memory = MemoryMonitor::from_system();
        let descriptors = DescriptorShares::for_process(DescriptorNeeds {
            workers,
            proxy_listeners: bound.proxy.len(),
            management_listeners: bound.management.len(),
            max_connections: settings.proxy.max_connections,
        });
        Ok(Self {
            bound,
            workers,
            trust,
            names,
            unresolvable: unresolvable.is_some(),
            memory,
            clock: Clock::system(),
            descriptors,
        })
    }

    /// The same within this memory limit instead of the process's own.
    pub fn within(self, memory: Option<MemoryMonitor>) -> Self {
        Self { memory, ..self }
    }

    /// Replaces the clock that token lifetimes are measured on, for tests that suspend the machine.
    pub fn counting_on(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

fn bind_all(
    listener: Listener,
    listen: &[Listen],
    workers: usize,
) -> Result<Vec<server::BoundListener>, StartError> {
    let bind = |listen: &Listen| {
        let address = match listen {
            Listen::Tcp(address) => ListenAddress::Tcp(*address),
            Listen::Unix(path) => ListenAddress::Unix(path.clone()),
        };
        server::bind(&address, workers).map_err(|error| StartError::Bind(listener, address, error))
    };
    listen.iter().map(bind).collect()
}

/// Where these listen.
pub(super) fn addresses(bound: &[server::BoundListener]) -> Vec<ListenAddress> {
    bound.iter().map(|bound| bound.address.clone()).collect()
}

/// An address that could be dialled by mistake.
pub(super) fn tcp(address: &ListenAddress) -> Option<SocketAddr> {
    match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

/// How many threads serve agents.
fn worker_count(settings: &Settings) -> usize {
    match settings.proxy.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(listener, address, error) => {
                let flag = match listener {
                    Listener::Proxy => "--listen",
                    Listener::Management => "--management-listen",
                };
                write!(
                    f,
                    "cannot listen on {address}: {error}; `{flag} ADDRESS` takes another one"
                )
            }
            Self::Trust => {
                f.write_str("a certificate of egress.ca_files cannot be a root of trust")
            }
            Self::System(error) => write!(
                f,
                "the system gives too few threads or descriptors (`ulimit -u`, `ulimit -n`, the control group's `pids.max`): {error}"
            ),
        }
    }
}

impl std::error::Error for StartError {}
