//! The composition root: builds every part once, hands each only what it needs, starts the workers, drains and stops them.
//!
//! One thread and one current-thread runtime a worker, each with its own accept queue, upstream sockets and clock. Measured against the other shape (one
//! multi-threaded runtime with one pool for all; 1 KiB, 32 sockets, two cores, two runs of four rounds each beside nginx): CPU a request 0.95–0.97 of
//! nginx's against 0.95–1.01, p99 0.83–0.95 against 1.06–1.55. Threads are not pinned: pinned ones wait for a busy neighbour.

mod anew;
mod background;
mod confinement;
mod descriptors;
mod drain;
mod ground;
mod logs;
mod managed;
mod memory;
mod outward;
mod process;
mod signals;
mod threads;
mod tokens;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::config::{Loaded, Settings};
use crate::hardening::{Hardening, Measure};
use crate::management::Management;
use crate::memory::{MemoryMonitor, MemoryShortage, return_freed};
use crate::proxy::admission::Admission;
use crate::proxy::body_budget::BodyBudget;
use crate::proxy::{self, Proxy};
use crate::server::{
    self, AcceptLoop, AtCapacity, ListenAddress, ListenerHandle, SocketLimits, Ticker,
};
use crate::snapshot::{Published, Snapshot};
use crate::telemetry::{AccessLog, Event, Logs, ProblemLog};
use anew::First;
pub use confinement::HardeningMode;
pub use descriptors::claim_descriptors;
use drain::Doors;
use ground::{Bound, addresses, tcp};
pub use ground::{Ground, Listener, StartError};
pub use logs::{Output, format, start_logs};
use managed::{login, managed};
use memory::MemorySampler;
pub(crate) use outward::Outward;
pub use process::{Launch, ProcessEnd, start_error};
pub use signals::SignalStreams;
use threads::{on_modest_thread, on_thread};
use tokens::Tokens;

/// How often idle upstream sockets, and what earlier generations left, are looked over.
const SWEEP: Duration = Duration::from_secs(1);

/// A running egressd.
pub struct App {
    proxy: Vec<ListenAddress>,
    management: Vec<ListenAddress>,
    shared: Arc<proxy::Shared>,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
    doors: Arc<Doors>,
    grace: Duration,
    problems: ProblemLog,
    first: First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    Draining,
    Stopped,
}

/// What a worker is made of.
struct Worker {
    shared: Arc<proxy::Shared>,
    management: Arc<Management>,
    outward: Outward,
    limits: SocketLimits,
    slots: Arc<Semaphore>,
    management_places: usize,
    doors: Arc<Doors>,
    phase: watch::Receiver<Phase>,
}

impl App {
    /// Starts serving what was loaded, on ground that was taken with the same settings.
    pub fn start(
        ground: Ground,
        loaded: Loaded,
        hardening: Hardening,
        logs: Logs,
    ) -> Result<Self, StartError> {
        let Logs { access, problems } = logs;
        let Loaded {
            settings,
            connections,
            sources,
            ..
        } = loaded;
        let Ground {
            bound,
            workers,
            trust,
            names,
            unresolvable,
            memory,
            clock,
            descriptors,
        } = ground;
        let (proxy, management) = (addresses(&bound.proxy), addresses(&bound.management));
        let snapshot = Snapshot::new(connections);
        let own_listeners = proxy.iter().chain(&management).filter_map(tcp).collect();
        if unresolvable {
            problems.report(Event::NoNameServers);
        }
        let (slots, descriptor_reserve) =
            descriptors.places(settings.proxy.max_connections, &problems);
        let outward = Outward::new(&settings, trust, names, own_listeners).telling(&problems);
        let outward = outward.with_descriptor_reserve(descriptor_reserve);
        let tokens = Tokens::new(&outward, clock, &problems).map_err(StartError::System)?;
        tokens::cover(&tokens.credentials(), &snapshot);
        let shortage = shortage_flag(memory.as_ref());
        let shared = Arc::new(shared(&settings, snapshot, access, &tokens, &shortage));
        let doors = Arc::new(Doors::new(workers, &shortage));
        let tokens = tokens.with_memory(MemorySampler::new(memory, &shared, &problems));
        let (phase, seen) = watch::channel(Phase::Serving);
        let login = login(&settings).map_err(StartError::System)?;
        let confined = hardening.holds(Measure::Files);
        let answering = managed(login.clone(), &shared, &slots, hardening, &problems);
        let worker = Worker {
            doors: Arc::clone(&doors),
            management: Arc::new(answering),
            shared: Arc::clone(&shared),
            outward,
            limits: socket_limits(&settings),
            slots,
            management_places: descriptors.management,
            phase: seen,
        };
        Ok(Self {
            threads: worker
                .start_all(bound, workers, tokens)
                .map_err(StartError::System)?,
            proxy,
            management,
            shared,
            phase,
            doors,
            grace: settings.shutdown_grace_period,
            problems,
            first: First::new(sources, &settings, login, confined),
        })
    }

    /// Where agents connect to.
    pub fn proxy_addresses(&self) -> &[ListenAddress] {
        &self.proxy
    }

    /// Where operators connect to.
    pub fn management_addresses(&self) -> &[ListenAddress] {
        &self.management
    }

    fn end(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so itself.
            let _ended = thread.join();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
    }
}

impl Worker {
    fn start_all(
        self,
        bound: Bound,
        workers: usize,
        tokens: Tokens,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let mut handles: Vec<Vec<ListenerHandle>> =
            std::iter::repeat_with(Vec::new).take(workers).collect();
        for bound in bound.proxy {
            for (mine, handle) in handles.iter_mut().zip(bound.into_handles()) {
                mine.push(handle);
            }
        }
        let worker = Arc::new(self);
        let mut threads = Vec::with_capacity(workers + 2);
        let published = Arc::clone(&worker.shared.published);
        threads.push(tokens.start(published, worker.phase.clone())?);
        for (index, handles) in handles.into_iter().enumerate() {
            let worker = Arc::clone(&worker);
            threads.push(on_thread(format!("worker-{index}"), async move {
                worker.run(index, handles).await
            })?);
        }
        let handles = bound
            .management
            .into_iter()
            .flat_map(server::BoundListener::into_handles)
            .collect();
        threads.push(on_modest_thread("management".into(), async move {
            worker.manage(handles).await
        })?);
        Ok(threads)
    }

    async fn run(&self, index: usize, handles: Vec<ListenerHandle>) {
        let ticker = self.doors.ticker(index);
        tokio::spawn(Arc::clone(&ticker).run());
        let proxy = Proxy::new(Arc::clone(&self.shared), self.outward.client());
        let proxy = Arc::new(proxy);
        tokio::spawn(sweep(Arc::clone(&proxy)));
        let slots = Arc::clone(&self.slots);
        self.receive(
            AcceptLoop {
                server: proxy,
                ticker,
                limits: self.limits,
                slots,
                at_capacity: AtCapacity::Wait,
            },
            handles,
            Phase::Draining,
        )
        .await;
    }

    /// Management answers to the end.
    async fn manage(&self, handles: Vec<ListenerHandle>) {
        let ticker = Ticker::new(MemoryShortage::default());
        tokio::spawn(Arc::clone(&ticker).run());
        let slots = Arc::new(Semaphore::new(self.management_places));
        self.receive(
            AcceptLoop {
                server: Arc::clone(&self.management),
                ticker,
                limits: self.limits,
                slots,
                at_capacity: AtCapacity::CloseIdlest,
            },
            handles,
            Phase::Stopped,
        )
        .await;
    }

    /// Accepts until this phase, and keeps the worker's runtime going until the last.
    async fn receive<S: server::Serve>(
        &self,
        reception: AcceptLoop<S>,
        handles: Vec<ListenerHandle>,
        until: Phase,
    ) {
        let reception = Arc::new(reception);
        let accepting = handles.into_iter().map(|handle| {
            let mut phase = self.phase.clone();
            // The sender lives as long as the app; if it is gone, so is everything.
            let end = async move { drop(phase.wait_for(|phase| *phase >= until).await) };
            tokio::spawn(Arc::clone(&reception).accept(handle, end))
        });
        for task in accepting.collect::<Vec<_>>() {
            // One that panicked has said so itself.
            let _ended = task.await;
        }
        if until == Phase::Draining {
            self.doors.closed_one();
        }
        let mut phase = self.phase.clone();
        drop(phase.wait_for(|phase| *phase >= until).await);
        drop(phase.wait_for(|phase| *phase >= Phase::Stopped).await);
    }
}

async fn sweep(proxy: Arc<Proxy>) {
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        proxy.sweep();
        return_freed();
    }
}

/// Returns the flag of the memory limit. Without a limit, memory is never short.
fn shortage_flag(memory: Option<&MemoryMonitor>) -> MemoryShortage {
    memory.map(MemoryMonitor::shortage).unwrap_or_default()
}

fn shared(
    settings: &Settings,
    snapshot: Snapshot,
    log: AccessLog,
    tokens: &Tokens,
    shortage: &MemoryShortage,
) -> proxy::Shared {
    let (metrics, credentials) = (Arc::default(), tokens.credentials());
    tokens::count_token_requests(&metrics, &credentials, &snapshot);
    proxy::Shared {
        published: Arc::new(Published::new(snapshot)),
        allowed_hosts: settings.proxy.allowed_hosts.clone(),
        body_cap: settings.proxy.max_request_body_bytes,
        admission: Arc::new(Admission::new(
            settings.proxy.max_in_flight,
            shortage.clone(),
        )),
        log,
        metrics,
        credentials,
        body_budget: Arc::new(BodyBudget::new(shortage.clone())),
        listings: proxy::Listings::default(),
    }
}

fn socket_limits(settings: &Settings) -> SocketLimits {
    SocketLimits {
        header_read: settings.proxy.header_read_timeout,
        idle: settings.proxy.idle_timeout,
        body_idle: settings.proxy.body_idle_timeout,
        write_stall: settings.proxy.write_stall_timeout,
    }
}
