//! The data plane of one worker, and the parts that all workers share.

use std::sync::Arc;

use super::admission::Admission;
use super::body_budget::BodyBudget;
use super::connections::{ConnectionResources, WorkerConnections};
use super::mcp::{McpServer, ToolNames};
use super::request_id::RequestIds;
use crate::credential::Credentials;
use crate::snapshot::{ConnectionEntry, PublishedSnapshot};
use crate::telemetry::metrics::Recorder;
use crate::telemetry::{AccessLog, Metrics};
use crate::upstream::Client;

/// The parts of the data plane that all workers share.
pub struct ProxyContext {
    /// The configuration.
    pub published: Arc<PublishedSnapshot>,
    /// The names of egressd itself besides loopback: the `allowed_hosts` of all listeners.
    pub own_hosts: Vec<String>,
    /// `proxy.max_request_body_bytes`
    pub body_cap: u64,
    /// The admission of requests.
    pub admission: Arc<Admission>,
    /// The access log.
    pub log: AccessLog,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The credentials of all connections.
    pub credentials: Arc<Credentials>,
    /// The memory for request bodies that are held whole.
    pub body_budget: Arc<BodyBudget>,
    /// `mcp`; `None` if it is off.
    pub mcp: Option<McpOptions>,
}

/// The options of the Model Context Protocol.
pub struct McpOptions {
    /// `mcp.max_result_bytes`
    pub max_result_bytes: usize,
    /// The names of tools.
    pub names: Arc<ToolNames>,
}

/// The data plane of one worker.
pub struct Proxy {
    pub(super) shared: Arc<ProxyContext>,
    pub(super) client: Client,
    pub(super) connections: WorkerConnections,
    pub(super) request_ids: RequestIds,
    pub(super) mcp: Option<McpServer>,
}

impl Proxy {
    /// Creates the data plane of a worker that has this upstream client.
    pub fn new(shared: Arc<ProxyContext>, client: Client) -> Self {
        let server = |options: &McpOptions| {
            let names = Arc::clone(&options.names);
            McpServer::new(names, options.max_result_bytes, &shared.body_budget)
        };
        Self {
            mcp: shared.mcp.as_ref().map(server),
            connections: WorkerConnections::new(shared.metrics.new_shard()),
            shared,
            client,
            request_ids: RequestIds::new(),
        }
    }

    /// Does the periodic work of a worker: closes idle sockets, drops the state of earlier
    /// generations, and updates the clock.
    pub fn sweep(&self) {
        let live_keys = || self.shared.published.current().live_keys();
        self.connections.retain_live(live_keys);
        self.client.retain_live(live_keys);
        self.client.close_idle();
        self.shared.metrics.sync_clock();
        if let Some(mcp) = &self.mcp {
            let ProxyContext {
                published,
                admission,
                ..
            } = &*self.shared;
            mcp.announce(&published.current(), admission.is_draining());
        }
    }

    /// Returns the resources of a connection, which its first permitted request creates.
    pub(super) fn connection_resources(
        &self,
        existing: Option<Arc<ConnectionResources>>,
        entry: &ConnectionEntry,
        recorder: &Recorder,
    ) -> Arc<ConnectionResources> {
        match existing {
            Some(resources) => resources,
            None => self.create_resources(entry, recorder),
        }
    }

    #[cold]
    fn create_resources(
        &self,
        entry: &ConnectionEntry,
        recorder: &Recorder,
    ) -> Arc<ConnectionResources> {
        let ConnectionEntry {
            key, connection, ..
        } = entry;
        let resources = Arc::new(ConnectionResources {
            pool: self
                .client
                .get_or_create_pool(*key, connection, recorder.sockets()),
            credential: self
                .shared
                .credentials
                .get_or_create_credential(*key, connection),
            body_share: self
                .shared
                .body_budget
                .connection_share(connection.id.as_str()),
        });
        self.connections.keep_resources(*key, &resources);
        resources
    }
}
