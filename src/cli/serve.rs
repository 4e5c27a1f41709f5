//! `egressd serve`: load, start, say where, wait for the end, drain.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Streams, misconfigured};
use crate::app::{self, App, Ground, Output, StartError};
use crate::config::{self, Environment, Listen, LoadOptions, Loaded, LogLevel, SettingsOverrides};
use crate::hardening::{Hardening, Needs};
use crate::reload::{self, Asking, Watch};
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
    /// Whether the process gives up rights that it needs no more: memory images, privileges, files, system calls; instead of `EGRESSD_HARDENING`, else best-effort
    #[arg(long, value_enum)]
    hardening: Option<Asked>,
    /// Files and directories with definitions, instead of those that the settings list
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// How much depends on the process giving up rights.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Asked {
    /// It need not.
    Off,
    /// As much as can be had.
    #[default]
    BestEffort,
    /// Every measure, or no start.
    Required,
}

impl Serve {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        // First of all: a process that has PID 1 gets only signals that it asks for, and others would end without a word.
        let ends = Ends::new().map_err(too_few)?;
        let asked = self.hardening.or_else(|| Asked::by(&environment));
        let asked = asked.unwrap_or_default();
        let hardening = match asked {
            Asked::Off => Hardening::off(),
            Asked::BestEffort | Asked::Required => Hardening::begin(),
        };
        let overrides = SettingsOverrides {
            listen: self.listen,
            management_listen: self.management_listen,
            log_level: self.log_level,
            log_format: self.log_format,
            connections: self.paths,
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
        let launch = Launch {
            ends,
            loaded,
            anew: Some(options),
            hardening: Some((asked, hardening)),
            out,
            err,
        };
        serve(launch, streams, |_, _| Ok(()))
    }
}

/// What a serving process begins with.
pub(super) struct Launch {
    /// Made before anything else.
    pub(super) ends: Ends,
    pub(super) loaded: Loaded,
    /// What SIGHUP and changed files load anew.
    pub(super) anew: Option<LoadOptions>,
    /// What is asked for, and what has begun.
    pub(super) hardening: Option<(Asked, Hardening)>,
    pub(super) out: Output,
    pub(super) err: Output,
}

/// Takes what it needs from the system, confines itself, starts what was loaded, says where it listens, and waits for the end. `greet` may say more once it listens.
pub(super) fn serve(
    launch: Launch,
    streams: &mut Streams<'_>,
    greet: impl FnOnce(&App, &mut Streams<'_>) -> io::Result<()>,
) -> io::Result<Exit> {
    let Started {
        app,
        mut ends,
        logs,
    } = start(launch, streams)?;
    let Some((app, keepers)) = app else {
        last_lines(&logs, LAST_LINES);
        return Ok(Exit::Unavailable);
    };
    let problems = logs.problems.clone();
    greet(&app, streams)?;
    let Keepers {
        mut reloads,
        stop,
        stopping,
    } = keepers;
    ends.wait(&problems, reloads.as_mut());
    problems.tell(Event::Stopping);
    // It waits for this.
    let _taken = stop.send(app);
    let finished = ends.wait_again_until(|| stopping.is_finished());
    if finished {
        let cut_off = stopping.join().unwrap_or_default();
        problems.tell(Event::Stopped { cut_off });
        last_lines(&logs, LAST_LINES);
        return Ok(Exit::Good);
    }
    last_lines(&logs, LAST_LINES_AT_ONCE);
    Ok(Exit::No)
}

/// A process that serves, or has said in its log why it cannot.
struct Started {
    app: Option<(App, Keepers)>,
    ends: Ends,
    logs: Logs,
}

/// The threads beside those of the app. They are there from the start: later the system may have none to give.
struct Keepers {
    reloads: Option<Asking>,
    /// Stops the app that it is given.
    stop: SyncSender<App>,
    /// How many exchanges were cut off.
    stopping: JoinHandle<usize>,
}

impl Keepers {
    fn start(app: &App, anew: Option<(Watch, LoadOptions)>) -> io::Result<Self> {
        let reloads = anew.map(|(watch, options)| watch.start(app.reload(options)));
        let (stop, told) = sync_channel::<App>(1);
        let thread = std::thread::Builder::new().name("stop".into());
        Ok(Self {
            reloads: reloads.transpose()?,
            stop,
            stopping: thread.spawn(move || told.recv().map_or(0, App::stop))?,
        })
    }
}

/// Said on standard error: there is no log yet.
fn too_few(error: io::Error) -> io::Error {
    io::Error::other(StartError::System(error).to_string())
}

/// Every thread is started here, after the process is confined: what confines it is inherited.
fn start(launch: Launch, streams: &Streams<'_>) -> io::Result<Started> {
    let Launch {
        ends,
        loaded,
        anew,
        hardening,
        out,
        err,
    } = launch;
    let ground = Ground::take(&loaded.settings);
    let anew = match anew {
        Some(options) => Some((Watch::new(&loaded.sources).map_err(too_few)?, options)),
        None => None,
    };
    let is_told = hardening.is_some();
    let (asked, hardening) = hardening.unwrap_or((Asked::Off, Hardening::off()));
    let hardening = match asked {
        Asked::Off => hardening,
        Asked::BestEffort | Asked::Required => hardening.confine_process(&needs(&loaded)),
    };
    // With text, they stand on the stream already, with their excerpts.
    let has_warned = app::format(loaded.settings.log, &err) == Format::Text;
    let logs = app::start_logs(loaded.settings.log, out, err).map_err(too_few)?;
    let problems = logs.problems.clone();
    // A process serves once.
    let _first = streams.process.problems.set(problems.clone());
    if !has_warned {
        reload::warn(&loaded.warnings, &problems);
    }
    let connections = loaded.connections.len();
    let started = ground.map_err(Into::into).and_then(|ground| {
        if is_told {
            asked.bears(&hardening, &problems)?;
        }
        let app = App::start(ground, loaded, hardening, logs.clone())?;
        let keepers = Keepers::start(&app, anew).map_err(StartError::System)?;
        Ok((app, keepers))
    });
    let app = match started {
        Ok((app, keepers)) => {
            announce(&app, connections, &problems);
            Some((app, keepers))
        }
        Err(error) => {
            let error: Box<dyn Error> = error;
            let why = error.to_string().into();
            problems.tell(Event::StartFailed { why });
            None
        }
    };
    Ok(Started { app, ends, logs })
}

/// What must be readable again for a reload, and removed at the end.
fn needs(loaded: &Loaded) -> Needs {
    let listen = [
        &loaded.settings.proxy.listen,
        &loaded.settings.management.listen,
    ];
    let sockets = listen
        .into_iter()
        .flatten()
        .filter_map(|listen| match listen {
            Listen::Unix(path) => Some(path.clone()),
            Listen::Tcp(_) => None,
        });
    // Listed so that new secrets may be placed there while the process runs.
    let secrets = loaded.settings.secrets.allow.iter().flatten().cloned();
    Needs {
        readable: loaded.sources.places().into_iter().chain(secrets).collect(),
        sockets: sockets.collect(),
    }
}

impl Asked {
    /// What the environment says. A word that it does not know is a problem of the settings, told with the others.
    fn by(environment: &Environment) -> Option<Self> {
        Self::from_str(environment.hardening()?.to_str()?, false).ok()
    }

    /// Tells what became of it; fails if that is too little.
    fn bears(self, hardening: &Hardening, problems: &ProblemLog) -> Result<(), Box<dyn Error>> {
        let measures = hardening
            .states()
            .map(|(measure, state)| (measure.as_str(), state.to_string().into()));
        problems.tell(Event::Hardened {
            whole: hardening.is_whole() || self == Self::Off,
            measures: measures.collect(),
        });
        if self == Self::Required && !hardening.is_whole() {
            let why = format!(
                "hardening is required and not to be had whole: {hardening}; `--hardening best-effort` starts without"
            );
            return Err(why.into());
        }
        Ok(())
    }
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

/// The signals that end the process, and the one that reloads. Each is held until it is asked for, from the moment that this is made; two of a kind that come
/// at once are one.
pub(super) struct Ends {
    runtime: Runtime,
    told: Told,
}

struct Told {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Ends {
    pub(super) fn new() -> io::Result<Self> {
        app::claim_descriptors()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let told = {
            let _entered = runtime.enter();
            Told {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            }
        };
        Ok(Self { runtime, told })
    }

    /// Until the process is told to end.
    fn wait(&mut self, problems: &ProblemLog, mut reloads: Option<&mut Asking>) {
        let Told {
            terminate,
            interrupt,
            hangup,
        } = &mut self.told;
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = hangup.recv() => match &mut reloads {
                        Some(reloads) => reloads.ask(),
                        None => problems.tell(Event::ReloadUnsupported),
                    },
                }
            }
        });
    }

    /// Until it is so; false if the process is told once more before.
    fn wait_again_until(&mut self, is_so: impl Fn() -> bool) -> bool {
        let Told {
            terminate,
            interrupt,
            ..
        } = &mut self.told;
        self.runtime.block_on(async {
            let mut poll = tokio::time::interval(Duration::from_millis(10));
            loop {
                tokio::select! {
                    _ = terminate.recv() => return false,
                    _ = interrupt.recv() => return false,
                    _ = poll.tick() => if is_so() { return true },
                }
            }
        })
    }
}
