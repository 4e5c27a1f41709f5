//! Load anew, compile whole, publish in one step; or keep the last good generation and say why.
//!
//! Invariant: what is published stood on the disk as a whole at one moment. Files that change while they are read are read again, a few times; then the
//! generation in use stays. [`ReloadWatcher`] is who calls.

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

/// How long files that change while they are read are left alone before they are read again. Whoever writes them more often than this has not finished.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
];

/// Where definitions come from and where they go.
pub struct Reload {
    /// Held while one reload runs: each generation is made from the one before.
    last: Mutex<LastAttempt>,
    targets: ReloadTargets,
    problems: ProblemLog,
}

/// A callback that prepares other parts for a generation before requests see it.
pub type BeforePublication = Box<dyn Fn(&Snapshot) + Send + Sync>;

/// Takes another login for the management API; whether it is another one.
pub type ReplaceLogin = Box<dyn Fn(&BasicAuth) -> bool + Send + Sync>;

/// What the process runs with, and what a reload may change of it.
pub struct ReloadTargets {
    /// The connections.
    pub published: Arc<PublishedSnapshot>,
    /// Where it is counted how reloads went.
    pub metrics: Arc<Metrics>,
    /// What was read at the start.
    pub sources: SourceFiles,
    /// The settings at the start.
    pub startup: StartupSettings,
    /// The process reads only what its files lay in at the start.
    pub confined: bool,
    /// The callback for each generation before it is published.
    pub before_publication: BeforePublication,
    /// How the login of the management API is replaced. It does nothing where there was none at the start.
    pub replace_login: ReplaceLogin,
}

/// The last attempt, and what was told of it.
struct LastAttempt {
    options: LoadOptions,
    sources: SourceFiles,
    /// The settings file was empty when it was last good.
    empty_settings: bool,
    /// The findings that were told last, so that an attempt that finds nothing else is silent.
    findings: Vec<Problem>,
    /// The settings of which it was told last that they need a restart.
    settings: StartupSettings,
    /// The last attempt was postponed because no descriptors or memory were left.
    is_postponed: bool,
}

/// The reason why nothing was loaded.
enum LoadError {
    /// The configuration has these problems.
    Refused(Vec<Problem>),
    /// The files could not be opened, so their content is unknown.
    ResourcesExhausted,
}

/// A reload that was good.
#[derive(Debug)]
pub struct Reloaded {
    /// The new generation's number.
    pub generation: u64,
    /// Its live connections.
    pub connections: usize,
}

impl Reload {
    /// Reads again what these options name, and tells how it went.
    pub fn new(options: LoadOptions, targets: ReloadTargets, problems: ProblemLog) -> Self {
        let last = LastAttempt {
            options,
            empty_settings: targets.sources.has_empty_settings(),
            sources: targets.sources.clone(),
            findings: Vec::new(),
            settings: targets.startup.clone(),
            is_postponed: false,
        };
        Self {
            last: Mutex::new(last),
            targets,
            problems,
        }
    }

    /// Reads files and compiles: takes its time, and belongs on a thread that serves nobody. With any problem nothing changes.
    pub fn run(&self) -> Result<Reloaded, Vec<Problem>> {
        let mut last = self.last.lock();
        // Whoever asks wants to hear.
        last.findings = Vec::new();
        last.is_postponed = false;
        self.reload_files(&mut last)
    }

    /// As [`Reload::run`] if any file holds something else than at the last attempt, good or bad. `None` if not.
    pub fn run_if_changed(&self) -> Option<Result<Reloaded, Vec<Problem>>> {
        let mut last = self.last.lock();
        match last.sources.has_changed() {
            Ok(false) => None,
            Ok(true) => Some(self.reload_files(&mut last)),
            Err(ResourcesExhausted) => Some(Err(self.postpone(&mut last))),
        }
    }

    /// Does this; a panic in it is a bug, counted, and costs this one reload.
    fn catch_panic<T>(&self, work: impl FnOnce(&Self) -> T) -> Option<T> {
        self.targets.metrics.catch_panic(|| work(self))
    }

    /// The directories in which something happens when there may be something to reload.
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
        let next = before.next_generation(loaded.connections);
        let (generation, hash) = (next.generation(), next.hash().into());
        let live = next.entries().iter().filter(|entry| entry.is_live());
        let connections = live.count();
        let changes = before.changes(&next);
        let login = loaded.settings.management.basic_auth;
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
    /// What stood on the disk as a whole at one moment.
    fn load(&mut self) -> Result<Loaded, LoadError> {
        let mut pauses = PAUSES.iter();
        loop {
            let LoadAttempt { outcome, sources } = config::attempt_load(&self.options);
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
                None => {
                    self.sources.mark_changed();
                    return Err(LoadError::Refused(vec![unsteady_problem()]));
                }
            }
        }
    }

    /// An empty settings file is legal, but one that was not empty before is one that somebody has not finished.
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
                    "holds nothing any more".to_owned(),
                )
                .remedy("write the settings; a comment alone says that the defaults are meant"),
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
    let message = "the files changed whenever they were read";
    Problem::whole("configuration", "unsteady", message.to_owned())
        .remedy("nothing: they are read again once they are left alone; replacing them by a rename makes a change one step")
}

/// Tells the log of findings.
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
