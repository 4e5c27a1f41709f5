//! What the management listener answers from, and whom.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::Settings;
use crate::credential::Login;
use crate::hardening::Hardening;
use crate::management::{Callers, Gauges, Management, Sources, TokenBooks};
use crate::proxy;
use crate::telemetry::{Logs, ProblemLog};

/// `places` are those for agents' sockets, none of which is taken yet. Fails if the system gives no random bytes for the login.
pub(super) fn managed(
    settings: &Settings,
    shared: &proxy::Shared,
    places: &Arc<Semaphore>,
    hardening: Hardening,
    problems: &ProblemLog,
) -> io::Result<Management> {
    let login = settings.management.basic_auth.as_ref().map(Login::new);
    let callers = Callers {
        login: login.transpose().map_err(io::Error::other)?,
        allowed_hosts: settings.proxy.allowed_hosts.clone(),
    };
    let sources = Sources {
        published: Arc::clone(&shared.published),
        credentials: Arc::clone(&shared.credentials),
        metrics: Arc::clone(&shared.metrics),
        gauges: gauges(shared, places),
        draining: Arc::clone(&shared.draining),
        hardening,
        logs: Logs {
            access: shared.log.clone(),
            problems: problems.clone(),
        },
    };
    Ok(Management::new(sources, callers))
}

fn gauges(shared: &proxy::Shared, places: &Arc<Semaphore>) -> Gauges {
    let in_flight = Arc::clone(&shared.in_flight);
    let (places, room) = (Arc::clone(places), places.available_permits());
    Gauges {
        in_flight: Box::new(move || in_flight.now()),
        agent_sockets: Box::new(move || room.saturating_sub(places.available_permits())),
        tokens: TokenBooks::default(),
    }
}
