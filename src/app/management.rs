//! Builds the management service: its login, and the sources of its responses.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::resources::BoundAddresses;
use crate::config::Settings;
use crate::credential::Login;
use crate::hardening::Hardening;
use crate::management::{AccessSettings, ApiContext, GaugeSources, ListenerOverview, Management};
use crate::proxy;
use crate::telemetry::{Logs, ProblemLog};

/// The facts about the process that operators see and that do not change.
pub(super) struct ProcessFacts {
    listeners: Arc<[ListenerOverview]>,
    hardening: Hardening,
}

impl ProcessFacts {
    pub(super) fn new(hardening: Hardening, addresses: &BoundAddresses) -> Self {
        Self {
            listeners: Arc::clone(&addresses.listeners),
            hardening,
        }
    }
}

/// Returns the login of the management API if the settings have one. Fails if the system provides
/// no random bytes.
pub(super) fn management_login(settings: &Settings) -> io::Result<Option<Arc<Login>>> {
    let login = settings.management.basic_auth.as_ref().map(Login::new);
    let login = login.transpose().map_err(io::Error::other)?;
    Ok(login.map(Arc::new))
}

/// Returns the access policy of the management API.
pub(super) fn management_access(settings: &Settings, login: Option<Arc<Login>>) -> AccessSettings {
    AccessSettings {
        login,
        allowed_hosts: settings.proxy.allowed_hosts.clone(),
    }
}

/// Creates the management service with this access policy. `slots` are the slots of agents'
/// sockets, and all of them must be free. Fails if the system provides no random bytes.
pub(super) fn management_service(
    access: AccessSettings,
    shared: &proxy::ProxyContext,
    slots: &Arc<Semaphore>,
    facts: ProcessFacts,
    problems: &ProblemLog,
) -> io::Result<Management> {
    let sources = ApiContext {
        published: Arc::clone(&shared.published),
        credentials: Arc::clone(&shared.credentials),
        metrics: Arc::clone(&shared.metrics),
        gauges: gauge_sources(shared, slots),
        draining: Arc::clone(shared.admission.draining_flag()),
        listeners: facts.listeners,
        hardening: facts.hardening,
        logs: Logs {
            access: shared.log.clone(),
            problems: problems.clone(),
        },
    };
    Management::new(sources, access).map_err(io::Error::other)
}

fn gauge_sources(shared: &proxy::ProxyContext, slots: &Arc<Semaphore>) -> GaugeSources {
    let admission = Arc::clone(&shared.admission);
    // The number of free slots now is the total, because no agent is connected yet.
    let (slots, room) = (Arc::clone(slots), slots.available_permits());
    GaugeSources {
        in_flight: Box::new(move || admission.in_flight()),
        agent_sockets: Box::new(move || room.saturating_sub(slots.available_permits())),
    }
}
