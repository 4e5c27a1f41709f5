//! Reloads the configuration: reads the files, compiles them, and publishes the result in one step.
//! If anything is wrong, the last good generation stays in use and the problems are reported.
//!
//! Invariant: all published contents existed on the disk together at one moment. Files that change
//! while they are read are read again, a few times; after that the current generation stays in use.
//! [`ReloadWatcher`] decides when to reload.

mod mounts;
mod notices;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    self, LoadAttempt, LoadOptions, Loaded, Problem, ResourcesExhausted, Severity, SourceFiles,
    StartupSettings,
};
use crate::domain::auth::BasicAuth;
use crate::snapshot::{PublishedSnapshot, Snapshot};
use crate::telemetry::problem_log::ConfigProblem;
use crate::telemetry::{Event, Metrics, ProblemLog};
use parking_lot::Mutex;
pub use watch::{ReloadHandle, ReloadWatcher};

/// The pauses before files that changed while they were read are read again. A writer that changes
/// them more often than this has not finished.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
];

/// Loads the configuration and publishes it.
pub struct Reload {
    /// Locked during a reload, because each generation is built from the previous one.
    last: Mutex<LastAttempt>,
    targets: ReloadTargets,
    problems: ProblemLog,
}

/// A callback that prepares other parts for a generation before requests see it.
pub type BeforePublication = Box<dyn Fn(&Snapshot) + Send + Sync>;

/// Replaces the login of the management API. Returns whether the new one differs.
pub type ReplaceLogin = Box<dyn Fn(&BasicAuth) -> bool + Send + Sync>;

/// The state of the running process that a reload reads and changes.
pub struct ReloadTargets {
    /// The connections that requests see.
    pub published: Arc<PublishedSnapshot>,
    /// Counts the reloads.
    pub metrics: Arc<Metrics>,
    /// The files that were read at the start.
    pub sources: SourceFiles,
    /// The settings at the start.
    pub startup: StartupSettings,
    /// `true` if hardening limits reads to the directories that the files were in at the start.
    pub confined: bool,
    /// The directory of the token store, if hardening denies access to it because no connection
    /// needed it at the start, or because it did not exist.
    pub excluded_store: Option<PathBuf>,
    /// The callback for each generation before it is published.
    pub before_publication: BeforePublication,
    /// Replaces the login of the management API. Does nothing if no login was configured at the
    /// start.
    pub replace_login: ReplaceLogin,
}

/// The last attempt, and what was logged about it.
struct LastAttempt {
    options: LoadOptions,
    sources: SourceFiles,
    /// `true` if the settings file was empty when it was last valid.
    empty_settings: bool,
    /// The findings that were logged last. An attempt with the same findings logs nothing.
    findings: Vec<Problem>,
    /// The settings that were last reported to need a restart.
    settings: StartupSettings,
    /// `true` if it was logged that the token store is out of reach.
    is_store_reported: bool,
    /// `true` if the last attempt was postponed because no descriptors or memory were left.
    is_postponed: bool,
}

/// The reason why nothing was loaded.
enum LoadError {
    /// The configuration has these problems.
    Refused(Vec<Problem>),
    /// The files could not be opened, so their content is unknown.
    ResourcesExhausted,
}

/// A successful reload.
#[derive(Debug)]
pub struct Reloaded {
    /// The number of the new generation.
    pub generation: u64,
    /// The number of its live connections.
    pub connections: usize,
}

impl Reload {
    /// Creates a reload of the files that these options name. It publishes to `targets` and reports
    /// to `problems`.
    pub fn new(options: LoadOptions, targets: ReloadTargets, problems: ProblemLog) -> Self {
        let last = LastAttempt {
            options,
            empty_settings: targets.sources.has_empty_settings(),
            sources: targets.sources.clone(),
            findings: Vec::new(),
            settings: targets.startup.clone(),
            is_store_reported: false,
            is_postponed: false,
        };
        Self {
            last: Mutex::new(last),
            targets,
            problems,
        }
    }

    /// Reads the files, compiles them and publishes the result. Changes nothing if there is any
    /// problem. This takes time, so it belongs on a thread that serves no requests.
    pub fn run(&self) -> Result<Reloaded, Vec<Problem>> {
        let mut last = self.last.lock();
        // The operator requested this reload, so its findings are logged even if they are the same
        // as before.
        last.findings = Vec::new();
        last.is_postponed = false;
        let result = self.reload_files(&mut last);
        self.report_excluded_store(&mut last);
        result
    }

    /// Runs [`Reload::run`] if any file differs from the last attempt, whether that succeeded or
    /// not. Returns `None` if none differs.
    pub fn run_if_changed(&self) -> Option<Result<Reloaded, Vec<Problem>>> {
        let mut last = self.last.lock();
        let result = match last.sources.has_changed() {
            Ok(false) => None,
            Ok(true) => Some(self.reload_files(&mut last)),
            Err(ResourcesExhausted) => Some(Err(self.postpone(&mut last))),
        };
        self.report_excluded_store(&mut last);
        result
    }

    /// Logs once that hardening denies access to the token store, when a connection needs the store
    /// and its directory exists. A login in another process may create the directory.
    fn report_excluded_store(&self, last: &mut LastAttempt) {
        let Some(store) = &self.targets.excluded_store else {
            return;
        };
        if last.is_store_reported {
            return;
        }
        let snapshot = self.targets.published.current();
        let mut entries = snapshot.entries().iter().filter(|entry| entry.is_live());
        let is_needed = entries.any(|entry| entry.connection.auth.consent().is_some());
        if is_needed && store.is_dir() {
            last.is_store_reported = true;
            self.log_event(Event::StoreOutOfReach);
        }
    }

    /// Runs `work`. A panic in it is a bug: it is counted, and costs only this reload.
    fn catch_panic<T>(&self, work: impl FnOnce(&Self) -> T) -> Option<T> {
        self.targets.metrics.catch_panic(|| work(self))
    }

    /// Returns the directories to watch: a change in one of them may mean that a file has changed.
    pub fn watched_directories(&self) -> BTreeSet<PathBuf> {
        let last = self.last.lock();
        last.sources.watched_directories()
    }

    fn reload_files(&self, last: &mut LastAttempt) -> Result<Reloaded, Vec<Problem>> {
        match last.load() {
            Ok(loaded) => {
                let startup = loaded.settings.startup_settings();
                last.is_postponed = false;
                Ok(self.publish(loaded, last, startup))
            }
            Err(LoadError::Refused(found)) => {
                last.is_postponed = false;
                self.targets.metrics.record_reload(false);
                self.record_failure(&found, last);
                Err(found)
            }
            Err(LoadError::ResourcesExhausted) => Err(self.postpone(last)),
        }
    }

    /// Keeps the configuration in use. The files could not be compared, so no file is reported as
    /// faulty. The next comparison tries again.
    fn postpone(&self, last: &mut LastAttempt) -> Vec<Problem> {
        if !std::mem::replace(&mut last.is_postponed, true) {
            self.log_event(Event::ReloadPostponed);
        }
        last.sources.mark_changed();
        let message = "no file descriptor or memory is left to read it";
        let problem = Problem::whole("configuration", "reload_postponed", message.to_owned());
        vec![problem.remedy("no action is needed: egressd reads it again within seconds")]
    }

    fn publish(
        &self,
        loaded: Loaded,
        last: &mut LastAttempt,
        startup: StartupSettings,
    ) -> Reloaded {
        if last.findings != loaded.warnings {
            log_findings(&loaded.warnings, &self.problems);
            last.findings = loaded.warnings;
        }
        let before = Arc::clone(&self.targets.published.current());
        let next = before
            .next_generation(loaded.connections)
            .with_ceilings(loaded.settings.ceilings)
            .with_connectors(loaded.connectors);
        let (generation, hash) = (next.generation(), next.hash().into());
        let live = next.entries().iter().filter(|entry| entry.is_live());
        let connections = live.count();
        let changes = before.changes(&next);
        let login = loaded.settings.management.basic_auth;
        // Before requests see the generation: its secrets must be searched for before one is sent.
        (self.targets.before_publication)(&next);
        self.targets.published.publish(next);
        self.targets.metrics.record_reload(true);
        if login.is_some_and(|pair| (self.targets.replace_login)(&pair)) {
            self.log_event(Event::LoginChanged);
        }
        self.log_event(Event::Reloaded {
            generation,
            connections,
            hash,
            changes,
        });
        if last.settings != startup {
            let settings = self.targets.startup.differences(&startup);
            last.settings = startup;
            if !settings.is_empty() {
                self.log_event(Event::RestartNeeded { settings });
            }
        }
        Reloaded {
            generation,
            connections,
        }
    }

    fn record_failure(&self, found: &[Problem], last: &mut LastAttempt) {
        if last.findings == found {
            return;
        }
        log_findings(found, &self.problems);
        last.findings = found.to_vec();
        let errors = found.iter().filter(|found| found.is_error());
        let problems = errors.count();
        self.log_event(Event::ReloadFailed { problems });
        if self.targets.confined && last.sources.has_forbidden_files() {
            self.log_event(Event::OutOfReach);
        }
    }

    fn log_event(&self, event: Event) {
        self.problems.report(event);
    }
}

impl LastAttempt {
    /// Loads contents that existed on the disk together at one moment.
    fn load(&mut self) -> Result<Loaded, LoadError> {
        let mut pauses = PAUSES.iter();
        loop {
            let LoadAttempt { outcome, sources } = config::attempt_reload(&self.options);
            // Files that were not all seen must not replace the watched state.
            if sources.has_unknown_files() {
                return Err(LoadError::ResourcesExhausted);
            }
            let steady = !sources.has_changed()?;
            self.sources = sources;
            match pauses.next() {
                _ if steady => {
                    return self
                        .reject_emptied_settings(outcome)
                        .map_err(LoadError::Refused);
                }
                Some(pause) => std::thread::sleep(*pause),
                // Marked as changed, so that the next poll tries again even if no file changes
                // until then.
                None => {
                    self.sources.mark_changed();
                    return Err(LoadError::Refused(vec![unsteady_problem()]));
                }
            }
        }
    }

    /// Rejects an empty settings file that was not empty before. An empty file is valid, but such a
    /// one is probably a file that a program is still writing.
    fn reject_emptied_settings(
        &mut self,
        outcome: Result<Loaded, Vec<Problem>>,
    ) -> Result<Loaded, Vec<Problem>> {
        let empty = self.sources.has_empty_settings();
        let file = self.sources.settings.as_ref();
        if let Some(file) = file.filter(|_| empty && !self.empty_settings) {
            let file = file.display().to_string();
            return Err(vec![
                Problem::whole(
                    file,
                    "settings_emptied",
                    "was not empty before and is empty now".to_owned(),
                )
                .remedy("write the settings; for the defaults, write a comment alone"),
            ]);
        }
        if outcome.is_ok() {
            self.empty_settings = empty;
        }
        outcome
    }
}

impl From<ResourcesExhausted> for LoadError {
    fn from(_: ResourcesExhausted) -> Self {
        Self::ResourcesExhausted
    }
}

fn unsteady_problem() -> Problem {
    let message = "the files kept changing while they were being read";
    Problem::whole("configuration", "unsteady", message.to_owned())
        .remedy("no action is needed: egressd reads them again once they stay unchanged; to change a file in one step, write a new one and rename it")
}

/// Logs each problem as an event of its own.
pub fn log_findings(problems: &[Problem], log: &ProblemLog) {
    for found in problems {
        let problem = Box::new(ConfigProblem {
            code: found.code,
            file: found.file.clone(),
            line: found.line,
            field: found.field.clone(),
            message: found.message.clone(),
            remedy: found.remedy.clone(),
        });
        log.report(if found.severity == Severity::Error {
            Event::ConfigProblem { problem }
        } else {
            Event::ConfigWarning { problem }
        });
    }
}
