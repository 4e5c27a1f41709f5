//! The composition root: builds every part of the process once, passes to each part only what it
//! needs, starts the threads, and stops them.
//!
//! Each worker is a thread with a current-thread runtime, and has its own accept queue, upstream
//! sockets and ticker. The alternative, one multi-threaded runtime with a shared pool, was slower
//! (responses of 1 KiB, 32 sockets, two cores, two runs of four rounds each, compared with nginx):
//! the CPU time of a request was 0.95–0.97 of nginx's with workers and 0.95–1.01 with the shared
//! runtime, and p99 latency was 0.83–0.95 against 1.06–1.55. Threads are not pinned to cores,
//! because a pinned thread waits while another process uses its core.

mod background;
mod confinement;
mod descriptors;
mod drain;
mod logs;
mod management;
mod memory;
mod process;
mod resources;
mod signals;
mod threads;
mod tokens;
mod upstream_factory;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::config::{Loaded, McpSettings, ProxySettings, Settings, SourceFiles};
use crate::hardening::Hardening;
use crate::management::Management;
use crate::memory::{MemoryMonitor, MemoryShortage, return_freed};
use crate::proxy::admission::Admission;
use crate::proxy::body_budget::BodyBudget;
use crate::proxy::{self, Listener, ListenerService, Proxy};
use crate::server::{
    self, AcceptLoop, AtCapacity, ListenAddress, ListenerHandle, SocketLimits, Ticker,
};
use crate::snapshot::{PublishedSnapshot, Snapshot};
use crate::telemetry::{AccessLog, Event, Logs, ProblemLog};
use background::ReloadInput;
pub use confinement::{HardeningMode, needed_paths};
pub use descriptors::claim_descriptors;
use drain::WorkerSockets;
pub use logs::{Output, log_format, start_logs};
use management::{ProcessFacts, management_access, management_login, management_service};
use memory::MemorySampler;
pub use process::{Launch, ProcessEnd, start_error};
use resources::{BoundAddresses, BoundAgentListener, BoundListeners};
pub use resources::{StartError, StartResources};
pub use signals::SignalStreams;
use threads::{on_thread, spawn_low_priority};
use tokens::TokenThread;
pub(crate) use upstream_factory::UpstreamFactory;

/// The interval at which workers close expired upstream sockets and drop the state of earlier
/// generations.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A running egressd. Dropping it stops the threads at once, without a grace period.
pub struct App {
    addresses: BoundAddresses,
    shared: Arc<proxy::ProxyContext>,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
    sockets: Arc<WorkerSockets>,
    grace: Duration,
    problems: ProblemLog,
    reload_input: ReloadInput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    Draining,
    Stopped,
}

/// The parts that the serving threads share: the workers and the thread of the management API.
struct ThreadContext {
    shared: Arc<proxy::ProxyContext>,
    management: Arc<Management>,
    upstreams: UpstreamFactory,
    limits: SocketLimits,
    slots: Arc<Semaphore>,
    management_slots: usize,
    sockets: Arc<WorkerSockets>,
    phase: watch::Receiver<Phase>,
}

impl App {
    /// Serves the loaded configuration, with resources that were acquired for the same settings.
    pub fn start(
        resources: StartResources,
        loaded: Loaded,
        hardening: Hardening,
        logs: Logs,
    ) -> Result<Self, StartError> {
        let Logs { access, problems } = logs;
        let (settings, sources, snapshot) = first_generation(loaded);
        let StartResources {
            bound,
            workers,
            trust,
            resolver,
            has_no_name_servers,
            memory,
            clock,
            descriptors,
        } = resources;
        let addresses = bound.addresses();
        if has_no_name_servers {
            problems.report(Event::NoNameServers);
        }
        let (slots, descriptor_reserve) =
            descriptors.agent_slots(settings.proxy.max_connections, &problems);
        let upstreams = UpstreamFactory::new(&settings, trust, resolver, bound.tcp_addresses())
            .with_problem_log(&problems)
            .with_descriptor_reserve(descriptor_reserve);
        let tokens = TokenThread::new(&settings, &upstreams, clock, &problems)?;
        // Before any request is served: responses are searched for the secrets of all connections.
        tokens::prepare_credentials(&tokens.credentials(), &snapshot);
        let shortage = shortage_flag(memory.as_ref());
        let shared = proxy_shared(&settings, snapshot, access, &tokens, &shortage);
        let shared = Arc::new(shared);
        let sockets = Arc::new(WorkerSockets::new(workers, &shortage));
        let tokens = tokens.with_memory(MemorySampler::new(memory, &shared, &problems));
        let (phase, phase_receiver) = watch::channel(Phase::Serving);
        let login = management_login(&settings)?;
        let reload_input = ReloadInput::new(sources, &settings, login.clone(), &hardening);
        let access = management_access(&settings, login);
        let facts = ProcessFacts::new(hardening, &addresses);
        let service = management_service(access, &shared, &slots, facts, &problems)?;
        let context = ThreadContext {
            sockets: Arc::clone(&sockets),
            management: Arc::new(service.with_max_sockets(descriptors.management)),
            shared: Arc::clone(&shared),
            upstreams,
            limits: socket_limits(&settings),
            slots,
            management_slots: descriptors.management,
            phase: phase_receiver,
        };
        Ok(Self {
            threads: context.start_threads(bound, workers, tokens)?,
            addresses,
            shared,
            phase,
            sockets,
            grace: settings.shutdown_grace_period,
            problems,
            reload_input,
        })
    }

    /// Returns the addresses that agents connect to.
    pub fn proxy_addresses(&self) -> &[ListenAddress] {
        &self.addresses.proxy
    }

    /// Returns the addresses of the management API.
    pub fn management_addresses(&self) -> &[ListenAddress] {
        &self.addresses.management
    }

    fn stop_threads(&mut self) {
        // `send` does nothing if no receiver is left; `send_replace` always sets the value.
        self.phase.send_replace(Phase::Stopped);
        for thread in self.threads.drain(..) {
            // The panic hook has already reported a thread that panicked.
            let _ended = thread.join();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

impl ThreadContext {
    fn start_threads(
        self,
        bound: BoundListeners,
        workers: usize,
        tokens: TokenThread,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let mut handles: Vec<Vec<(Listener, ListenerHandle)>> =
            std::iter::repeat_with(Vec::new).take(workers).collect();
        for BoundAgentListener { listener, bound } in bound.proxy {
            // Each worker has its own accept queue (`SO_REUSEPORT`), so accepting takes no lock
            // that workers share.
            for (mine, handle) in handles.iter_mut().zip(bound.into_handles()) {
                mine.push((listener.clone(), handle));
            }
        }
        let context = Arc::new(self);
        let mut threads = Vec::with_capacity(workers + 2);
        let published = Arc::clone(&context.shared.published);
        threads.push(tokens.start(published, context.phase.clone())?);
        for (index, handles) in handles.into_iter().enumerate() {
            let context = Arc::clone(&context);
            threads.push(on_thread(format!("worker-{index}"), async move {
                context.serve_agents(index, handles).await
            })?);
        }
        let handles = bound
            .management
            .into_iter()
            .flat_map(server::BoundListener::into_handles)
            .collect();
        // A scrape or the page must not delay requests of agents on a busy machine.
        threads.push(spawn_low_priority("management".into(), async move {
            context.serve_operators(handles).await
        })?);
        Ok(threads)
    }

    async fn serve_agents(&self, index: usize, handles: Vec<(Listener, ListenerHandle)>) {
        let ticker = self.sockets.ticker(index);
        tokio::spawn(Arc::clone(&ticker).run());
        let proxy = Proxy::new(Arc::clone(&self.shared), self.upstreams.client());
        let proxy = Arc::new(proxy);
        tokio::spawn(run_worker_maintenance(Arc::clone(&proxy)));
        let loops = handles.into_iter().map(|(listener, handle)| {
            let accept_loop = AcceptLoop {
                server: Arc::new(ListenerService::new(Arc::clone(&proxy), &listener)),
                ticker: Arc::clone(&ticker),
                limits: self.limits,
                slots: Arc::clone(&self.slots),
                // The kernel queues further sockets of agents, so none of them is refused.
                at_capacity: AtCapacity::Wait,
            };
            (Arc::new(accept_loop), handle)
        });
        self.accept_until(loops, Phase::Draining).await;
    }

    /// Serves the management API until the process ends, so that operators can watch it drain.
    async fn serve_operators(&self, handles: Vec<ListenerHandle>) {
        // Without the flag: while memory is short, operators need the management API.
        let ticker = Ticker::new(MemoryShortage::default());
        tokio::spawn(Arc::clone(&ticker).run());
        let accept_loop = Arc::new(AcceptLoop {
            server: Arc::clone(&self.management),
            ticker,
            limits: self.limits,
            slots: Arc::new(Semaphore::new(self.management_slots)),
            // One caller that keeps sockets open must not lock out a health check.
            at_capacity: AtCapacity::CloseIdlest,
        });
        let loops = handles.into_iter();
        let loops = loops.map(|handle| (Arc::clone(&accept_loop), handle));
        self.accept_until(loops, Phase::Stopped).await;
    }

    /// Accepts sockets until the phase `until`, then keeps the thread's runtime running until the
    /// last phase: exchanges on accepted sockets still need it.
    async fn accept_until<S: server::Serve>(
        &self,
        loops: impl Iterator<Item = (Arc<AcceptLoop<S>>, ListenerHandle)>,
        until: Phase,
    ) {
        let accepting = loops.map(|(accept_loop, handle)| {
            let mut phase = self.phase.clone();
            // `wait_for` fails only if the sender is dropped, and the app owns the sender.
            let end = async move { drop(phase.wait_for(|phase| *phase >= until).await) };
            tokio::spawn(accept_loop.accept(handle, end))
        });
        for task in accepting.collect::<Vec<_>>() {
            // The panic hook has already reported a task that panicked.
            let _ended = task.await;
        }
        if until == Phase::Draining {
            // The accept tasks have ended, so the queues of this worker are empty.
            self.sockets.worker_stopped_accepting();
        }
        let mut phase = self.phase.clone();
        drop(phase.wait_for(|phase| *phase >= until).await);
        drop(phase.wait_for(|phase| *phase >= Phase::Stopped).await);
    }
}

async fn run_worker_maintenance(proxy: Arc<Proxy>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        proxy.sweep();
        return_freed();
    }
}

/// Returns the settings, the files that were read, and the first generation of the configuration.
fn first_generation(loaded: Loaded) -> (Settings, SourceFiles, Snapshot) {
    let snapshot = Snapshot::new(loaded.connections)
        .with_ceilings(loaded.settings.ceilings)
        .with_connectors(loaded.connectors);
    (loaded.settings, loaded.sources, snapshot)
}

/// Returns the flag that is set while memory is short. Without a memory limit it is never set.
fn shortage_flag(memory: Option<&MemoryMonitor>) -> MemoryShortage {
    memory.map(MemoryMonitor::shortage).unwrap_or_default()
}

fn proxy_shared(
    settings: &Settings,
    snapshot: Snapshot,
    log: AccessLog,
    tokens: &TokenThread,
    shortage: &MemoryShortage,
) -> proxy::ProxyContext {
    let (metrics, credentials) = (Arc::default(), tokens.credentials());
    tokens::count_token_requests(&metrics, &credentials, &snapshot);
    proxy::ProxyContext {
        published: Arc::new(PublishedSnapshot::new(snapshot)),
        own_hosts: own_hosts(&settings.proxy),
        body_cap: settings.proxy.max_request_body_bytes,
        admission: Arc::new(Admission::new(
            settings.proxy.max_in_flight,
            shortage.clone(),
        )),
        log,
        metrics,
        credentials,
        body_budget: Arc::new(BodyBudget::new(shortage.clone())),
        mcp: mcp_options(settings.mcp),
    }
}

/// Returns the host names of all listeners for agents.
fn own_hosts(settings: &ProxySettings) -> Vec<String> {
    let others = settings.listeners.iter();
    let others = others.flat_map(|listener| &listener.allowed_hosts);
    settings
        .allowed_hosts
        .iter()
        .chain(others)
        .cloned()
        .collect()
}

fn mcp_options(settings: McpSettings) -> Option<proxy::McpOptions> {
    settings.enabled.then(|| proxy::McpOptions {
        // At most 10 MiB, so the conversion cannot fail.
        max_result_bytes: usize::try_from(settings.max_result_bytes).unwrap_or(usize::MAX),
        names: Arc::default(),
    })
}

fn socket_limits(settings: &Settings) -> SocketLimits {
    SocketLimits {
        header_read: settings.proxy.header_read_timeout,
        idle: settings.proxy.idle_timeout,
        body_idle: settings.proxy.body_idle_timeout,
        write_stall: settings.proxy.write_stall_timeout,
    }
}
