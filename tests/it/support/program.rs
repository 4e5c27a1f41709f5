//! `egressd serve` as a process whose standard streams the test controls.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::{Value, json};
use socket2::SockRef;
use tempfile::TempDir;

use super::connection::Connection;
use super::limited::{self, LimitedChild};
use super::{PATIENCE, certs};

/// The id of a user without processes: another one each time.
fn unused_user() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 16 + STARTED.fetch_add(1, Relaxed);
    (20_000 + number % 40_000).to_string()
}

/// The files of a configuration.
pub(crate) struct Program {
    files: TempDir,
}

/// The running process. It is killed if the test fails before its end.
pub(crate) struct RunningProgram {
    child: LimitedChild,
    /// The reader of standard output.
    pub(crate) out: BufReader<Box<dyn Read + Send>>,
    /// The reader of standard error.
    pub(crate) err: BufReader<Box<dyn Read + Send>>,
    /// The lines of standard error that were read so far.
    pub(crate) heard: Vec<String>,
}

impl Program {
    /// Writes these connections and `settings`, which are added to the settings that every test
    /// needs.
    pub(crate) fn new(connections: &[Connection], settings: &Value) -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        fs::create_dir(at("connections")).unwrap();
        fs::write(at("ca.pem"), certs::ca_pem()).unwrap();
        let mut all = json!({
            "proxy": {"listen": ["127.0.0.1:0"]},
            "management": {"listen": ["127.0.0.1:0"]},
            "egress": {"ca_files": ["ca.pem"]},
            "connections": ["connections"],
        });
        for (section, value) in settings.as_object().unwrap() {
            all[section] = value.clone();
        }
        fs::write(at("egressd.yaml"), all.to_string()).unwrap();
        let program = Self { files };
        for connection in connections {
            program.define(connection);
        }
        program
    }

    /// Writes the file of a connection, and replaces an existing one.
    pub(crate) fn define(&self, connection: &Connection) {
        // Renamed into place, so that a process that watches the files never reads an empty one.
        let next = self.path("next");
        fs::write(&next, connection.definition().to_string()).unwrap();
        fs::rename(
            next,
            self.path(&format!("connections/{}.json", connection.id)),
        )
        .unwrap();
    }

    /// Returns a path in the directory of the files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Starts `egressd serve` with `--config` and these flags.
    pub(crate) fn command(&self, flags: &[&str]) -> Command {
        self.other_command("serve", flags)
    }

    /// Returns `egressd COMMAND` with `--config` and these arguments.
    pub(crate) fn other_command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command
            .arg(name)
            .arg("--config")
            .arg(self.path("egressd.yaml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Starts the program under these limits, in the syntax of `prlimit` (util-linux). A limit of
    /// threads does not apply to root, so under root it runs as a user without other processes.
    pub(crate) fn start_limited(&self, limits: &[&str], flags: &[&str]) -> RunningProgram {
        let plain = self.command(flags);
        let mut command = Command::new("prlimit");
        command.args(limits).stdin(Stdio::null());
        let program = self.files.path().join("egressd");
        if rustix::process::getuid().is_root() {
            // `cp` copies the file, because a process that another test starts meanwhile would
            // inherit the descriptor for writing, and the kernel refuses to run a file that is open
            // for writing (`ETXTBSY`).
            let copied = Command::new("sh")
                .args(["-c", "cp -f \"$1\" \"$2\" && chmod -R a+rX \"$3\"", "sh"])
                .args([plain.get_program(), program.as_os_str()])
                .arg(self.files.path())
                .status();
            assert!(copied.unwrap().success());
            command
                .args(["setpriv", "--reuid"])
                .arg(unused_user())
                .arg("--clear-groups")
                .arg(program);
        } else {
            command.arg(plain.get_program());
        }
        command.args(plain.get_args());
        Self::start_command(command)
    }

    /// Starts the program with a pipe for each stream.
    pub(crate) fn start(&self, flags: &[&str]) -> RunningProgram {
        Self::start_command(self.command(flags))
    }

    fn start_command(command: Command) -> RunningProgram {
        let (out, out_end) = std::io::pipe().unwrap();
        let (err, err_end) = std::io::pipe().unwrap();
        RunningProgram::start(
            command,
            (Box::new(out), out_end.into()),
            (Box::new(err), err_end.into()),
        )
    }

    /// Starts the program through another command, which gets `egressd serve` and its arguments as
    /// its last arguments.
    pub(crate) fn start_via(&self, by: &[&str], flags: &[&str]) -> RunningProgram {
        let serve = self.command(flags);
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(serve.get_program());
        command.args(serve.get_args()).stdin(Stdio::null());
        Self::start_command(command)
    }

    /// Starts the program with a pipe for standard error that holds only a few KiB until the test
    /// reads it.
    pub(crate) fn start_with_narrow_stderr(&self, flags: &[&str]) -> RunningProgram {
        let command = self.command(flags);
        let (out, out_end) = std::io::pipe().unwrap();
        let (err, err_end) = UnixStream::pair().unwrap();
        SockRef::from(&err_end).set_send_buffer_size(1).unwrap();
        let err_end: std::os::fd::OwnedFd = err_end.into();
        RunningProgram::start(
            command,
            (Box::new(out), out_end.into()),
            (Box::new(err), err_end.into()),
        )
    }

    /// Runs the program to its end. Returns its exit code and the text of both streams.
    pub(crate) fn run(&self, flags: &[&str]) -> (Option<i32>, String, String) {
        let ended = limited::output(&mut self.command(flags));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ended.status.code(), text(ended.stdout), text(ended.stderr))
    }
}

/// The resources that the process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessResources {
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    /// The number of threads.
    pub(crate) threads: u64,
    /// The number of open descriptors.
    pub(crate) descriptors: usize,
}

type Reader = Box<dyn Read + Send>;

impl RunningProgram {
    fn start(mut command: Command, out: (Reader, Stdio), err: (Reader, Stdio)) -> Self {
        // The command holds the other ends of the pipes. They are dropped here, so that the readers
        // see the end of the streams.
        let child = LimitedChild::spawn(command.stdout(out.1).stderr(err.1));
        drop(command);
        Self {
            child,
            out: BufReader::new(out.0),
            err: BufReader::new(err.0),
            heard: Vec::new(),
        }
    }

    /// Reads standard error up to the line that contains these words, and returns the rest of the
    /// message after them.
    pub(crate) fn wait_for_line(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.err.read_line(&mut line).unwrap();
            assert!(read > 0, "it never said {words:?}: {:#?}", self.heard);
            self.heard.push(line.trim_end().to_owned());
            if let Some((_, rest)) = line.split_once(words) {
                let sentence = rest.split('"').next().unwrap_or_default();
                return sentence.trim().to_owned();
            }
        }
    }

    /// Reads the next line of standard error. Returns `None` at its end.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.err.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the addresses for agents and for operators.
    pub(crate) fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let agents = self.wait_for_line("agents connect to");
        // A listener with connections of its own names them.
        let agents = agents.split(" for ").next().unwrap_or_default();
        let agents = agents.parse().unwrap();
        let operators = self.wait_for_line("operators connect to").parse().unwrap();
        self.wait_for_line("ready with");
        (agents, operators)
    }

    /// Returns the resources of the process. Only root can count the descriptors of a process that
    /// is not dumpable.
    pub(crate) fn resources(&self) -> ProcessResources {
        let of = |name: &str| format!("/proc/{}/{name}", self.id());
        let status = fs::read_to_string(of("status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.unwrap().parse::<u64>().unwrap()
        };
        ProcessResources {
            resident: number("VmRSS:") * 1024,
            threads: number("Threads:"),
            descriptors: fs::read_dir(of("fd")).unwrap().count(),
        }
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Sends a signal, named without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let told = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &id])
            .status();
        assert!(told.unwrap().success());
    }

    /// Changes the descriptor limit of the process. Open descriptors stay open.
    pub(crate) fn limit_descriptors(&self, soft: usize) {
        let id = self.id().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &id, &format!("--nofile={soft}:")])
            .status();
        assert!(limited.unwrap().success());
    }

    /// Waits for the end of the process and returns its exit code.
    pub(crate) fn wait_for_exit(&mut self) -> Option<i32> {
        let patience = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(std::time::Instant::now() < patience, "it does not end");
            std::thread::yield_now();
        }
    }

    /// Stops the process and reads both streams to their ends. Returns the exit code, the rest of
    /// standard output, and all lines of standard error.
    pub(crate) fn stop_and_collect(mut self) -> (Option<i32>, String, Vec<String>) {
        self.terminate();
        let mut out = std::mem::replace(&mut self.out, BufReader::new(Box::new(std::io::empty())));
        let reading = std::thread::Builder::new().name("world out".into());
        let reading = reading.spawn(move || {
            let mut all = String::new();
            out.read_to_string(&mut all).unwrap();
            all
        });
        let mut rest = String::new();
        self.err.read_to_string(&mut rest).unwrap();
        self.heard.extend(rest.lines().map(str::to_owned));
        let out = reading.unwrap().join().unwrap();
        (self.wait_for_exit(), out, std::mem::take(&mut self.heard))
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        // The kill fails if the process has already ended, as it does in a test that succeeds.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
