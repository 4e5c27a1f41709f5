//! The life cycle of a serving process: acquire resources, confine the process, start the logs,
//! serve until a signal, stop.

use std::error::Error;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::App;
use super::background::BackgroundThreads;
use super::confinement::HardeningMode;
use super::logs::{Output, log_format, start_logs};
use super::resources::{StartError, StartResources};
use super::signals::SignalStreams;
use crate::config::{LoadOptions, Loaded};
use crate::hardening::Hardening;
use crate::management::ListenerOverview;
use crate::reload::{self, ReloadWatcher};
use crate::telemetry::problem_log::ListenerKind;
use crate::telemetry::{Event, LineFormat, Logs, ProblemLog};

/// The time that the log threads get to write their last lines at the end if a reader is slow.
const LAST_LINES: Duration = Duration::from_millis(500);
/// The same after a second signal, when the process must end at once.
const LAST_LINES_AT_ONCE: Duration = Duration::from_millis(50);

/// The inputs of a serving process.
pub struct Launch {
    /// The signals, which are registered before anything else.
    pub signals: SignalStreams,
    /// The configuration.
    pub loaded: Loaded,
    /// The options of a reload by SIGHUP or by changed files; `None` if the process cannot reload.
    pub reload_options: Option<LoadOptions>,
    /// The mode, and the measures that were taken before the configuration was read; `None` for a
    /// process that is never confined.
    pub hardening: Option<(HardeningMode, Hardening)>,
    /// The stream of the access log.
    pub access_output: Output,
    /// The stream of the problem log.
    pub problem_output: Output,
    /// The cell that the panic hook reads the log from.
    pub panic_log: Arc<OnceLock<ProblemLog>>,
}

/// The parts of a serving process. The app is missing if the start failed; the log has the reason.
type Started = (Option<(App, BackgroundThreads)>, SignalStreams, Logs);

/// The reason why a serving process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// The process stopped after a signal.
    Stopped,
    /// A second signal ended the process while it was stopping.
    Interrupted,
    /// The process could not start; its log has the reason.
    NotStarted,
}

impl Launch {
    /// Starts the app, logs its addresses, and serves until a signal. Calls `on_ready` once the app
    /// listens.
    pub fn run(self, on_ready: impl FnOnce(&App) -> io::Result<()>) -> io::Result<ProcessEnd> {
        let (started, mut signals, logs) = self.start()?;
        let Some((app, background)) = started else {
            flush_logs(&logs, LAST_LINES);
            return Ok(ProcessEnd::NotStarted);
        };
        let problems = logs.problems.clone();
        on_ready(&app)?;
        let BackgroundThreads {
            mut reloads,
            stop,
            stopping,
        } = background;
        signals.wait_for_stop(&problems, reloads.as_mut());
        problems.report(Event::Stopping);
        // The thread receives exactly one app, so this neither blocks nor fails.
        let _sent = stop.send(app);
        if signals.wait_until(|| stopping.is_finished()) {
            let stopped = stopping.join();
            if let Ok(cut_off) = &stopped {
                let cut_off = *cut_off;
                problems.report(Event::Stopped { cut_off });
            }
            flush_logs(&logs, LAST_LINES);
            return match stopped {
                Ok(_) => Ok(ProcessEnd::Stopped),
                // The exit code is that of a panic of the command itself.
                Err(panic) => resume_unwind(panic),
            };
        }
        flush_logs(&logs, LAST_LINES_AT_ONCE);
        Ok(ProcessEnd::Interrupted)
    }

    /// Acquires resources, confines the process, and starts the logs and the app. Threads inherit
    /// the confinement of the process, so all of them start after it.
    fn start(self) -> io::Result<Started> {
        // An error is kept until the logs are started, so that it is reported as an event.
        let resources = StartResources::acquire(&self.loaded.settings);
        let reload_input = match self.reload_options {
            Some(options) => Some((
                ReloadWatcher::new(&self.loaded.sources).map_err(start_error)?,
                options,
            )),
            None => None,
        };
        let is_reported = self.hardening.is_some();
        let (mode, hardening) = self
            .hardening
            .unwrap_or((HardeningMode::Off, Hardening::off()));
        // No thread exists yet. Landlock and seccomp apply to the calling thread and to threads
        // that it starts later.
        let hardening = mode.confine(hardening, &self.loaded);
        let log_settings = self.loaded.settings.log;
        // With text, `egressd serve` has already written the warnings, with excerpts of the files.
        let has_warned = log_format(log_settings, &self.problem_output) == LineFormat::Text;
        let logs = start_logs(log_settings, self.access_output, self.problem_output)
            .map_err(start_error)?;
        let problems = logs.problems.clone();
        // A process serves only once, so the cell is empty.
        let _first = self.panic_log.set(problems.clone());
        if !has_warned {
            reload::log_findings(&self.loaded.warnings, &problems);
        }
        let connections = self.loaded.connections.len();
        let started = resources.map_err(Into::into).and_then(|resources| {
            if is_reported {
                mode.report(&hardening, &problems)?;
            }
            let app = App::start(resources, self.loaded, hardening, logs.clone())?;
            let background =
                BackgroundThreads::start(&app, reload_input).map_err(StartError::System)?;
            Ok((app, background))
        });
        let app = match started {
            Ok((app, background)) => {
                announce(&app, connections, &problems);
                Some((app, background))
            }
            Err(error) => {
                let error: Box<dyn Error> = error;
                let why = error.to_string().into();
                problems.report(Event::StartFailed { why });
                None
            }
        };
        Ok((app, self.signals, logs))
    }
}

/// Converts an error that stops the start before the logs are started. The caller writes it to
/// standard error.
pub fn start_error(error: io::Error) -> io::Error {
    io::Error::other(StartError::System(error).to_string())
}

/// Waits until both logs are written, at most `patience` for each of them. The problem log is last,
/// because it reports the lines that the access log lost.
fn flush_logs(logs: &Logs, patience: Duration) {
    let _in_time = logs.access.flush(patience);
    let _in_time = logs.problems.flush(patience);
}

/// Logs each address, then that the process is ready.
fn announce(app: &App, connections: usize, problems: &ProblemLog) {
    for ListenerOverview { address, scope } in &*app.addresses.listeners {
        problems.report(Event::Listening {
            listener: ListenerKind::Proxy,
            address: address.as_str().into(),
            connection: scope.mounted_id().cloned(),
            connections: scope.listed_ids(),
        });
    }
    for address in app.management_addresses() {
        problems.report(Event::Listening {
            listener: ListenerKind::Management,
            address: address.to_string().into(),
            connection: None,
            connections: None,
        });
    }
    problems.report(Event::Ready { connections });
}
