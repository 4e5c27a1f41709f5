//! A listener for agents, and its service on one worker.

use std::sync::Arc;

use super::access_record::ListenerLog;
use super::discovery::ListingCache;
use super::worker::Proxy;
use crate::domain::ListenerScope;

/// A listener for agents.
#[derive(Clone)]
pub struct Listener {
    /// The address, as the settings have it.
    pub address: Arc<str>,
    /// The connections that agents reach.
    pub scope: ListenerScope,
    /// Accepted host names besides localhost, names under `.localhost` and loopback addresses.
    pub allowed_hosts: Vec<String>,
    /// The rendered lists of the connections in the scope.
    pub listings: Arc<ListingCache>,
}

/// The service of one listener on one worker.
pub struct ListenerService {
    pub(super) worker: Arc<Proxy>,
    pub(super) listener: Listener,
    /// `None` if the log is off.
    pub(super) log: Option<Arc<ListenerLog>>,
    /// The scope of the listener, for messages that are answered by other tasks.
    pub(super) shared_scope: Arc<ListenerScope>,
}

impl ListenerService {
    /// Creates the service of a listener on this worker.
    pub fn new(worker: Arc<Proxy>, listener: &Listener) -> Self {
        let listener = listener.clone();
        let log = ListenerLog {
            log: worker.shared.log.clone(),
            address: Arc::clone(&listener.address),
        };
        Self {
            worker,
            log: log.log.is_on().then(|| Arc::new(log)),
            shared_scope: Arc::new(listener.scope.clone()),
            listener,
        }
    }
}
