//! `egressd serve` as a process, with both of its streams in a test's hands.

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

/// A user that has no processes: another one each time.
fn unused_user() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 16 + STARTED.fetch_add(1, Relaxed);
    (20_000 + number % 40_000).to_string()
}

/// The files that an operator would write.
pub(crate) struct Program {
    files: TempDir,
}

/// The running process. It is killed where a test fails before its end.
pub(crate) struct RunningProgram {
    child: LimitedChild,
    /// What it writes to standard output.
    pub(crate) out: BufReader<Box<dyn Read + Send>>,
    /// What it writes to standard error.
    pub(crate) err: BufReader<Box<dyn Read + Send>>,
    /// Every line of standard error that was read so far.
    pub(crate) heard: Vec<String>,
}

impl Program {
    /// With these connections; `settings` are added to what a test needs.
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

    /// Writes the file of a connection, anew if it is there.
    pub(crate) fn define(&self, connection: &Connection) {
        let name = format!("connections/{}.json", connection.id);
        fs::write(
            self.files.path().join(name),
            connection.definition().to_string(),
        )
        .unwrap();
    }

    /// A path beside the files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// `egressd serve` with these flags beside `--config`.
    pub(crate) fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command
            .arg("serve")
            .arg("--config")
            .arg(self.files.path().join("egressd.yaml"))
            .args(flags)
            .stdin(Stdio::null());
        command
    }

    /// Starts it under these limits, as `prlimit` (util-linux) takes them. A limit of threads binds no root, so root has it run as a user of no other process.
    pub(crate) fn start_limited(&self, limits: &[&str], flags: &[&str]) -> RunningProgram {
        let plain = self.command(flags);
        let mut command = Command::new("prlimit");
        command.args(limits).stdin(Stdio::null());
        let program = self.files.path().join("egressd");
        if rustix::process::getuid().is_root() {
            // By another process: one that is started meanwhile would inherit a descriptor that writes to the copy, which nobody could run then.
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

    /// Starts it with a pipe for each stream.
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

    /// The same, by way of this command, which has `egressd serve` and its arguments as its last ones.
    pub(crate) fn start_via(&self, by: &[&str], flags: &[&str]) -> RunningProgram {
        let serve = self.command(flags);
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(serve.get_program());
        command.args(serve.get_args()).stdin(Stdio::null());
        Self::start_command(command)
    }

    /// The same; its standard error holds a few KiB and not more until somebody reads.
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

    /// Runs it to its end: its exit code, and what it wrote to both streams.
    pub(crate) fn run(&self, flags: &[&str]) -> (Option<i32>, String, String) {
        let ended = limited::output(&mut self.command(flags));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ended.status.code(), text(ended.stdout), text(ended.stderr))
    }
}

/// What the process has of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessResources {
    /// Bytes of memory.
    pub(crate) resident: u64,
    /// Its threads.
    pub(crate) threads: u64,
    /// Its open files and sockets.
    pub(crate) descriptors: usize,
}

type Reader = Box<dyn Read + Send>;

impl RunningProgram {
    fn start(mut command: Command, out: (Reader, Stdio), err: (Reader, Stdio)) -> Self {
        // The command and its ends of the pipes are dropped here, so that ours see the end.
        let child = LimitedChild::spawn(command.stdout(out.1).stderr(err.1));
        drop(command);
        Self {
            child,
            out: BufReader::new(out.0),
            err: BufReader::new(err.0),
            heard: Vec::new(),
        }
    }

    /// Reads standard error up to the line that has these words: what stands behind them in its sentence.
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

    /// The next line of standard error; `None` at its end.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.err.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Where agents and operators connect.
    pub(crate) fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let agents = self.wait_for_line("agents connect to").parse().unwrap();
        let operators = self.wait_for_line("operators connect to").parse().unwrap();
        self.wait_for_line("ready with");
        (agents, operators)
    }

    /// Resident bytes, threads and open descriptors. Those of a process that refuses debuggers can be counted by nobody but root.
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

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Any signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let told = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &id])
            .status();
        assert!(told.unwrap().success());
    }

    /// Changes the process's descriptor limit; open descriptors stay open.
    pub(crate) fn limit_descriptors(&self, soft: usize) {
        let id = self.id().to_string();
        let limited = Command::new("prlimit")
            .args(["--pid", &id, &format!("--nofile={soft}:")])
            .status();
        assert!(limited.unwrap().success());
    }

    /// Waits for its end: the exit code.
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

    /// Ends it and reads both streams to their ends: its exit code, and what it wrote, standard error as a whole.
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
        // It has ended already where all went well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
