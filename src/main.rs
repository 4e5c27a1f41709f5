//! The `egressd` program: the only place that ends the process or touches its standard streams.

use std::io::Write as _;
use std::process::ExitCode;

use egressd::cli::{self, Streams};
use egressd::config::Environment;
use egressd::telemetry::PanicNotice;

fn main() -> ExitCode {
    let (mut out, mut err) = (anstream::stdout(), anstream::stderr());
    let mut streams = Streams {
        out: &mut out,
        err: &mut err,
    };
    // Not `eprintln!`: it panics where standard error is closed.
    std::panic::set_hook(Box::new(|panic| {
        let _unheard = writeln!(std::io::stderr(), "{}", PanicNotice::of(panic));
    }));
    let environment = Environment::new(std::env::vars_os());
    let exit = cli::run(std::env::args_os(), environment, &mut streams);
    // A reader that has gone away cannot be told.
    let _ = out.flush();
    let _ = err.flush();
    ExitCode::from(exit as u8)
}
