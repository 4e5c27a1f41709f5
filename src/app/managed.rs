//! What the management listener answers from, and whom.

use std::io;
use std::sync::Arc;

use crate::config::Settings;
use crate::credential::Login;
use crate::management::{Callers, Management, Sources};
use crate::proxy;

/// Fails if the system gives no random bytes for the login.
pub(super) fn managed(settings: &Settings, shared: &proxy::Shared) -> io::Result<Management> {
    let login = settings.management.basic_auth.as_ref().map(Login::new);
    let callers = Callers {
        login: login.transpose().map_err(io::Error::other)?,
        allowed_hosts: settings.proxy.allowed_hosts.clone(),
    };
    let sources = Sources {
        published: Arc::clone(&shared.published),
        credentials: Arc::clone(&shared.credentials),
        metrics: Arc::clone(&shared.metrics),
        draining: Arc::clone(&shared.draining),
    };
    Ok(Management::new(sources, callers))
}
