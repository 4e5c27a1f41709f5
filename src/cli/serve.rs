//! `egressd serve`: load, start, say where, wait for the end, drain.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Streams, misconfigured};
use crate::app::{self, App};
use crate::config::{self, Environment, LoadOptions, Loaded, SettingsOverrides};
use crate::telemetry::AccessLog;

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
    /// Whether the process gives up rights after start; this version cannot, so `required` does not start
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
                "egressd: this version cannot harden its process, which `--hardening required` asks for; \
                 harden it from outside (a user of its own, seccomp, a read-only root) and leave the flag out"
            )?;
            return Ok(Exit::Unavailable);
        }
        let overrides = SettingsOverrides {
            listen: self.listen,
            management_listen: self.management_listen,
            log_level: self.log_level,
            log_format: self.log_format,
            ..SettingsOverrides::default()
        };
        let loaded = match config::load(&LoadOptions {
            config: self.config,
            overrides,
            environment,
        }) {
            Ok(loaded) => loaded,
            Err(problems) => return misconfigured(&problems, streams),
        };
        write!(streams.err, "{}", config::text(&loaded.warnings))?;
        let log = app::access_log(&loaded.settings, io::stdout().is_terminal(), io::stdout())?;
        serve(loaded, log, streams, |_, _| Ok(()))
    }
}

/// Starts what was loaded, says where it listens, and waits for the end. `greet` may say more once it listens.
pub(super) fn serve(
    loaded: Loaded,
    log: AccessLog,
    streams: &mut Streams<'_>,
    greet: impl FnOnce(&App, &mut Streams<'_>) -> io::Result<()>,
) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _guard = runtime.enter();
    let mut ends = Ends::new()?;
    let connections = loaded.connections.len();
    let app = match App::start(loaded, log) {
        Ok(app) => app,
        Err(error) => {
            writeln!(streams.err, "egressd: {error}")?;
            return Ok(Exit::Unavailable);
        }
    };
    announce(&app, connections, streams);
    greet(&app, streams)?;
    runtime.block_on(ends.next(streams));
    tell(streams, "stopping; a second signal ends at once");
    let stopping = std::thread::spawn(move || app.stop());
    let ended = runtime.block_on(async {
        let mut poll = tokio::time::interval(std::time::Duration::from_millis(10));
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
            tell(
                streams,
                if finished {
                    "stopped"
                } else {
                    "stopped; some exchanges were cut off"
                },
            );
            Exit::Good
        }
        None => Exit::No,
    })
}

/// Says something to the operator. A running proxy does not end because nobody listens.
fn tell(streams: &mut Streams<'_>, what: impl std::fmt::Display) {
    let _unheard = writeln!(streams.err, "egressd: {what}").and_then(|()| streams.err.flush());
}

fn announce(app: &App, connections: usize, streams: &mut Streams<'_>) {
    for warning in app.warnings() {
        tell(streams, warning);
    }
    for address in app.proxy_addresses() {
        tell(streams, format_args!("agents connect to {address}"));
    }
    for address in app.management_addresses() {
        tell(streams, format_args!("operators connect to {address}"));
    }
    let noun = if connections == 1 {
        "connection"
    } else {
        "connections"
    };
    tell(streams, format_args!("ready with {connections} {noun}"));
}

/// The signals that end the process, and the one that does not yet do anything.
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

    async fn next(&mut self, streams: &mut Streams<'_>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => tell(streams, "SIGHUP: this version does not reload; restart it instead"),
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
