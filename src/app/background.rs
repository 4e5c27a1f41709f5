//! The threads that do not serve: one reloads the configuration, and one stops the app.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::App;
use super::tokens::{count_token_requests, prepare_credentials};
use crate::config::{LoadOptions, Settings, SourceFiles, StartupSettings};
use crate::credential::Login;
use crate::hardening::{Hardening, Measure};
use crate::reload::{Reload, ReloadHandle, ReloadTargets, ReloadWatcher};

/// The background threads. They start with the app, because at the time of a reload or a stop the
/// system may refuse a new thread.
pub(super) struct BackgroundThreads {
    pub(super) reloads: Option<ReloadHandle>,
    /// Receives the app to stop.
    pub(super) stop: SyncSender<App>,
    /// Returns the number of exchanges that were cut off.
    pub(super) stopping: JoinHandle<usize>,
}

impl BackgroundThreads {
    pub(super) fn start(
        app: &App,
        reload_input: Option<(ReloadWatcher, LoadOptions)>,
    ) -> io::Result<Self> {
        let reloads = reload_input.map(|(watch, options)| watch.start(app.reload(options)));
        // A channel with room for one app: sending it never blocks.
        let (stop, stopped_app) = sync_channel::<App>(1);
        let thread = std::thread::Builder::new().name("stop".into());
        Ok(Self {
            reloads: reloads.transpose()?,
            stop,
            stopping: thread.spawn(move || stopped_app.recv().map_or(0, App::stop))?,
        })
    }
}

/// The inputs of a reload: the values that the process was started with.
pub(super) struct ReloadInput {
    pub(super) sources: SourceFiles,
    pub(super) startup: StartupSettings,
    /// `true` if the process is confined to the directories of its files.
    pub(super) confined: bool,
    pub(super) login: Option<Arc<Login>>,
    /// The directories of connectors.
    pub(super) connectors: Vec<PathBuf>,
    /// The token store, if the confined process has no access to it.
    pub(super) excluded_store: Option<PathBuf>,
}

impl ReloadInput {
    pub(super) fn new(
        sources: SourceFiles,
        settings: &Settings,
        login: Option<Arc<Login>>,
        hardening: &Hardening,
    ) -> Self {
        let is_excluded = hardening.excludes(&settings.token_store);
        Self {
            sources,
            startup: settings.startup_settings(),
            // A confined process cannot read directories that were added later, and a reload
            // reports them.
            confined: hardening.is_held(Measure::Files),
            login,
            connectors: settings.connectors.clone(),
            excluded_store: is_excluded.then(|| settings.token_store.clone()),
        }
    }
}

impl App {
    /// Returns the action that loads the configuration again and publishes it.
    pub fn reload(&self, mut options: LoadOptions) -> Reload {
        options.overrides.connectors = Some(self.reload_input.connectors.clone());
        let login = self.reload_input.login.clone();
        let credentials = Arc::clone(&self.shared.credentials);
        let metrics = Arc::clone(&self.shared.metrics);
        let targets = ReloadTargets {
            published: Arc::clone(&self.shared.published),
            metrics: Arc::clone(&self.shared.metrics),
            sources: self.reload_input.sources.clone(),
            startup: self.reload_input.startup.clone(),
            confined: self.reload_input.confined,
            excluded_store: self.reload_input.excluded_store.clone(),
            before_publication: Box::new(move |snapshot| {
                prepare_credentials(&credentials, snapshot);
                count_token_requests(&metrics, &credentials, snapshot);
            }),
            replace_login: Box::new(move |pair| login.as_ref().is_some_and(|it| it.replace(pair))),
        };
        Reload::new(options, targets, self.problems.clone())
    }
}
