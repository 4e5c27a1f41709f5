//! `egressd healthcheck`: the result for a process that is ready, that drains, or that does not
//! run, and for settings with mistakes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::{Value, json};
use socket2::SockRef;

use crate::support::limited::output;
use crate::support::{Agent, Gate, PATIENCE, Program, Upstream, connection};

/// Exit code, standard output, standard error.
type Ran = (Option<i32>, String, String);

fn healthcheck(settings: &Value, variables: &[(&str, &str)], flags: &[&str]) -> Ran {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("egressd.yaml");
    std::fs::write(&file, settings.to_string()).unwrap();
    healthcheck_at(&file.display().to_string(), variables, flags)
}

fn healthcheck_at(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
    command.args(["healthcheck", "--config", file]).args(flags);
    if !flags.contains(&"--timeout") {
        command.args(["--timeout", "30"]);
    }
    command.envs(variables.iter().copied());
    let ended = output(&mut command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

/// Limits the time that a listener waits for a socket (socket(7): `SO_RCVTIMEO` applies to
/// `accept`).
fn limit_accept(listener: &TcpListener) {
    let socket = SockRef::from(listener);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Settings in which only the addresses of the management API are valid.
fn settings(listen: &[&str]) -> Value {
    json!({
        "management": {"listen": listen, "basic_auth": {"username": "u", "password": {"file": "absent"}}, "colour": 1},
        "proxy": {"workers": "many"},
        "egress": {"ca_files": ["absent.pem"]},
        "connections": ["absent"],
        "nonsense": true,
    })
}

fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn ready_until_it_drains_then_not_ready_then_not_listening() {
    let gate = Gate::new();
    let upstream = Upstream::sse(&gate);
    let crm = connection("crm").allow("GET /a").upstream(&upstream);
    let login = json!({"listen": ["127.0.0.1:0"], "basic_auth": {"username": "u", "password": "planted-password"}});
    let program = Program::new(&[crm], &json!({"management": login}));
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let check = || healthcheck(&settings(&[&operators.to_string()]), &[], &[]);
    assert_eq!(check(), (Some(0), "ready\n".to_owned(), String::new()));
    let mut agent = Agent::connect_to(agents);
    agent.send("GET /crm/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("data: first");
    running.terminate();
    running.wait_for_line("stopping");
    while check().0 == Some(0) {}
    let expected = format!("not ready: 503 draining ({operators})\n");
    assert_eq!(check(), (Some(1), expected, String::new()));
    gate.open();
    assert_eq!(running.wait_for_exit(), Some(0));
    let expected = format!(
        "not ready: nothing listens there; check that egressd is running with these settings ({operators})\n"
    );
    assert_eq!(check(), (Some(1), expected, String::new()));
}

#[test]
fn the_address_is_found_in_every_layer_and_on_a_unix_socket() {
    let files = tempfile::tempdir().unwrap();
    let socket = files.path().join("management.sock");
    let unix = format!("unix:{}", socket.display());
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&upstream);
    let program = Program::new(
        &[crm],
        &json!({"management": {"listen": [unix, "127.0.0.1:0"]}}),
    );
    let mut running = program.start(&[]);
    let agents = running.wait_for_line("agents connect to");
    assert_eq!(running.wait_for_line("operators connect to"), unix);
    let operators: SocketAddr = running
        .wait_for_line("operators connect to")
        .parse()
        .unwrap();
    running.wait_for_line("ready with");
    let (tcp, closed_address) = (operators.to_string(), closed().to_string());
    let any = format!("0.0.0.0:{}", operators.port());
    let either = format!("[::]:{}", operators.port());
    let ready = |listen: &[&str], variables: &[(&str, &str)], flags: &[&str]| {
        let (exit, out, err) = healthcheck(&settings(listen), variables, flags);
        assert_eq!((exit, out.as_str(), err.as_str()), (Some(0), "ready\n", ""));
    };
    ready(&[&unix], &[], &[]);
    ready(&[&any], &[], &[]);
    // A machine may have only IPv6.
    ready(&[&either], &[], &[]);
    // One address that answers is enough.
    ready(&[&closed_address, &tcp, "unix:absent"], &[], &[]);
    ready(
        &[&closed_address],
        &[("EGRESSD_MANAGEMENT_LISTEN", &tcp)],
        &[],
    );
    let flag = ["--management-listen", &tcp];
    ready(
        &[&closed_address],
        &[("EGRESSD_MANAGEMENT_LISTEN", &closed_address)],
        &flag,
    );
    // The settings file may be missing if a flag overrides it. A relative path is relative to the
    // directory of that file.
    let file = files.path().join("absent.yaml").display().to_string();
    let relative = [
        "--management-listen",
        "unix:management.sock",
        "--format",
        "json",
    ];
    let (exit, out, _) = healthcheck_at(&file, &[], &relative);
    let expected: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, expected),
        (
            Some(0),
            json!({"ready": true, "address": unix, "seen": "200 ok"})
        )
    );
    // The listener for agents is not the management API, so its response does not count as ready.
    let (exit, out, _) = healthcheck(&settings(&[&agents]), &[], &[]);
    assert_eq!(exit, Some(1));
    assert!(out.contains("the listener for agents; use"), "{out}");
    running.terminate();
    assert_eq!(running.wait_for_exit(), Some(0));
}

#[test]
fn a_silent_listener_or_another_protocol_is_not_ready() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (exit, out, _) = healthcheck(&settings(&[&address]), &[], &["--timeout", "1"]);
    assert_eq!(
        (exit, out),
        (
            Some(1),
            format!("not ready: no answer within 1 s ({address})\n")
        )
    );
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    limit_accept(&stranger);
    let address = stranger.local_addr().unwrap().to_string();
    let world = std::thread::Builder::new().name("world stranger".to_owned());
    let answering = world.spawn(move || {
        for answer in [
            "220 mail\r\n\r\n",
            "HTTP/1.1 500 no\r\nContent-Length: 9999\r\n\r\n\x1b[31mred\n more",
        ] {
            let (mut socket, _) = stranger.accept().unwrap();
            let _request = socket.read(&mut [0; 4096]).unwrap();
            socket.write_all(answer.as_bytes()).unwrap();
        }
    });
    let check = || healthcheck(&settings(&[&address]), &[], &[]);
    let expected = format!("not ready: the response of the listener is not HTTP/1.1 ({address})\n");
    assert_eq!(check(), (Some(1), expected, String::new()));
    let expected = format!("not ready: 500 ?[31mred ({address})\n");
    assert_eq!(check(), (Some(1), expected, String::new()));
    answering.unwrap().join().unwrap();
}

#[test]
fn settings_without_an_address_to_query_are_reported_with_a_remedy() {
    let rows = [
        (json!({"management": {"listen": []}}), "list an address"),
        (
            json!({"management": {"listen": ["127.0.0.1:0"]}}),
            "--management-listen",
        ),
        (
            json!({"management": {"listen": ["localhost"]}}),
            "`localhost` is not a valid address\n",
        ),
        (
            json!({"management": {"listen": ["localhost"]}}),
            "write an IP address and a port",
        ),
        (json!({"management": 5}), "management"),
        (json!([]), "mapping"),
    ];
    for (settings, part) in rows {
        let (exit, out, err) = healthcheck(&settings, &[], &[]);
        assert_eq!((exit, out.as_str()), (Some(64), ""), "{settings}");
        assert!(err.contains(part), "{settings}: {err}");
    }
    let (exit, _, err) = healthcheck_at("absent.yaml", &[], &[]);
    assert_eq!(exit, Some(64));
    assert!(
        err.contains("correct the path, or create the file"),
        "{err}"
    );
    for wrong in ["0", "61", "1.5", "2s"] {
        let (exit, _, err) = healthcheck(&json!({}), &[], &["--timeout", wrong]);
        assert_eq!(exit, Some(64));
        assert!(
            err.contains("whole number of seconds from 1 to 60"),
            "{err}"
        );
    }
}

#[test]
fn an_answer_that_breaks_off_still_counts_by_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    limit_accept(&listener);
    let address = listener.local_addr().unwrap().to_string();
    let world = std::thread::Builder::new().name("world listener".to_owned());
    let request = world.spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let read = socket.read(&mut head).unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok\n")
            .unwrap();
        String::from_utf8_lossy(&head[..read]).to_lowercase()
    });
    let (exit, out, _) = healthcheck(&settings(&[&address]), &[], &[]);
    assert_eq!((exit, out.as_str()), (Some(0), "ready\n"));
    let head = request.unwrap().join().unwrap();
    assert!(
        head.starts_with("get /readyz http/1.1\r\n") && head.contains("\r\nhost: localhost\r\n"),
        "{head}"
    );
    assert!(!head.contains("authorization"), "{head}");
}
