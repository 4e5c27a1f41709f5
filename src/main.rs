//! The `egressd` program. Only this file ends the process or uses its standard streams.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use egressd::app::Output;
use egressd::cli::{self, Process, Streams};
use egressd::config::Environment;
use egressd::telemetry::panic_notice;
use mimalloc::MiMalloc;

/// Links mimalloc, which then replaces `malloc` and `free` of the C library for the whole process.
///
/// As Rust's global allocator, the crate would pass each allocation through the function for
/// aligned memory, which takes a slow path if the size is not a power of two. Rust's own global
/// allocator calls `malloc` unless a type needs a large alignment. mimalloc returns freed memory to
/// the system: see [`egressd::memory::return_freed`]. It uses no huge pages, because a page of 2
/// MiB stays resident as long as any byte of it is used.
fn link_allocator() {
    // The linker takes the object of mimalloc only if a symbol of it is used.
    std::hint::black_box(MiMalloc.version());
}

fn main() -> ExitCode {
    link_allocator();
    // These streams remove colour if they are not terminals or if `NO_COLOR` is set.
    let (mut out, mut err) = (anstream::stdout(), anstream::stderr());
    let process = Process {
        out: || unlocked_output(io::stdout()),
        err: || unlocked_output(io::stderr()),
        panic_log: Arc::default(),
    };
    let panic_log = Arc::clone(&process.panic_log);
    // The default hook prints the message of the panic, which may contain a secret (F-202).
    std::panic::set_hook(Box::new(move |panic| {
        if !panic_log.get().is_some_and(|log| log.report_panic(panic)) {
            // `eprintln!` would panic if standard error is closed.
            let _ignored = writeln!(io::stderr(), "{}", panic_notice(panic));
        }
    }));
    let mut err_stream = IgnoreWriteErrors(&mut err);
    let mut streams = Streams {
        out: &mut out,
        err: &mut err_stream,
        process,
    };
    let environment = Environment::new(std::env::vars_os());
    let exit = cli::run(std::env::args_os(), environment, &mut streams);
    // A stream that cannot be flushed cannot be reported anywhere.
    let _ = out.flush();
    let _ = err.flush();
    ExitCode::from(exit as u8)
}

/// Standard error, with write errors ignored: nothing can report them, and they must not change the
/// exit code.
struct IgnoreWriteErrors<W>(W);

impl<W: io::Write> io::Write for IgnoreWriteErrors<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.write(bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().or(Ok(()))
    }
}

/// Returns a standard stream without the lock and the buffer of the standard library, so that a
/// thread that is blocked in a write does not block other threads.
fn unlocked_output(stream: impl AsFd) -> io::Result<Output> {
    let file = File::from(stream.as_fd().try_clone_to_owned()?);
    Ok(Output {
        is_terminal: file.is_terminal(),
        colour: AutoStream::choice(&file) != ColorChoice::Never,
        stream: Box::new(file),
    })
}
