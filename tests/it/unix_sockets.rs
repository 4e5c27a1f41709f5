//! Listeners on Unix sockets and on TCP: the mode and the owner of the file, and invalid addresses.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::json;

use crate::support::limited::output;
use crate::support::{Agent, Program, Upstream, connection};

fn program(up: &Upstream) -> Program {
    Program::new(&[connection("crm").allow("/").upstream(up)], &json!({}))
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn the_mode_is_the_same_whatever_the_umask() {
    let up = Upstream::body("hi");
    for umask in ["000", "022", "077", "777"] {
        let program = program(&up);
        let path = program.path("agents.sock");
        let script = format!("umask {umask}; exec \"$@\"");
        let by = ["sh", "-c", &script, "sh"];
        let mut running = program.start_via(&by, &["--listen", &unix(&path)]);
        running.wait_for_line("ready with");
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o660, "{umask}");
        let mut agent = Agent::connect_unix(&path);
        agent.get("/crm/x").expect_status(200);
        // The same rules apply as on TCP: only fewer callers can connect.
        agent
            .exchange("GET /crm/x HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .refused(421, "host_not_allowed");
        running.terminate();
        assert_eq!(running.wait_for_exit(), Some(0));
        assert!(!path.exists());
    }
}

#[test]
fn only_the_socket_of_an_ended_process_is_replaced() {
    let up = Upstream::body("hi");
    let program = program(&up);
    let live = program.path("live.sock");
    let listener = UnixListener::bind(&live).unwrap();
    let dead = program.path("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    fs::write(program.path("file"), "precious").unwrap();
    fs::create_dir(program.path("folder")).unwrap();
    symlink(&dead, program.path("link")).unwrap();
    symlink("nowhere", program.path("dangling")).unwrap();
    for (name, why) in [
        ("live.sock", "another process listens there"),
        ("file", "not a socket"),
        ("folder", "not a socket"),
        ("link", "not a socket"),
        ("dangling", "not a socket"),
        ("missing/agents.sock", "No such file or directory"),
    ] {
        let path = program.path(name);
        let before = fs::symlink_metadata(&path).map(|found| found.permissions().mode());
        let (exit, _, stderr) = program.run(&["--listen", &unix(&path)]);
        assert_eq!(exit, Some(69), "{name}: {stderr}");
        assert!(
            stderr.contains(why) && stderr.contains(name),
            "{name}: {stderr}"
        );
        let after = fs::symlink_metadata(&path).map(|found| found.permissions().mode());
        assert_eq!(before.ok(), after.ok(), "{name}");
    }
    assert_eq!(
        fs::read_to_string(program.path("file")).unwrap(),
        "precious"
    );
    assert!(dead.exists());
    drop(UnixStream::connect(&live).unwrap());
    drop(listener);

    let mut running = program.start(&["--listen", &unix(&dead)]);
    running.wait_for_line("ready with");
    Agent::connect_unix(&dead).get("/crm/x").expect_status(200);
    let (exit, _, stderr) = program.run(&["--listen", &unix(&dead)]);
    assert_eq!(exit, Some(69), "{stderr}");
    Agent::connect_unix(&dead).get("/crm/x").expect_status(200);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
    assert!(!dead.exists());
}

#[test]
fn a_failed_start_leaves_no_file_and_a_stop_removes_no_file_of_another_process() {
    let up = Upstream::body("hi");
    let program = program(&up);
    let (path, folder) = (program.path("agents.sock"), program.path("folder"));
    fs::create_dir(&folder).unwrap();
    let both = [
        "--listen",
        &unix(&path),
        "--management-listen",
        &unix(&folder),
    ];
    let (exit, _, stderr) = program.run(&both);
    assert_eq!(exit, Some(69), "{stderr}");
    assert!(!path.exists());

    let mut running = program.start(&["--listen", &unix(&path)]);
    running.wait_for_line("ready with");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
    UnixStream::connect(&path).unwrap();
    drop(other);
}

#[test]
fn invalid_addresses() {
    let up = Upstream::body("hi");
    let program = program(&up);
    let long = unix(&program.path(&"s".repeat(120)));
    for (address, why) in [
        (long.as_str(), "1 to 107 bytes"),
        ("unix:@egressd", "abstract"),
        ("unix:", "1 to 107 bytes"),
    ] {
        let (exit, _, stderr) = program.run(&["--listen", address]);
        assert_eq!(exit, Some(64), "{address}: {stderr}");
        // A text of 20 characters without a space may be a secret, so the message omits it.
        assert!(stderr.contains("--listen[0]"), "{address}: {stderr}");
        assert!(stderr.contains(why), "{address}: {stderr}");
    }
}

/// Tries every spelling of such an address, in flags and in the environment.
#[test]
fn addresses_off_loopback_need_one_setting() {
    let up = Upstream::body("hi");
    let program = program(&up);
    for open in [
        "0.0.0.0:0",
        "[::]:0",
        "10.0.0.1:0",
        "192.0.2.1:0",
        "[fd00::1]:0",
        "[fe80::1%1]:0",
        "[::ffff:10.0.0.1]:0",
        "[::ffff:0.0.0.0]:0",
        "[::127.0.0.1]:0",
    ] {
        let flagged = program.run(&["--listen", open]);
        let managed = program.run(&["--management-listen", open]);
        let mut command = program.command(&[]);
        let ended = output(command.env("EGRESSD_PROXY_LISTEN", open));
        let stderr = String::from_utf8(ended.stderr).unwrap();
        for (exit, stderr, remedy) in [
            (flagged.0, flagged.2, "allow_non_loopback: true"),
            (managed.0, managed.2, "management.basic_auth"),
            (ended.status.code(), stderr, "allow_non_loopback: true"),
        ] {
            assert_eq!(exit, Some(64), "{open}: {stderr}");
            assert!(stderr.contains("other machines"), "{open}: {stderr}");
            assert!(stderr.contains(remedy), "{open}: {stderr}");
        }
    }
    for none in ["localhost:0", "*:0", ":0", "127.1:0", "8080"] {
        let (exit, _, stderr) = program.run(&["--listen", none]);
        assert_eq!(exit, Some(64), "{none}: {stderr}");
        assert!(
            stderr.contains("is not a valid address"),
            "{none}: {stderr}"
        );
    }
    let mut command = program.command(&["--listen", "0.0.0.0:0", "--management-listen", "x"]);
    let ended = output(command.env("EGRESSD_PROXY_ALLOW_NON_LOOPBACK", "true"));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(!stderr.contains("other machines"), "{stderr}");
}

#[test]
fn an_ipv4_mapped_loopback_address_is_loopback() {
    let up = Upstream::body("hi");
    let program = program(&up);
    let mut running = program.start(&["--listen", "[::ffff:127.0.0.1]:0"]);
    let agents = running.wait_for_line("agents connect to");
    let (_, port) = agents.rsplit_once(':').unwrap();
    running.wait_for_line("ready with");
    let port = port.parse().unwrap();
    let agents = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    Agent::connect_to(agents).get("/crm/x").expect_status(200);
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}
