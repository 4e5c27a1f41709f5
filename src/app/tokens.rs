//! The thread that obtains tokens: one runtime and one upstream client for the flights of all grants, apart from the workers, so that a flight outlives
//! whoever waits for it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::Phase;
use super::outward::Outward;
use super::threads::{runtime, thread};
use crate::credential::Credentials;
use crate::credential::oauth::{Grant, Grants, prefetch};
use crate::domain::Auth;
use crate::snapshot::Snapshot;

/// The thread's runtime, before it runs.
pub(super) struct Tokens {
    runtime: Runtime,
    credentials: Arc<Credentials>,
}

impl Tokens {
    pub(super) fn new(outward: &Outward) -> io::Result<Self> {
        let runtime = runtime()?;
        let client = {
            let _entered = runtime.enter();
            Arc::new(outward.client())
        };
        let grants = Grants::new(client, runtime.handle().clone());
        Ok(Self {
            runtime,
            credentials: Arc::new(Credentials::new(grants)),
        })
    }

    /// Credentials whose flights this thread carries.
    pub(super) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Prefetches what these connections will need, and carries flights until the app stops.
    pub(super) fn start(
        self,
        snapshot: &Snapshot,
        mut phase: watch::Receiver<Phase>,
    ) -> io::Result<JoinHandle<()>> {
        let grants = grants(snapshot, &self.credentials);
        let main = async move {
            tokio::spawn(prefetch(grants));
            // The sender lives as long as the app; if it is gone, so is everything.
            drop(phase.wait_for(|phase| *phase >= Phase::Stopped).await);
        };
        thread("credentials".into(), self.runtime, main)
    }
}

/// The grants of all connections that agents may use. Other credentials are not made yet: what they are searched for takes its time, and the start has none.
fn grants(snapshot: &Snapshot, credentials: &Credentials) -> Vec<Arc<Grant>> {
    let usable = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.connection.is_live() && entry.connection.enabled);
    usable
        .filter(|entry| matches!(entry.connection.auth, Auth::OauthClientCredentials(_)))
        .filter_map(|entry| {
            credentials
                .of(entry.key, &entry.connection)
                .grant()
                .cloned()
        })
        .collect()
}
