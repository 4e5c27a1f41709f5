//! What a reload of the running process begins from, and what it may change.

use std::sync::Arc;

use super::App;
use super::tokens::{count_token_requests, cover};
use crate::config::{LoadOptions, Settings, Sources, StartupSettings};
use crate::credential::Login;
use crate::reload::{Reload, ReloadTargets};

/// What the process was started with.
pub(super) struct First {
    pub(super) sources: Sources,
    pub(super) facts: StartupSettings,
    /// Whether it reads only what its files lay in.
    pub(super) confined: bool,
    pub(super) login: Option<Arc<Login>>,
}

impl First {
    pub(super) fn new(
        sources: Sources,
        settings: &Settings,
        login: Option<Arc<Login>>,
        confined: bool,
    ) -> Self {
        Self {
            sources,
            facts: settings.startup_settings(),
            confined,
            login,
        }
    }
}

impl App {
    /// What reads the configuration anew and puts it in force.
    pub fn reload(&self, options: LoadOptions) -> Reload {
        let login = self.first.login.clone();
        let credentials = Arc::clone(&self.shared.credentials);
        let metrics = Arc::clone(&self.shared.metrics);
        let in_force = ReloadTargets {
            published: Arc::clone(&self.shared.published),
            metrics: Arc::clone(&self.shared.metrics),
            sources: self.first.sources.clone(),
            startup: self.first.facts.clone(),
            confined: self.first.confined,
            before_publication: Box::new(move |snapshot| {
                cover(&credentials, snapshot);
                count_token_requests(&metrics, &credentials, snapshot);
            }),
            replace_login: Box::new(move |pair| login.as_ref().is_some_and(|it| it.replace(pair))),
        };
        Reload::new(options, in_force, self.problems.clone())
    }
}
