//! `egressd serve`: load, start, say where, wait for the end, drain.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Streams, misconfigured};
use crate::app::{self, App};
use crate::config::{self, Environment, LoadOptions, Loaded, LogLevel, SettingsOverrides};
use crate::hardening;
use crate::reload::{self, Reload};
use crate::telemetry::problem_log::{Door, Event};
use crate::telemetry::{Format, Logs, ProblemLog};

/// How long a reader that takes nothing is waited for at the end.
const LAST_LINES: Duration = Duration::from_millis(500);
/// The same where the process is to end at once.
const LAST_LINES_AT_ONCE: Duration = Duration::from_millis(50);

/// Runs the proxy until SIGTERM or SIGINT.
#[derive(Args)]
pub(super) struct Serve {
    /// Settings file, YAML or JSON; without it `config/egressd.yaml` if that exists, else defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where agents connect to, instead of `proxy.listen`; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Where operators connect to, instead of `management.listen`; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Vec<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Whether the process gives up rights: so far core dumps and debuggers; `required` asks for more, and does not start
    #[arg(long, value_enum, default_value_t)]
    hardening: Hardening,
}

/// How much depends on the process giving up rights.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Hardening {
    /// It need not.
    Off,
    /// As much as can be had.
    #[default]
    BestEffort,
    /// All of it, or no start.
    Required,
}

impl Serve {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        if self.hardening == Hardening::Required {
            writeln!(
                streams.err,
                "egressd: this version cannot harden its process as `--hardening required` asks for; \
                 harden it from outside (a user of its own, seccomp, a read-only root) and leave the flag out"
            )?;
            return Ok(Exit::Unavailable);
        }
        let dumps = match self.hardening {
            Hardening::Off => Ok(()),
            Hardening::BestEffort | Hardening::Required => hardening::refuse_dumps(),
        };
        let overrides = SettingsOverrides {
            listen: self.listen,
            management_listen: self.management_listen,
            log_level: self.log_level,
            log_format: self.log_format,
            ..SettingsOverrides::default()
        };
        let options = LoadOptions {
            config: self.config,
            overrides,
            environment,
        };
        let loaded = match config::load(&options) {
            Ok(loaded) => loaded,
            Err(problems) => return misconfigured(&problems, streams),
        };
        let (out, err) = ((streams.process.out)()?, (streams.process.err)()?);
        let settings = loaded.settings.log;
        let format = app::format(settings, &err);
        if format == Format::Text && settings.level >= LogLevel::Warn {
            // With their excerpts.
            write!(streams.err, "{}", config::text(&loaded.warnings))?;
        }
        let logs = app::start_logs(settings, out, err)?;
        if format == Format::Json {
            reload::warn(&loaded.warnings, &logs.problems);
        }
        if dumps.is_err() {
            logs.problems.tell(Event::DumpsAllowed);
        }
        serve(loaded, Some(options), &logs, streams, |_, _| Ok(()))
    }
}

/// Starts what was loaded, says where it listens, and waits for the end; SIGHUP loads `anew`. `greet` may say more once it listens.
pub(super) fn serve(
    loaded: Loaded,
    anew: Option<LoadOptions>,
    logs: &Logs,
    streams: &mut Streams<'_>,
    greet: impl FnOnce(&App, &mut Streams<'_>) -> io::Result<()>,
) -> io::Result<Exit> {
    let problems = logs.problems.clone();
    // A process serves once.
    let _first = streams.process.problems.set(problems.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let mut ends = Ends::new()?;
    let connections = loaded.connections.len();
    let app = match App::start(loaded, logs.clone()) {
        Ok(app) => app,
        Err(error) => {
            let why = error.to_string().into();
            problems.tell(Event::StartFailed { why });
            last_lines(logs, LAST_LINES);
            return Ok(Exit::Unavailable);
        }
    };
    announce(&app, connections, &problems);
    greet(&app, streams)?;
    let reloads = anew
        .map(|options| reloads(app.reload(options)))
        .transpose()?;
    runtime.block_on(ends.next(&problems, reloads.as_ref()));
    problems.tell(Event::Stopping);
    let stopping = std::thread::spawn(move || app.stop());
    let ended = runtime.block_on(async {
        let mut poll = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                () = ends.again() => return None,
                _ = poll.tick() => if stopping.is_finished() { return Some(()) },
            }
        }
    });
    Ok(match ended {
        Some(()) => {
            let finished = stopping.join().unwrap_or(false);
            problems.tell(Event::Stopped { cut_off: !finished });
            last_lines(logs, LAST_LINES);
            Exit::Good
        }
        None => {
            last_lines(logs, LAST_LINES_AT_ONCE);
            Exit::No
        }
    })
}

/// A thread that reloads as often as it is asked. Who asks while it has something before it asks for no more than that.
fn reloads(reload: Reload) -> io::Result<SyncSender<()>> {
    let (ask, asked) = sync_channel(1);
    std::thread::Builder::new()
        .name("reload".into())
        .spawn(move || {
            while asked.recv().is_ok() {
                // It has told the log.
                let _told = reload.run();
            }
        })?;
    Ok(ask)
}

/// Waits for both logs as long as their readers take something. What the access log lost is told in the other.
fn last_lines(logs: &Logs, patience: Duration) {
    let _in_time = logs.access.flush(patience);
    let _in_time = logs.problems.flush(patience);
}

fn announce(app: &App, connections: usize, problems: &ProblemLog) {
    for (door, addresses) in [
        (Door::Proxy, app.proxy_addresses()),
        (Door::Management, app.management_addresses()),
    ] {
        for address in addresses {
            let address = address.to_string().into();
            problems.tell(Event::Listening { door, address });
        }
    }
    problems.tell(Event::Ready { connections });
}

/// The signals that end the process, and the one that reloads.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self, problems: &ProblemLog, reloads: Option<&SyncSender<()>>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => match reloads {
                    // One that is full has a reload before it that begins later than this.
                    Some(reloads) => reloads.try_send(()).unwrap_or_default(),
                    None => problems.tell(Event::ReloadUnsupported),
                },
            }
        }
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
