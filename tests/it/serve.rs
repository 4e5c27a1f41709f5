//! `egressd serve` as a process: its start, its failures to start, and its exit codes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{ChildStderr, Command, ExitStatus, Stdio};

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::limited::LimitedChild;

/// A directory with settings and one connection.
struct World(tempfile::TempDir);

impl World {
    fn listening_on(proxy: &str, management: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = json!({
            "proxy": {"listen": [proxy]},
            "management": {"listen": [management]},
            "connections": ["crm.json"],
        });
        let http =
            json!({"base_url": "https://crm.example", "allowed_routes": ["GET /a"], "no_auth": {}});
        let crm = json!({"connection_details": {"http": http}});
        std::fs::write(directory.path().join("settings.json"), settings.to_string()).unwrap();
        std::fs::write(directory.path().join("crm.json"), crm.to_string()).unwrap();
        Self(directory)
    }

    fn serve(&self, flags: &[&str]) -> LimitedChild {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command
            .arg("serve")
            .arg("--config")
            .arg(self.0.path().join("settings.json"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        LimitedChild::spawn(&mut command)
    }

    /// Runs the process to its end. Returns its exit code and its standard error.
    fn refused(&self, flags: &[&str]) -> (Option<i32>, String) {
        let ended = self.serve(flags).output();
        (
            ended.status.code(),
            String::from_utf8(ended.stderr).unwrap(),
        )
    }
}

/// Reads up to the message that contains these words, and returns the rest of the message.
fn rest_of_message(stderr: &mut BufReader<ChildStderr>, words: &str) -> String {
    let mut line = String::new();
    while stderr.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.trim_end().split_once(words) {
            return rest.split('"').next().unwrap().trim().to_owned();
        }
        line.clear();
    }
    panic!("no message contains {words:?}");
}

fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn terminate(mut child: LimitedChild) -> ExitStatus {
    let sent = Command::new("sh")
        .args(["-c", "kill -TERM \"$1\"", "sh", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    child.wait().unwrap()
}

#[test]
fn the_process_serves_until_a_signal_and_exits_with_0() {
    // F-182
    let world = World::listening_on("127.0.0.1:0", "127.0.0.1:0");
    let mut child = world.serve(&[]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let proxy = rest_of_message(&mut stderr, "agents connect to");
    let management = rest_of_message(&mut stderr, "operators connect to");
    assert_eq!(
        rest_of_message(&mut stderr, "ready with"),
        "1 configured connection"
    );
    assert!(get(&management, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(&management, "/nothing").starts_with("HTTP/1.1 404"));
    assert!(get(&proxy, "/crm/b").starts_with("HTTP/1.1 403"));
    assert_eq!(terminate(child).code(), Some(0));
}

#[test]
fn a_closed_stderr_does_not_stop_the_process() {
    let world = World::listening_on("127.0.0.1:0", "127.0.0.1:0");
    let mut child = world.serve(&[]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let proxy = rest_of_message(&mut stderr, "agents connect to");
    drop(stderr);
    assert!(get(&proxy, "/crm/b").starts_with("HTTP/1.1 403"));
    assert_eq!(terminate(child).code(), Some(0));
}

#[test]
fn an_address_in_use_is_reported_and_nothing_starts() {
    // F-19
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for world in [
        World::listening_on(&address, "127.0.0.1:0"),
        World::listening_on("127.0.0.1:0", &address),
    ] {
        let (exit, stderr) = world.refused(&[]);
        assert_eq!(exit, Some(69), "{stderr}");
        assert!(stderr.contains(&address), "{stderr}");
        assert!(!stderr.contains("ready with"), "{stderr}");
    }
}

#[test]
fn a_second_process_does_not_share_the_port_of_the_first() {
    // F-19: with SO_REUSEPORT the kernel would allow it.
    let first = World::listening_on("127.0.0.1:0", "127.0.0.1:0");
    let mut child = first.serve(&[]);
    let proxy = rest_of_message(
        &mut BufReader::new(child.stderr.take().unwrap()),
        "agents connect to",
    );
    let (exit, stderr) = World::listening_on(&proxy, "127.0.0.1:0").refused(&[]);
    assert_eq!(exit, Some(69), "{stderr}");
    assert_eq!(terminate(child).code(), Some(0));
}

#[test]
fn an_invalid_hardening_mode_is_a_usage_error() {
    let world = World::listening_on("127.0.0.1:0", "127.0.0.1:0");
    let (exit, _usage) = world.refused(&["--hardening", "sometimes"]);
    assert_eq!(exit, Some(64));
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let world = World::listening_on("127.0.0.1:0", "127.0.0.1:0");
    std::fs::write(world.0.path().join("crm.json"), "{}").unwrap();
    let (exit, stderr) = world.refused(&[]);
    assert_eq!(exit, Some(64), "{stderr}");
    assert!(
        stderr.contains("connection_details") && !stderr.contains("agents connect"),
        "{stderr}"
    );
}

#[test]
fn a_second_egressd_does_not_share_the_port() {
    // F-19
    let world = World::listening_on("127.0.0.1:0", "127.0.0.1:0");
    let mut first = world.serve(&[]);
    let mut stderr = BufReader::new(first.stderr.take().unwrap());
    let proxy = rest_of_message(&mut stderr, "agents connect to");
    rest_of_message(&mut stderr, "ready with");
    let (exit, second) = World::listening_on(&proxy, "127.0.0.1:0").refused(&[]);
    assert_eq!(exit, Some(69), "{second}");
    assert!(second.contains(&proxy), "{second}");
    assert!(get(&proxy, "/crm/b").starts_with("HTTP/1.1 403"));
    assert_eq!(terminate(first).code(), Some(0));
}

/// The exit code is the same if standard error cannot be written to.
#[test]
fn an_unread_stderr_changes_no_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let world = World::listening_on(&taken, "127.0.0.1:0");
    let path = |name: &str| world.0.path().join(name).display().to_string();
    std::fs::write(path("broken.json"), "{").unwrap();
    let (settings, broken) = (path("settings.json"), path("broken.json"));
    for (arguments, code) in [
        (["serve", "--config", &broken], 64),
        (["serve", "--frob", &settings], 64),
        (["serve", "--config", &settings], 69),
        (["check", "--config", &broken], 1),
    ] {
        for unread in [full(), closed_pipe()] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
            command.args(arguments).stdin(Stdio::null());
            let out = if arguments[0] == "check" {
                closed_pipe()
            } else {
                Stdio::null()
            };
            let ended = command.stdout(out).stderr(unread).status().unwrap();
            assert_eq!(ended.code(), Some(code), "{arguments:?}");
        }
    }
}

/// Returns a stream that is always full.
fn full() -> Stdio {
    let device = std::fs::OpenOptions::new().write(true).open("/dev/full");
    device.unwrap().into()
}

/// Returns a stream whose reader is closed.
fn closed_pipe() -> Stdio {
    let (_reader, writer) = std::io::pipe().unwrap();
    writer.into()
}
