//! The command line: arguments → one command, one file each.
//!
//! A command writes into the streams that it is given and answers with an [`Exit`]; it neither ends the process nor knows its
//! standard streams. Only `main.rs` does.

mod check;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod explain;
mod healthcheck;
mod probe;
mod schema;
mod serve;

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use clap::{Parser, Subcommand};

use crate::app::Output;
use crate::config::{self, Environment, Problem};
use crate::telemetry::ProblemLog;

/// How a command ends, as `sysexits.h` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Good.
    Success = 0,
    /// The answer is no: problems found, unhealthy, refused.
    Failure = 1,
    /// Wrong arguments or a bad configuration.
    Usage = 64,
    /// An address cannot be bound, or something that is needed is not there.
    Unavailable = 69,
    /// A bug in egressd.
    Bug = 70,
}

/// Where a command writes to. Colour is written always; a stream that is no terminal drops it.
pub struct Streams<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What went wrong.
    pub err: &'a mut dyn Write,
    /// What a command that goes on needs beyond them.
    pub process: Process,
}

/// The process, for commands that go on until they are told to stop: their logs are written by threads of their own.
pub struct Process {
    /// Its standard output, once more.
    pub out: fn() -> io::Result<Output>,
    /// Its standard error, once more.
    pub err: fn() -> io::Result<Output>,
    /// Where the panic hook looks for the log.
    pub panic_log: Arc<OnceLock<ProblemLog>>,
}

/// Nobody reads its logs.
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
    /// Try it with nothing to configure: an API of its own, connections to it, and curl lines to paste
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    /// Say what would become of a request, without sending it
    Explain(explain::Explain),
    /// Report every problem of the configuration at once
    Check(check::Check),
    /// Resolve, connect, shake hands and obtain a token for one connection, without a request to its API
    Probe(probe::Probe),
    /// Print the JSON Schema (draft 2020-12) of a connection file
    Schema(schema::Schema),
    /// Ask a running egressd whether it is ready: for images without a shell or curl
    Healthcheck(healthcheck::Healthcheck),
    /// Run beside the agent: which part of its sandbox is not closed?
    Doctor(doctor::Doctor),
}

/// Runs the command that the arguments name (the program's own name first).
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: &mut Streams<'_>,
) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(asked) => return report_usage(&asked, &arguments, streams),
    };
    let done = match cli.command {
        Command::Serve(serve) => serve.run(environment, streams),
        Command::Explain(explain) => explain.run(environment, streams),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(streams),
        Command::Check(check) => check.run(environment, streams),
        Command::Probe(probe) => probe.run(environment, streams),
        Command::Schema(schema) => schema.run(streams),
        Command::Healthcheck(healthcheck) => healthcheck.run(environment, streams),
        Command::Doctor(doctor) => doctor.run(&environment, streams),
    };
    done.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::BrokenPipe {
            let _unheard = writeln!(streams.err, "egressd: {error}");
        }
        write_error_exit(&error)
    })
}

/// `--help` and `--version` are answers; everything else is a mistake.
fn report_usage(asked: &clap::Error, arguments: &[OsString], streams: &mut Streams<'_>) -> Exit {
    let mut text = asked.render().ansi().to_string();
    // clap repeats arguments that it does not understand, and one may be a secret in the wrong
    // place.
    for argument in arguments.iter().filter_map(|argument| argument.to_str()) {
        let value = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => value,
            _ => argument,
        };
        if !value.starts_with("--") && !config::may_show(value) {
            text = text.replace(value, "…");
        }
    }
    let (stream, exit) = if asked.use_stderr() {
        (&mut streams.err, Exit::Usage)
    } else {
        (&mut streams.out, Exit::Success)
    };
    match write!(stream, "{text}") {
        Ok(()) => exit,
        Err(error) => write_error_exit(&error),
    }
}

/// A command that needs a configuration cannot run without a good one.
fn report_problems(problems: &[Problem], streams: &mut Streams<'_>) -> io::Result<Exit> {
    write!(streams.err, "{}", config::render_text(problems))?;
    writeln!(streams.err, "{}", config::render_summary(None, problems))?;
    Ok(Exit::Usage)
}

/// The answer of a command that wrote it down: the same for a reader that has seen enough of it.
fn exit_after_writing(written: io::Result<()>, exit: Exit) -> io::Result<Exit> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit),
        written => written.map(|()| exit),
    }
}

/// A reader that has seen enough (`egressd schema | head`) is no fault.
fn write_error_exit(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Exit::Success
    } else {
        Exit::Unavailable
    }
}
