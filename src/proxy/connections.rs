//! The state that a worker keeps for each connection, so that a request takes no lock that workers share.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::body_budget::BudgetShare;
use crate::credential::Credential;
use crate::snapshot::ConnectionEntry;
use crate::telemetry::metrics::{Recorder, Shard};
use crate::upstream::UpstreamPool;
use parking_lot::Mutex;

/// The connections that this worker has used, by the key of their generation.
pub(super) struct WorkerConnections {
    shard: Shard,
    known: Mutex<BTreeMap<u64, WorkerConnection>>,
}

/// What a worker keeps for a connection of one generation.
#[derive(Clone)]
pub(super) struct WorkerConnection {
    pub(super) recorder: Arc<Recorder>,
    /// `None` until a request was permitted, so that refused requests cost no more than a recorder.
    pub(super) resources: Option<Arc<ConnectionResources>>,
}

/// What the requests of a connection need to be sent.
pub(super) struct ConnectionResources {
    pub(super) pool: Arc<UpstreamPool>,
    pub(super) credential: Arc<Credential>,
    pub(super) body_share: Arc<BudgetShare>,
}

impl WorkerConnections {
    /// Creates the state of a worker that counts in `shard`.
    pub(super) fn new(shard: Shard) -> Self {
        Self {
            shard,
            known: Mutex::default(),
        }
    }

    /// Returns the recorder for requests that name no connection.
    pub(super) fn unknown_recorder(&self) -> &Arc<Recorder> {
        self.shard.unknown_recorder()
    }

    /// Returns the state of a connection, and creates it if there is none.
    pub(super) fn get_or_create(&self, entry: &ConnectionEntry) -> WorkerConnection {
        let mut known = self.known.lock();
        let connection = known.entry(entry.key).or_insert_with(|| {
            let patterns = entry.connection.routes.patterns();
            let texts = patterns.iter().map(crate::route::Pattern::as_str);
            WorkerConnection {
                recorder: self.shard.recorder(entry.connection.id.as_str(), texts),
                resources: None,
            }
        });
        connection.clone()
    }

    /// Keeps the resources of a connection for its next requests.
    pub(super) fn keep_resources(&self, key: u64, resources: &Arc<ConnectionResources>) {
        if let Some(connection) = self.known.lock().get_mut(&key) {
            connection.resources = Some(Arc::clone(resources));
        }
    }

    /// Drops the state of all connections but the live ones. Their keys are read under the lock,
    /// because a request may just be creating the state of a connection that was published now.
    pub(super) fn retain_live(&self, live_keys: impl Fn() -> HashSet<u64>) {
        let mut known = self.known.lock();
        let keys = live_keys();
        known.retain(|key, _| keys.contains(key));
    }
}
