//! The output of the program when it panics. No request can cause a panic, so this test program
//! runs itself once more with the same hook.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Output};

use egressd::cli::{Exit, Process, Streams, run};
use egressd::config::Environment;
use egressd::telemetry::{EventFormat, EventLevel, ProblemLog, panic_notice};

use crate::support::PATIENCE;
use crate::support::limited::output;
use crate::support::message::text;

const PLANTED: &str = "planted-secret-0123456789";
const CHILD: &str = "EGRESSD_TESTS_PANIC";

/// Runs a test of this program in a process of its own.
fn in_child(test: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    output(child.env(CHILD, "1"))
}

#[test]
fn a_panic_is_reported_by_its_place_alone() {
    // F-202
    if std::env::var_os(CHILD).is_some() {
        std::panic::set_hook(Box::new(|panic| {
            let _written = writeln!(std::io::stderr(), "{}", panic_notice(panic));
        }));
        panic!("with {PLANTED} in it");
    }
    let child = in_child("panics::a_panic_is_reported_by_its_place_alone");
    let printed = [child.stdout, child.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(!child.status.success(), "{printed}");
    assert!(
        printed.contains("internal error, ") && printed.contains(file!()),
        "{printed}"
    );
    assert!(!printed.contains(PLANTED), "{printed}");
}

#[test]
fn a_panic_is_an_event_if_a_log_runs() {
    // F-202
    if std::env::var_os(CHILD).is_some() {
        let log =
            ProblemLog::start(EventLevel::Error, EventFormat::Json, std::io::stderr()).unwrap();
        let hook = log.clone();
        std::panic::set_hook(Box::new(move |panic| assert!(hook.report_panic(panic))));
        let worker = std::thread::Builder::new().name("worker-7".into());
        let worker = worker.spawn(|| panic!("with {PLANTED} in it")).unwrap();
        assert!(worker.join().is_err());
        assert!(log.flush(PATIENCE));
        return;
    }
    let child = in_child("panics::a_panic_is_an_event_if_a_log_runs");
    let (out, printed) = (text(&child.stdout), text(&child.stderr));
    assert!(child.status.success(), "{printed}");
    assert!(
        !out.contains(PLANTED) && !printed.contains(PLANTED),
        "{printed}"
    );
    let line = printed.lines().find(|line| line.starts_with('{')).unwrap();
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&event["event"], &event["level"]),
        (&"panic".into(), &"error".into())
    );
    assert_eq!(
        (&event["thread"], &event["file"]),
        (&"worker-7".into(), &file!().into())
    );
    assert!(event["line"].as_u64().unwrap() > 1, "{line}");
}

/// A stream that panics, in place of a bug in a command.
struct PanickingStream;

impl std::io::Write for PanickingStream {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        panic!("with {PLANTED} in it")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_command_that_panics_exits_with_the_code_of_a_bug() {
    let mut streams = Streams {
        out: &mut PanickingStream,
        err: &mut std::io::sink(),
        process: Process::default(),
    };
    let arguments = ["egressd", "schema"].map(OsString::from);
    let exit = run(arguments, Environment::new([("", ""); 0]), &mut streams);
    assert_eq!((exit, exit as u8), (Exit::Bug, 70));
}
