//! `egressd serve`: runs the proxy, and returns an exit code for how the process ended.

use std::io;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::{Exit, Streams, report_problems};
use crate::app::{self, HardeningMode, Launch, ProcessEnd, SignalStreams};
use crate::config::{self, Environment, EventLevel, LoadOptions, SettingsOverrides};
use crate::telemetry::LineFormat;

const AFTER_HELP: &str = "\
Exit codes: 0 stopped by a signal, 1 ended by a second signal, 64 the arguments are invalid or the configuration has problems, 69 an address cannot be bound, or resources or a required hardening measure are missing.";

/// The values of `log.level`.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// The values of `log.format`.
const FORMATS: [&str; 3] = ["auto", "text", "json"];

/// Runs the proxy until SIGTERM or SIGINT.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Serve {
    /// Settings file, YAML or JSON [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for agents, instead of `proxy.listen`; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Address of the management API, instead of `management.listen`; may be given more than once
    #[arg(long, value_name = "ADDRESS")]
    management_listen: Vec<String>,
    /// Least severe level that is logged, instead of `log.level`
    #[arg(long, value_name = "LEVEL", value_parser = LEVELS)]
    log_level: Option<String>,
    /// Format of both logs, instead of `log.format`
    #[arg(long, value_name = "FORMAT", value_parser = FORMATS)]
    log_format: Option<String>,
    /// Drop privileges the process no longer needs (overrides `EGRESSD_HARDENING`) [default:
    /// best-effort]
    #[arg(long, value_enum)]
    hardening: Option<HardeningMode>,
    /// Definition files and directories, instead of those in the settings
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl ValueEnum for HardeningMode {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Off, Self::BestEffort, Self::Required]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Off => ("off", "Do not harden the process"),
            Self::BestEffort => (
                "best-effort",
                "Apply every measure that this machine supports",
            ),
            Self::Required => ("required", "Apply every measure, or do not start"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// Returns the mode that the environment sets. An invalid value is a problem of the settings and is
/// reported with the others.
fn hardening_mode(environment: &Environment) -> Option<HardeningMode> {
    HardeningMode::from_str(environment.hardening()?.to_str()?, false).ok()
}

impl Serve {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        // First, so that a signal that arrives while files are read is not lost (F-182).
        let signals = SignalStreams::new().map_err(app::start_error)?;
        let mode = self.hardening.or_else(|| hardening_mode(&environment));
        let mode = mode.unwrap_or_default();
        // Before the secrets are read, so that no core dump can contain them.
        let hardening = mode.begin();
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
            Err(problems) => return report_problems(&problems, streams),
        };
        let (out, err) = ((streams.process.out)()?, (streams.process.err)()?);
        let settings = loaded.settings.log;
        let format = app::log_format(settings, &err);
        if format == LineFormat::Text && settings.level >= EventLevel::Warn {
            // In text, warnings are shown with excerpts of the files, which a line of the log
            // cannot hold.
            write!(streams.err, "{}", config::render_text(&loaded.warnings))?;
        }
        let launch = Launch {
            signals,
            loaded,
            reload_options: Some(options),
            hardening: Some((mode, hardening)),
            access_output: out,
            problem_output: err,
            panic_log: streams.process.panic_log.clone(),
        };
        launch.run(|_| Ok(())).map(Exit::from)
    }
}

impl From<ProcessEnd> for Exit {
    fn from(end: ProcessEnd) -> Self {
        match end {
            ProcessEnd::Stopped => Self::Success,
            ProcessEnd::Interrupted => Self::Failure,
            ProcessEnd::NotStarted => Self::Unavailable,
        }
    }
}
