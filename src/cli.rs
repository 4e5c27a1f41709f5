//! The command line: parses the arguments and runs one command. Each command has its own file.
//!
//! A command writes to the streams that it is given and returns an [`Exit`]. Only `main.rs` ends
//! the process and uses its standard streams.

mod check;
mod connections;
mod connectors;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod explain;
mod generate;
mod healthcheck;
mod login;
mod logout;
mod probe;
mod schema;
mod serve;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use clap::{Parser, Subcommand};

use crate::app::Output;
use crate::config::{self, Environment, Loaded, Problem};
use crate::telemetry::ProblemLog;
use check::Format;

/// The exit code of a command, as numbered by `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Success = 0,
    /// The result is negative: problems were found, egressd is not ready, the request is refused.
    Failure = 1,
    /// Invalid arguments or a bad configuration (`EX_USAGE`).
    Usage = 64,
    /// An address cannot be bound, or a required resource is unavailable (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The command panicked, which is a bug in egressd (`EX_SOFTWARE`).
    Bug = 70,
}

/// The streams that a command writes to. Text always contains colour; `main.rs` removes it if the
/// stream is not a terminal.
pub struct Streams<'a> {
    /// Standard output: the result of the command.
    pub out: &'a mut dyn Write,
    /// Standard error: problems and warnings.
    pub err: &'a mut dyn Write,
    /// The streams of commands that keep running.
    pub process: Process,
}

/// The standard streams for commands that run until a signal. Their logs are written by separate
/// threads, which need streams that they own.
pub struct Process {
    /// Opens standard output.
    pub out: fn() -> io::Result<Output>,
    /// Opens standard error.
    pub err: fn() -> io::Result<Output>,
    /// The log that the panic hook reports to. Set when the log is started.
    pub panic_log: Arc<OnceLock<ProblemLog>>,
}

/// Discards the logs.
impl Default for Process {
    fn default() -> Self {
        Self {
            out: || Ok(Output::discard()),
            err: || Ok(Output::discard()),
            panic_log: Arc::default(),
        }
    }
}

#[derive(Parser)]
#[command(name = "egressd", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy until SIGTERM or SIGINT
    Serve(serve::Serve),
    /// Run a demonstration that needs no configuration: an embedded API, connections to it, and
    /// curl commands to paste
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    /// Explain how a request would be handled, without sending it
    Explain(explain::Explain),
    /// Check the configuration and report every problem at once
    Check(check::Check),
    /// List the built-in descriptions of APIs (connectors), or print a definition for one
    Connectors(connectors::Connectors),
    /// Test one connection: resolve, connect, TLS handshake and token, without a request to its API
    Probe(probe::Probe),
    /// Obtain the consent of a person for a connection, and store it
    Login(login::Login),
    /// End the consent for a connection: revoke it at the provider, and mark it as ended
    Logout(logout::Logout),
    /// List the connections, their status, and which of them need the consent of a person
    Connections(connections::Connections),
    /// Print the JSON Schema (draft 2020-12) of a connection file
    Schema(schema::Schema),
    /// Check if a running egressd is ready (for images without a shell or curl)
    Healthcheck(healthcheck::Healthcheck),
    /// Report which parts of the agent's sandbox are not closed; run it where the agent runs
    Doctor(doctor::Doctor),
    /// Generate shell completions and manual pages
    Generate(generate::Generate),
}

/// Runs the command that the arguments name. The first argument is the name of the program.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: &mut Streams<'_>,
) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // After a panic nothing of the command is used again, so its state may be inconsistent. The
    // panic hook has already reported the panic.
    let command = AssertUnwindSafe(|| run_command(&arguments, environment, streams));
    catch_unwind(command).unwrap_or(Exit::Bug)
}

fn run_command(
    arguments: &[OsString],
    environment: Environment,
    streams: &mut Streams<'_>,
) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(message) => return report_usage(&message, arguments, streams),
    };
    let done = match cli.command {
        Command::Serve(serve) => serve.run(environment, streams),
        Command::Explain(explain) => explain.run(environment, streams),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(streams),
        Command::Check(check) => check.run(environment, streams),
        Command::Connectors(connectors) => connectors.run(environment, streams),
        Command::Probe(probe) => probe.run(environment, streams),
        Command::Login(login) => login.run(environment, streams),
        Command::Logout(logout) => logout.run(environment, streams),
        Command::Connections(connections) => connections.run(environment, streams),
        Command::Schema(schema) => schema.run(streams),
        Command::Healthcheck(healthcheck) => healthcheck.run(environment, streams),
        Command::Doctor(doctor) => doctor.run(&environment, streams),
        Command::Generate(generate) => generate.run(streams),
    };
    done.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::BrokenPipe {
            let _ignored = writeln!(streams.err, "egressd: {error}");
        }
        write_error_exit(&error)
    })
}

/// Writes the message of clap: `--help` and `--version` to standard output, errors to standard
/// error.
fn report_usage(message: &clap::Error, arguments: &[OsString], streams: &mut Streams<'_>) -> Exit {
    let mut text = message.render().ansi().to_string();
    // clap quotes arguments that it does not understand, and such an argument may be a misplaced
    // secret.
    for argument in arguments.iter().filter_map(|argument| argument.to_str()) {
        // The value of `--flag=VALUE` may be a secret as well.
        let value = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => value,
            _ => argument,
        };
        if !value.starts_with("--") && !config::may_show(value) {
            text = text.replace(value, "…");
        }
    }
    // clap returns `--help` and `--version` as errors too; only mistakes go to standard error.
    let (stream, exit) = if message.use_stderr() {
        (&mut streams.err, Exit::Usage)
    } else {
        (&mut streams.out, Exit::Success)
    };
    match write!(stream, "{text}") {
        Ok(()) => exit,
        Err(error) => write_error_exit(&error),
    }
}

/// Reports the problems of a configuration that the command cannot run without.
fn report_problems(problems: &[Problem], streams: &mut Streams<'_>) -> io::Result<Exit> {
    // Standard output stays empty, so that a pipe does not receive problems in place of a result.
    write!(streams.err, "{}", config::render_text(problems))?;
    writeln!(streams.err, "{}", config::render_summary(None, problems))?;
    Ok(Exit::Usage)
}

/// The maximum number of ids that a message lists.
const MAX_LISTED_IDS: usize = 20;

/// Returns a sentence that names the connections, and the settings file if they come from one.
/// `has_paths` is `true` if arguments name the definitions instead.
fn describe_definitions(loaded: &Loaded, has_paths: bool) -> String {
    let source = match &loaded.sources.settings {
        _ if has_paths => "the named files and directories".to_owned(),
        Some(file) => format!("the settings in `{}`", file.display()),
        None => "the settings".to_owned(),
    };
    let ids = loaded.connections.iter().take(MAX_LISTED_IDS);
    let mut ids: Vec<String> = ids
        .map(|known| format!("`{}`", known.id.as_str()))
        .collect();
    match loaded.connections.len().saturating_sub(ids.len()) {
        0 if ids.is_empty() => ids.push("no connection".to_owned()),
        0 => {}
        more => ids.push(format!("{more} more")),
    }
    format!("{source} define {}", ids.join(", "))
}

/// Reports the problems of a configuration in this format: in JSON on standard output, as `egressd
/// check` does.
fn report_problems_as(
    format: Format,
    problems: &[Problem],
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    match format {
        Format::Text => report_problems(problems, streams),
        Format::Json => {
            let written = write!(streams.out, "{}", config::render_json(problems));
            exit_after_writing(written, Exit::Usage)
        }
    }
}

/// Returns the exit code of a command after its output was written. The code is the same if the
/// reader closed the pipe early.
fn exit_after_writing(written: io::Result<()>, exit: Exit) -> io::Result<Exit> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        written => written.map(|()| exit),
    }
}

/// Parses the value of `--timeout`: whole seconds within the limits of a check.
fn parse_timeout(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (1..=60).contains(seconds))
        .ok_or("write a whole number of seconds from 1 to 60")
}

/// Returns the exit code for an error of an output stream. A closed pipe is not a fault:
/// `egressd schema | head` closes it.
fn write_error_exit(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Exit::Success
    } else {
        Exit::Unavailable
    }
}
