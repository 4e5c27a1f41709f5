//! `egressd serve`: load, start, say where, wait for the end, drain.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
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
}

impl Serve {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
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
    announce(&app, connections, streams)?;
    greet(&app, streams)?;
    runtime.block_on(ends.next(streams))?;
    writeln!(
        streams.err,
        "egressd: stopping; a second signal ends at once"
    )?;
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
            let how = if finished {
                ""
            } else {
                "; some exchanges were cut off"
            };
            writeln!(streams.err, "egressd: stopped{how}")?;
            Exit::Good
        }
        None => Exit::No,
    })
}

fn announce(app: &App, connections: usize, streams: &mut Streams<'_>) -> io::Result<()> {
    for warning in app.warnings() {
        writeln!(streams.err, "egressd: {warning}")?;
    }
    for address in app.proxy_addresses() {
        writeln!(streams.err, "egressd: agents connect to {address}")?;
    }
    for address in app.management_addresses() {
        writeln!(streams.err, "egressd: operators connect to {address}")?;
    }
    let noun = if connections == 1 {
        "connection"
    } else {
        "connections"
    };
    writeln!(streams.err, "egressd: ready with {connections} {noun}")?;
    streams.err.flush()
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

    async fn next(&mut self, streams: &mut Streams<'_>) -> io::Result<()> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.hangup.recv() => writeln!(streams.err, "egressd: SIGHUP: this version does not reload; restart it instead")?,
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
