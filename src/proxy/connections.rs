//! The state that a worker keeps for each connection. Every worker has its own, so that a request
//! takes no lock that workers share.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::body_budget::BudgetShare;
use crate::credential::Credential;
use crate::snapshot::ConnectionEntry;
use crate::telemetry::metrics::{Recorder, Shard};
use crate::upstream::UpstreamPool;
use parking_lot::Mutex;

/// The connections that this worker has used, by the key of their snapshot entry.
pub(super) struct WorkerConnections {
    shard: Shard,
    known: Mutex<BTreeMap<u64, WorkerConnection>>,
}

/// The state of one connection in one worker.
#[derive(Clone)]
pub(super) struct WorkerConnection {
    pub(super) recorder: Arc<Recorder>,
    /// `None` until the first request is permitted, so refused requests create only a recorder.
    pub(super) resources: Option<Arc<ConnectionResources>>,
}

/// The resources that the requests of a connection are sent with.
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
    pub(super) fn unknown_connection_recorder(&self) -> &Arc<Recorder> {
        self.shard.unknown_connection_recorder()
    }

    /// Returns the state of a connection, and creates it if there is none.
    pub(super) fn get_or_create(&self, entry: &ConnectionEntry) -> WorkerConnection {
        let mut known = self.known.lock();
        // By key and not by id: a connection that a reload changes has a new key, and must not use
        // the sockets or the credential of its predecessor.
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

    /// Drops the state of connections that are not live. `live_keys` is called under the lock: a
    /// concurrent request may create the state of a connection that was published a moment ago, and
    /// older keys would not contain it.
    pub(super) fn retain_live(&self, live_keys: impl Fn() -> HashSet<u64>) {
        let mut known = self.known.lock();
        let keys = live_keys();
        known.retain(|key, _| keys.contains(key));
    }
}
