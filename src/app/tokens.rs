//! The thread that obtains tokens. It has one runtime and one upstream client for the token fetches
//! of all grants. It is separate from the workers, so a fetch outlives the request that waits for
//! it. The thread also samples the memory limit, which would not justify a separate thread.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::Phase;
use super::memory::MemorySampler;
use super::threads::{runtime, thread};
use super::upstream_factory::UpstreamFactory;
use crate::clock::Clock;
use crate::config::Settings;
use crate::credential::Credentials;
use crate::credential::oauth::{Grant, Grants, prefetch_tokens};
use crate::domain::Auth;
use crate::snapshot::{ConnectionEntry, PublishedSnapshot, Snapshot};
use crate::telemetry::{Metrics, ProblemLog};
use crate::token_store::TokenStore;

/// The token thread before it is started.
pub(super) struct TokenThread {
    runtime: Runtime,
    credentials: Arc<Credentials>,
    memory: Option<MemorySampler>,
}

impl TokenThread {
    pub(super) fn new(
        settings: &Settings,
        upstreams: &UpstreamFactory,
        clock: Clock,
        problems: &ProblemLog,
    ) -> io::Result<Self> {
        let runtime = runtime()?;
        let client = {
            // A client belongs to the runtime that is entered when it is created.
            let _entered = runtime.enter();
            Arc::new(upstreams.client())
        };
        let grants = Grants::new(client, runtime.handle().clone())
            .with_clock(clock)
            .with_problem_log(problems.clone())
            .with_token_store(TokenStore::new(settings.token_store.clone()));
        Ok(Self {
            runtime,
            credentials: Arc::new(Credentials::new(grants)),
            memory: None,
        })
    }

    /// Adds the sampler of the memory limit, which runs on this thread.
    pub(super) fn with_memory(self, memory: Option<MemorySampler>) -> Self {
        Self { memory, ..self }
    }

    /// Returns the credentials whose token fetches run on this thread.
    pub(super) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Prefetches the tokens that connections will need, drops those that they no longer need,
    /// watches the token store, and runs token fetches until the app stops. Then completes the
    /// refreshes that have spent a refresh token.
    pub(super) fn start(
        self,
        published: Arc<PublishedSnapshot>,
        mut phase: watch::Receiver<Phase>,
    ) -> io::Result<JoinHandle<()>> {
        let main = async move {
            if let Some(memory) = self.memory {
                tokio::spawn(memory.run());
            }
            tokio::select! {
                () = maintain_credentials(&published, &self.credentials) => {}
                () = self.credentials.watch_token_store() => {}
                // `wait_for` fails only if the sender is dropped, and the app owns the sender.
                _ = phase.wait_for(|phase| *phase >= Phase::Stopped) => {}
            }
            self.credentials.finish_grants().await;
        };
        thread("credentials".into(), self.runtime, main)
    }
}

/// Prefetches the tokens of each generation once, and drops the credentials of earlier generations.
/// The drop is repeated at every interval, because a request of an earlier generation may create
/// its credential after the first drop.
async fn maintain_credentials(published: &PublishedSnapshot, credentials: &Credentials) {
    let mut prefetched = 0;
    let mut interval = tokio::time::interval(super::SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        credentials.retain_live(|| {
            let snapshot = published.current();
            let live = snapshot.entries().iter().filter(|entry| entry.is_live());
            live.map(|entry| (entry.key, Arc::clone(&entry.connection)))
                .collect()
        });
        let snapshot = published.current();
        if snapshot.generation() != prefetched {
            // Also if it fails: requests then fetch the tokens that they need.
            prefetched = snapshot.generation();
            // In a task: a slow token endpoint must not delay the removal of old credentials.
            tokio::spawn(prefetch_tokens(usable_grants(&snapshot, credentials)));
        }
    }
}

/// Prepares the credentials of a generation before requests see it. Registers the secrets of all
/// live connections, so that responses are searched for them before any of them is used. Reads the
/// grants that persons have consented to, so that the first answer states their status; sends
/// nothing.
pub(super) fn prepare_credentials(credentials: &Credentials, snapshot: &Snapshot) {
    let live = snapshot.entries().iter().filter(|entry| entry.is_live());
    credentials.register_secrets(live.map(|entry| (entry.key, &*entry.connection)));
    let consents = usable_connections(snapshot);
    let consents = consents.filter(|entry| entry.connection.auth.consent().is_some());
    let grants = consents.filter_map(|entry| {
        let credential = credentials.get_or_create_credential(entry.key, &entry.connection);
        credential.grant().cloned()
    });
    // All grants are created first, because an event of a grant names all of its connections.
    for grant in grants.collect::<Vec<_>>() {
        grant.read_stored();
    }
}

/// Counts the token requests of this generation's connections in `metrics`.
pub(super) fn count_token_requests(
    metrics: &Metrics,
    credentials: &Credentials,
    snapshot: &Snapshot,
) {
    let counters = usable_connections(snapshot).filter_map(|entry| {
        let counters = credentials.get_or_create_counters(&entry.connection)?;
        Some((entry.connection.id.as_str(), counters))
    });
    metrics.set_token_counters(counters.collect());
}

/// Returns the connections that agents may use.
fn usable_connections(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<ConnectionEntry>> {
    let entries = snapshot.entries().iter();
    entries.filter(|entry| entry.is_live() && entry.connection.enabled)
}

/// Returns the grants of all connections that agents may use.
fn usable_grants(snapshot: &Snapshot, credentials: &Credentials) -> Vec<Arc<Grant>> {
    usable_connections(snapshot)
        .filter(|entry| match entry.connection.auth {
            Auth::OauthClientCredentials(_) | Auth::OauthUserConsent(_) => true,
            Auth::BearerToken(_) | Auth::BasicAuth(_) | Auth::StaticHeaders(_) | Auth::NoAuth => {
                false
            }
        })
        .filter_map(|entry| {
            credentials
                .get_or_create_credential(entry.key, &entry.connection)
                .grant()
                .cloned()
        })
        .collect()
}
