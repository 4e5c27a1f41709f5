//! The threads beside those that serve: one reloads, one stops the app.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::App;
use crate::config::LoadOptions;
use crate::reload::{ReloadHandle, ReloadWatcher};

/// Started with the app: later the system may have no thread to give.
pub(super) struct BackgroundThreads {
    pub(super) reloads: Option<ReloadHandle>,
    /// Stops the app that is sent here.
    pub(super) stop: SyncSender<App>,
    /// Returns how many exchanges were cut off.
    pub(super) stopping: JoinHandle<usize>,
}

impl BackgroundThreads {
    pub(super) fn start(
        app: &App,
        reload_input: Option<(ReloadWatcher, LoadOptions)>,
    ) -> io::Result<Self> {
        let reloads = reload_input.map(|(watch, options)| watch.start(app.reload(options)));
        let (stop, stopped_app) = sync_channel::<App>(1);
        let thread = std::thread::Builder::new().name("stop".into());
        Ok(Self {
            reloads: reloads.transpose()?,
            stop,
            stopping: thread.spawn(move || stopped_app.recv().map_or(0, App::stop))?,
        })
    }
}
