//! The privileges that the process drops: attempts that must fail in a confined thread, and the
//! same attempts in an unconfined thread.

mod store;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use egressd::hardening::{AllowedPaths, Hardening, Measure};
use landlock::{AccessFs, LandlockStatus, Ruleset, RulesetAttr as _};
use nix::sys::{ptrace, signal};
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, MemfdFlags, fcntl_lock, memfd_create};
use rustix::process::{
    DumpableBehavior, PidfdFlags, Resource, getrlimit, pidfd_open, set_dumpable_behavior,
    setpriority_process, setrlimit,
};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::limited::output;
use crate::support::{Agent, Confined, Program, Upstream, connection, metrics};

/// The surroundings of a process: the directory of its configuration, a directory that it does not
/// need, and another process of the same user.
struct World {
    files: tempfile::TempDir,
    listener: TcpListener,
    neighbour: Child,
}

/// Attempts that some kernels forbid to every process, or to a process that cannot be dumped and is
/// not run by root.
const MAY_FAIL: &[&str] = &["trace another process", "write to its own memory"];

type Act = fn(&World) -> io::Result<()>;

/// Attempts of an attacker, each with the measure that forbids it.
#[rustfmt::skip] // one row a line
const ATTEMPTS: &[(&str, Measure, Act)] = &[
    ("read another file", Measure::Files, |w| File::open(w.at("elsewhere/file")).map(drop)),
    ("read the system's accounts", Measure::Files, |_| File::open("/etc/passwd").map(drop)),
    ("list another directory", Measure::Files, |w| fs::read_dir(w.at("elsewhere")).map(drop)),
    ("read another file through a link in its own directory", Measure::Files, |w| File::open(w.at("own/link")).map(drop)),
    ("change its configuration", Measure::Files, |w| OpenOptions::new().append(true).open(w.at("own/a.yaml")).map(drop)),
    ("add to its configuration", Measure::Files, |w| File::create(w.at("own/b.yaml")).map(drop)),
    ("remove its configuration", Measure::Files, |w| fs::remove_file(w.at("own/a.yaml"))),
    ("rename its configuration", Measure::SystemCalls, |w| fs::rename(w.at("own/a.yaml"), w.at("own/c.yaml"))),
    ("make a directory", Measure::SystemCalls, |w| fs::create_dir(w.at("own/directory"))),
    ("make a link", Measure::SystemCalls, |w| std::os::unix::fs::symlink("/", w.at("own/root"))),
    ("loosen a mode", Measure::SystemCalls, |w| fs::set_permissions(w.at("own/a.yaml"), fs::Permissions::from_mode(0o666))),
    ("run a program", Measure::SystemCalls, |_| Command::new("/bin/true").status().map(drop)),
    ("trace another process", Measure::SystemCalls, |w| Ok(ptrace::seize(w.neighbour(), ptrace::Options::empty())?)),
    ("signal another process", Measure::SystemCalls, |w| Ok(signal::kill(w.neighbour(), None)?)),
    ("listen on a TCP address", Measure::SystemCalls, |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
    ("bind a TCP address", Measure::Files, |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
    }),
    ("listen on a Unix socket", Measure::SystemCalls, |w| UnixListener::bind(w.at("own/listener")).map(drop)),
    ("connect to a Unix socket", Measure::SystemCalls, |w| UnixStream::connect(w.at("elsewhere/socket")).map(drop)),
    ("send to a Unix socket", Measure::SystemCalls, |w| UnixDatagram::pair()?.0.send_to(b"x", w.at("elsewhere/socket")).map(drop)),
    ("speak another protocol than TCP", Measure::SystemCalls, |_| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).map(drop)),
    ("keep others from running", Measure::SystemCalls, |w| Ok(setpriority_process(Some(w.neighbour_id()), 19)?)),
    // A command to `fcntl` that it does not need; another one, `F_SETOWN`, sends signals.
    ("lock its configuration", Measure::SystemCalls, |w| Ok(fcntl_lock(File::open(w.at("own/a.yaml"))?, FlockOperation::NonBlockingLockShared)?)),
    ("make a file in memory", Measure::SystemCalls, |_| Ok(memfd_create("x", MemfdFlags::CLOEXEC).map(drop)?)),
    ("make a file without a name", Measure::SystemCalls, |w| OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(w.at("own")).map(drop)),
    ("hold another process", Measure::SystemCalls, |w| Ok(pidfd_open(w.neighbour_id(), PidfdFlags::empty()).map(drop)?)),
    ("read another process's environment", Measure::Files, |w| read(&PathBuf::from(format!("/proc/{}/environ", w.neighbour())))),
    ("write to its own memory", Measure::SystemCalls, |_| OpenOptions::new().write(true).open("/proc/self/mem").map(drop)),
    ("allow its memory to be read", Measure::SystemCalls, |_| Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)),
    ("take more core files", Measure::SystemCalls, |_| Ok(setrlimit(Resource::Core, getrlimit(Resource::Core))?)),
    ("speak to the kernel's network", Measure::SystemCalls, |_| Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, None).map(drop)),
];

/// Operations that a proxy needs all the time.
#[rustfmt::skip] // one row a line
const DUTIES: &[(&str, Act)] = &[
    ("read its configuration", |w| read(&w.at("own/a.yaml"))),
    ("read what was added to its configuration", |w| read(&w.at("own/added/later.yaml"))),
    ("list its configuration", |w| fs::read_dir(w.at("own")).map(drop)),
    ("remove its socket", |w| fs::remove_file(w.at("sockets/agent.sock"))),
    ("read about itself", |_| read(Path::new("/proc/self/limits"))),
    ("dial", |w| {
        let mut socket = TcpStream::connect(w.listener.local_addr()?)?;
        socket.write_all(b"x")
    }),
    ("accept", |w| {
        let _dialled = TcpStream::connect(w.listener.local_addr()?)?;
        w.listener.accept().map(drop)
    }),
    ("ask a name server", |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(b"x", (Ipv4Addr::LOCALHOST, 53)).map(drop)),
    ("start a thread", |_| std::thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("it panicked"))),
    ("run a runtime", |_| tokio::runtime::Builder::new_current_thread().enable_all().build().map(drop)),
];

impl World {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        for directory in ["own", "own/added", "elsewhere", "sockets"] {
            fs::create_dir(at(directory)).unwrap();
        }
        for file in ["own/a.yaml", "elsewhere/file"] {
            fs::write(at(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("elsewhere/file"), at("own/link")).unwrap();
        for socket in ["elsewhere/socket", "sockets/agent.sock"] {
            // Without a listener the file stays. An attempt to connect then fails with
            // `ECONNREFUSED`, unless it is forbidden.
            drop(UnixListener::bind(at(socket)).unwrap());
        }
        let neighbour = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            files,
            neighbour,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn neighbour(&self) -> Pid {
        Pid::from_raw(self.neighbour.id().cast_signed())
    }

    fn neighbour_id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.neighbour)
    }

    fn needs(&self) -> AllowedPaths {
        AllowedPaths {
            readable: vec![self.at("own")],
            sockets: vec![self.at("sockets/agent.sock")],
            ..AllowedPaths::default()
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ended = self.neighbour.kill();
        let _reaped = self.neighbour.wait();
    }
}

fn read(file: &Path) -> io::Result<()> {
    File::open(file)?.read_to_end(&mut Vec::new()).map(drop)
}

fn is_refused(found: &io::Result<()>) -> bool {
    let kind = found.as_ref().err().map(io::Error::kind);
    kind == Some(io::ErrorKind::PermissionDenied)
}

/// Returns whether this machine supports the measure.
fn is_held(measure: Measure) -> bool {
    Confined::for_this_machine().hardening.is_held(measure)
}

#[test]
fn every_measure_that_the_kernel_supports_is_in_effect() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let landlock = std::thread::spawn(|| {
        let ruleset = Ruleset::default()
            .handle_access(AccessFs::MakeBlock)
            .unwrap();
        let status = ruleset.create().unwrap().restrict_self().unwrap();
        matches!(status.landlock, LandlockStatus::Available { .. })
    });
    assert_eq!(is_held(Measure::Files), landlock.join().unwrap());
    assert_eq!(is_held(Measure::SystemCalls), status.contains("\nSeccomp:"));
    assert!(is_held(Measure::Memory) && is_held(Measure::Privileges));
}

#[test]
fn every_attempt_of_an_attacker_fails() {
    for (attempt, measure, act) in ATTEMPTS {
        let world = World::new();
        let free = std::thread::spawn(move || act(&world)).join().unwrap();
        let may_fail = MAY_FAIL.contains(attempt);
        assert!(may_fail || !is_refused(&free), "{attempt}: {free:?}");
        if is_held(*measure) {
            let world = World::new();
            let confined = Confined::run(world.needs(), move || act(&world));
            assert!(is_refused(&confined), "{attempt}: {confined:?}");
        }
    }
}

#[test]
fn a_thread_that_a_confined_thread_starts_is_confined() {
    if is_held(Measure::SystemCalls) {
        let ran = Confined::run(AllowedPaths::default(), || {
            let inner = std::thread::spawn(|| Command::new("/bin/true").status().map(drop));
            inner.join().unwrap()
        });
        assert!(is_refused(&ran), "{ran:?}");
    }
}

#[test]
fn a_confined_proxy_can_do_its_work() {
    for (duty, act) in DUTIES {
        let world = World::new();
        let needs = world.needs();
        let (confined, seen) = mpsc::channel();
        let (go_on, continues) = mpsc::channel();
        let later = world.at("own/added/later.yaml");
        let working = std::thread::spawn(move || {
            Confined::run(needs, move || {
                confined.send(()).unwrap();
                continues.recv().unwrap();
                act(&world)
            })
        });
        seen.recv().unwrap();
        fs::write(later, "x").unwrap();
        go_on.send(()).unwrap();
        let done = working.join().unwrap();
        assert!(done.is_ok(), "{duty}: {done:?}");
    }
}

#[test]
fn the_variable_applies_unless_a_flag_is_given() {
    let program = Program::new(
        &[connection("crm").allow("/").base_url("https://crm.test")],
        &json!({}),
    );
    let whole = Confined::for_this_machine().hardening.to_string();
    let off = "memory off, privileges off, files off, system_calls off";
    for (variable, flags, state) in [
        ("off", &[][..], off),
        ("best-effort", &[], &whole),
        ("off", &["--hardening", "best-effort"], &whole),
        ("required", &["--hardening", "off"], off),
    ] {
        let variable = format!("EGRESSD_HARDENING={variable}");
        let mut running = program.start_via(&["env", &variable], flags);
        assert_eq!(
            running.wait_for_line("hardening: "),
            state,
            "{variable} {flags:?}"
        );
        running.terminate();
        assert_eq!(running.wait_for_exit(), Some(0));
    }
    // An unknown value is an error, and is not replaced by a default.
    for command in ["serve", "check"] {
        let mut egressd = Command::new(env!("CARGO_BIN_EXE_egressd"));
        egressd
            .arg(command)
            .arg("--config")
            .arg(program.path("egressd.yaml"));
        egressd.env("EGRESSD_HARDENING", "on");
        let ended = output(&mut egressd);
        let code = if command == "serve" { 64 } else { 1 };
        assert_eq!(ended.status.code(), Some(code), "{command}");
        let printed = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert!(
            printed.contains("EGRESSD_HARDENING: `on` is not a hardening level"),
            "{printed}"
        );
        assert!(printed.contains("`best-effort`"), "{printed}");
    }
}

/// With the configuration in `/`, every file must stay readable, and this is reported.
#[test]
fn a_configuration_in_the_root_directory_is_reported_as_a_failed_measure() {
    if !is_held(Measure::Files) {
        return;
    }
    let readable = ["/", "/proc/.."].map(PathBuf::from);
    for place in readable {
        let needs = AllowedPaths {
            readable: vec![place],
            ..AllowedPaths::default()
        };
        let confining = std::thread::spawn(move || {
            let hardening = Hardening::begin().confine(&needs);
            let written = OpenOptions::new().append(true).open("/dev/null").map(drop);
            (hardening, written)
        });
        let (hardening, written) = confining.join().unwrap();
        assert!(!hardening.is_held(Measure::Files) && !hardening.is_complete());
        assert!(hardening.to_string().contains("every file stays readable"));
        assert!(is_refused(&written), "{written:?}");
    }
}

/// Returns the status file of every thread of a process (proc(5)).
fn threads(id: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let status = |task: io::Result<fs::DirEntry>| {
        fs::read_to_string(task.unwrap().path().join("status")).unwrap()
    };
    tasks.map(status).collect()
}

#[test]
fn every_thread_of_the_program_is_confined_and_the_state_is_reported() {
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let program = Program::new(&[crm], &json!({}));
    let whole = Confined::for_this_machine().hardening;
    for (flags, confined) in [(&[][..], true), (&["--hardening", "off"], false)] {
        let mut running = program.start(flags);
        let printed = running.wait_for_line("hardening: ");
        let (agents, operators) = running.addresses();
        Agent::connect_to(agents).get("/crm/a").expect_status(200);
        let threads = threads(running.id());
        assert!(threads.len() > 4, "{threads:#?}");
        for status in threads {
            let expected = if confined {
                "NoNewPrivs:\t1"
            } else {
                "NoNewPrivs:\t0"
            };
            assert!(status.contains(expected), "{status}");
            if is_held(Measure::SystemCalls) {
                let expected = if confined {
                    "Seccomp:\t2"
                } else {
                    "Seccomp:\t0"
                };
                assert!(status.contains(expected), "{status}");
            }
        }
        let state = if confined {
            whole.to_string()
        } else {
            "memory off, privileges off, files off, system_calls off".to_owned()
        };
        assert_eq!(printed, state);
        let verbose = Agent::connect_to(operators).get("/readyz?verbose");
        assert!(verbose.text().contains(&format!("[i]hardening: {state}\n")));
        let metrics = metrics(operators);
        for (measure, state) in whole.states() {
            let held = u8::from(confined && state.is_held());
            let line = format!(
                "egressd_hardening{{measure=\"{}\"}} {held}\n",
                measure.as_str()
            );
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
        running.terminate();
        assert_eq!(running.wait_for_exit(), Some(0));
    }
}

/// A control group that limits its members to one core. `None` if it cannot be created: version 2
/// does not accept single threads.
struct OneCore(PathBuf);

impl OneCore {
    fn new() -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup/cpu").join(format!("egressd-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        let period = group.set("cpu.cfs_period_us", 100_000);
        period
            .and_then(|()| group.set("cpu.cfs_quota_us", 100_000))
            .ok()?;
        Some(group)
    }

    fn set(&self, file: &str, number: u32) -> io::Result<()> {
        fs::write(self.0.join(file), number.to_string())
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // All processes of the group have ended.
        let _removed = fs::remove_dir(&self.0);
    }
}

/// The number of workers is the quota of the group, although a confined process cannot see its
/// group.
#[test]
fn the_cpu_quota_limits_the_workers_of_a_confined_process() {
    let Some(group) = OneCore::new() else {
        return;
    };
    let program = Program::new(
        &[connection("crm").allow("/").base_url("https://crm.test")],
        &json!({}),
    );
    for flags in [&[][..], &["--hardening", "off"]] {
        std::thread::scope(|scope| {
            let within = scope.spawn(|| {
                // 0 adds this thread, and its children inherit the group.
                group.set("tasks", 0).unwrap();
                let mut running = program.start(flags);
                running.addresses();
                let workers = threads(running.id());
                let workers = workers
                    .iter()
                    .filter(|status| status.starts_with("Name:\tworker-"));
                assert_eq!(workers.count(), 1, "{flags:?}");
                running.terminate();
                assert_eq!(running.wait_for_exit(), Some(0));
            });
            within.join().unwrap();
        });
    }
}

/// Adds Landlock domains until the kernel accepts no more (`landlock_restrict_self(2)`). A process
/// that is started from this thread cannot confine its file access.
fn exhaust_landlock_domains() {
    while Ruleset::default()
        .handle_access(AccessFs::MakeBlock)
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .is_ok()
    {}
}

#[test]
fn a_failed_measure_stops_the_start_only_if_hardening_is_required() {
    if !is_held(Measure::Files) {
        return;
    }
    let program = Program::new(
        &[connection("crm").allow("/").base_url("https://crm.test")],
        &json!({}),
    );
    let program = std::thread::spawn(move || {
        exhaust_landlock_domains();
        let (exit, out, err) = program.run(&["--hardening", "required"]);
        assert_eq!((exit, out.as_str()), (Some(69), ""), "{err}");
        assert!(
            err.contains("`--hardening required` was set") && err.contains("files failed ("),
            "{err}"
        );
        let mut running = program.start(&["--hardening", "best-effort"]);
        assert!(
            running
                .wait_for_line("hardening: ")
                .contains("files failed (")
        );
        let (_, operators) = running.addresses();
        let metrics = metrics(operators);
        for line in ["{measure=\"files\"} 0\n", "{measure=\"system_calls\"} 1\n"] {
            assert!(metrics.contains(line), "{metrics}");
        }
        running.terminate();
        assert_eq!(running.wait_for_exit(), Some(0));
        program
    });
    let program = program.join().unwrap();
    let mut running = program.start(&["--hardening", "required"]);
    running.addresses();
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}

/// A secret can be replaced in its directory, and by a rename there. The running process cannot
/// read a new secret in another directory, and logs this.
#[test]
fn a_reload_reads_only_the_directories_of_the_start() {
    if !is_held(Measure::Files) {
        return;
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| elsewhere.path().join(name));
    for (directory, secret) in [(&old, "first-secret-0001"), (&new, "third-secret-0003")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("token"), secret).unwrap();
    }
    let up = Upstream::body("x");
    let crm = |file: &Path| {
        let file = json!({"file": file.to_str().unwrap()});
        connection("crm")
            .allow("/")
            .upstream(&up)
            .auth("bearer_token", json!({"token": file}))
    };
    let program = Program::new(
        &[crm(&old.join("token"))],
        &json!({"secrets": {"allow": [old]}}),
    );
    let mut running = program.start(&[]);
    let (agents, _) = running.addresses();
    let bearer = || {
        Agent::connect_to(agents).get("/crm/a").expect_status(200);
        let seen = up.requests();
        seen.last().unwrap().fields.all("authorization").concat()
    };
    assert_eq!(bearer(), "Bearer first-secret-0001");
    fs::write(old.join("next"), "second-secret-002").unwrap();
    fs::rename(old.join("next"), old.join("token")).unwrap();
    running.hang_up();
    running.wait_for_line("reloaded: generation");
    assert_eq!(bearer(), "Bearer second-secret-002");
    let settings = fs::read_to_string(program.path("egressd.yaml")).unwrap();
    let allowed = |directory: &Path| directory.to_str().unwrap().to_owned();
    let settings = settings.replace(&allowed(&old), &allowed(elsewhere.path()));
    fs::write(program.path("egressd.yaml"), settings).unwrap();
    program.define(&crm(&new.join("token")));
    running.hang_up();
    running.wait_for_line("a configured file cannot be read: hardening limits this process");
    assert_eq!(bearer(), "Bearer second-secret-002");
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}
