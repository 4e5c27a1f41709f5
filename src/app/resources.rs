//! The resources that must be acquired before the process is confined: listeners are bound, and the
//! files of the system are read. No thread runs yet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::descriptors::{DescriptorNeeds, DescriptorShares};
use crate::clock::Clock;
use crate::config::{self, ManagementSettings, ProxySettings, Settings};
use crate::domain::ListenerScope;
use crate::management::ListenerOverview;
use crate::memory::MemoryMonitor;
use crate::proxy::Listener;
use crate::server::{self, ListenAddress};
use crate::telemetry::problem_log::ListenerKind;
use crate::upstream::{ResolverSettings, Trust};

/// The bound listeners, and values of the system that are read once.
pub struct StartResources {
    pub(super) bound: BoundListeners,
    /// The number of threads that serve agents. It is read once, because a confined process cannot
    /// read the quota of its control group.
    pub(super) workers: usize,
    pub(super) trust: Trust,
    pub(super) resolver: ResolverSettings,
    /// `true` if the system has no name server configured.
    pub(super) has_no_name_servers: bool,
    /// The memory limit, if there is one. Its files stay open, so a confined process can still read
    /// them.
    pub(super) memory: Option<MemoryMonitor>,
    /// The clock that token lifetimes are measured on.
    pub(super) clock: Clock,
    pub(super) descriptors: DescriptorShares,
}

/// The listeners, before any of them is served.
pub(super) struct BoundListeners {
    pub(super) proxy: Vec<BoundAgentListener>,
    pub(super) management: Vec<server::BoundListener>,
}

/// A bound address of a listener for agents.
pub(super) struct BoundAgentListener {
    pub(super) listener: Listener,
    pub(super) bound: server::BoundListener,
}

/// The addresses that are bound.
pub(super) struct BoundAddresses {
    /// The addresses for agents.
    pub(super) proxy: Vec<ListenAddress>,
    /// The same, with the connections that each serves.
    pub(super) listeners: Arc<[ListenerOverview]>,
    /// The addresses for operators.
    pub(super) management: Vec<ListenAddress>,
}

/// The reason why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {1}: {2}; use another one with `{flag} ADDRESS`", flag = listen_flag(*.0))]
    Bind(ListenerKind, ListenAddress, io::Error),
    /// An address of `proxy.listeners` cannot be bound.
    #[error("cannot listen on {0}: {1}; set another one in `proxy.listeners`")]
    BindListener(ListenAddress, io::Error),
    /// A certificate of `ca_files` cannot be a root of trust.
    #[error("a certificate in `egress.ca_files` cannot be used as a trust anchor")]
    Trust,
    /// The system refused a thread, a descriptor or an event queue.
    #[error(
        "the system refused a thread or a descriptor: {0}; raise `ulimit -u`, `ulimit -n` or `pids.max` of the control group"
    )]
    System(#[from] io::Error),
}

fn listen_flag(listener: ListenerKind) -> &'static str {
    match listener {
        ListenerKind::Proxy => "--listen",
        ListenerKind::Management => "--management-listen",
    }
}

impl StartResources {
    /// Binds every listener and reads what is read once: roots of trust, name servers, the hosts
    /// file; and opens what is read again and again: the memory limit.
    pub fn acquire(settings: &Settings) -> Result<Self, StartError> {
        let trust = Trust::from_platform(&settings.egress.roots).map_err(|_| StartError::Trust)?;
        let workers = worker_count(settings);
        let bound = BoundListeners {
            proxy: bind_agent_listeners(&settings.proxy, workers)?,
            management: bind_management(&settings.management)?,
        };
        let (resolver, no_name_servers) = ResolverSettings::from_system();
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
            resolver,
            has_no_name_servers: no_name_servers.is_some(),
            memory,
            clock: Clock::system(),
            descriptors,
        })
    }

    /// Replaces the memory limit of the process.
    pub fn with_memory_monitor(self, memory: Option<MemoryMonitor>) -> Self {
        Self { memory, ..self }
    }

    /// Replaces the clock that token lifetimes are measured on, for tests that suspend the machine.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

fn bind_agent_listeners(
    settings: &ProxySettings,
    workers: usize,
) -> Result<Vec<BoundAgentListener>, StartError> {
    let mut bound = Vec::new();
    let everything = Arc::default();
    for listen in &settings.listen {
        let fault = |address, error| StartError::Bind(ListenerKind::Proxy, address, error);
        bound.push(BoundAgentListener {
            bound: bind(listen, workers, fault)?,
            listener: Listener {
                address: listen.to_string().into(),
                scope: ListenerScope::All,
                allowed_hosts: settings.allowed_hosts.clone(),
                listings: Arc::clone(&everything),
            },
        });
    }
    for listener in &settings.listeners {
        let listings = Arc::default();
        for listen in &listener.addresses {
            bound.push(BoundAgentListener {
                bound: bind(listen, workers, StartError::BindListener)?,
                listener: Listener {
                    address: listen.to_string().into(),
                    scope: listener.scope.clone(),
                    allowed_hosts: listener.allowed_hosts.clone(),
                    listings: Arc::clone(&listings),
                },
            });
        }
    }
    Ok(bound)
}

fn bind_management(
    settings: &ManagementSettings,
) -> Result<Vec<server::BoundListener>, StartError> {
    let fault = |address, error| StartError::Bind(ListenerKind::Management, address, error);
    // The management API has one thread, so one handle of each listener.
    let bound = settings.listen.iter().map(|listen| bind(listen, 1, fault));
    bound.collect()
}

fn bind(
    listen: &config::ListenAddress,
    workers: usize,
    fault: impl Fn(ListenAddress, io::Error) -> StartError,
) -> Result<server::BoundListener, StartError> {
    let address = match listen {
        config::ListenAddress::Tcp(address) => ListenAddress::Tcp(*address),
        config::ListenAddress::Unix(path) => ListenAddress::Unix(path.clone()),
    };
    server::bind(&address, workers).map_err(|error| fault(address, error))
}

impl BoundListeners {
    /// Returns the addresses of all listeners.
    pub(super) fn addresses(&self) -> BoundAddresses {
        let overview = |listener: &BoundAgentListener| ListenerOverview {
            address: listener.bound.address.to_string(),
            scope: listener.listener.scope.clone(),
        };
        let management = self.management.iter().map(|bound| bound.address.clone());
        BoundAddresses {
            proxy: self.agent_addresses().cloned().collect(),
            listeners: self.proxy.iter().map(overview).collect(),
            management: management.collect(),
        }
    }

    fn agent_addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.proxy.iter().map(|listener| &listener.bound.address)
    }

    /// Returns the TCP addresses. The dialer refuses to connect to them, so that a connection
    /// cannot lead back to egressd.
    pub(super) fn tcp_addresses(&self) -> Arc<[SocketAddr]> {
        let management = self.management.iter().map(|bound| &bound.address);
        let all = self.agent_addresses().chain(management);
        let tcp = all.filter_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        tcp.collect()
    }
}

/// Returns the number of threads that serve agents; by default one for each CPU that the process
/// may use.
fn worker_count(settings: &Settings) -> usize {
    match settings.proxy.workers {
        // Respects the CPU affinity and the CPU quota of the control group.
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}
