//! `egressd doctor` on loopback: every open finding has a remedy, and no value is shown.
//! `tests/peers/doctor.py` builds complete sandboxes with network namespaces.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::limited::output;
use crate::support::{Sidecar, Upstream, connection};

/// An address without a listener, and one with a listener.
struct World {
    closed_address: String,
    open: TcpListener,
}

/// The result of a run.
struct Ran {
    exit: Option<i32>,
    findings: Vec<Value>,
    closed: Value,
    text: String,
}

impl World {
    fn new() -> Self {
        let closed_address = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            closed_address: closed_address.local_addr().unwrap().to_string(),
            open: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn open(&self) -> String {
        self.open.local_addr().unwrap().to_string()
    }

    /// Runs the doctor with these flags. Every other target is closed.
    fn doctor(&self, flags: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command.args(["doctor", "--format", "json", "--name", "nothing.invalid"]);
        // A listener that answers does so well within this time, even on a machine that is
        // building.
        if !flags.contains(&"--timeout") {
            command.args(["--timeout", "20"]);
        }
        for flag in [
            "--proxy",
            "--management",
            "--target",
            "--metadata-target",
            "--resolver",
        ] {
            if !flags.contains(&flag) {
                command.args([flag, self.closed_address.as_str()]);
            }
        }
        command.args(flags).env_clear();
        let ended = output(command.envs(variables.iter().copied()));
        let text = String::from_utf8(ended.stdout).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        Ran {
            exit: ended.status.code(),
            findings: report["findings"].as_array().unwrap().clone(),
            closed: report["closed"].clone(),
            text,
        }
    }
}

impl Ran {
    /// Returns the findings of a check: state, target and result.
    fn rows(&self, check: &str) -> Vec<(&str, &str, &str)> {
        let of = self
            .findings
            .iter()
            .filter(|finding| finding["check"] == check);
        let text = |finding: &'static str| finding;
        of.map(|f| {
            let word = |key| f[text(key)].as_str().unwrap();
            assert_eq!(f["remedy"].is_string(), f["state"] != "closed", "{f}");
            (word("state"), word("target"), word("seen"))
        })
        .collect()
    }

    fn states(&self, check: &str) -> Vec<&str> {
        self.rows(check).iter().map(|row| row.0).collect()
    }
}

#[test]
fn an_accepted_connection_is_open_and_a_refused_one_is_closed() {
    let world = World::new();
    let open = world.open();
    let flags = [
        "--target",
        &open,
        "--target",
        &world.closed_address,
        "--metadata-target",
        &open,
    ];
    let ran = world.doctor(&flags, &[]);
    assert_eq!(ran.exit, Some(1));
    assert_eq!(ran.closed, json!(false));
    let accepted = "a TCP connection was accepted";
    assert_eq!(
        ran.rows("direct_egress"),
        [
            ("open", open.as_str(), accepted),
            ("closed", world.closed_address.as_str(), "refused")
        ]
    );
    assert_eq!(ran.rows("metadata"), [("open", open.as_str(), accepted)]);
    let ran = world.doctor(&[], &[]);
    assert_eq!(ran.states("direct_egress"), ["closed"]);
    assert_eq!(ran.states("metadata"), ["closed"]);
    assert_eq!(
        ran.rows("proxy"),
        [(
            "unknown",
            world.closed_address.as_str(),
            "connection refused"
        )]
    );
}

#[test]
fn egressd_is_recognised_at_its_listeners() {
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&upstream);
    let sidecar = Sidecar::with(crm).start();
    let (proxy, management) = (
        sidecar.address().to_string(),
        sidecar.management().to_string(),
    );
    let world = World::new();
    let url = format!("http://{proxy}/");
    let ran = world.doctor(&["--proxy", &url, "--management", &management], &[]);
    assert_eq!(
        ran.rows("proxy"),
        [("closed", proxy.as_str(), "answers as egressd")]
    );
    assert_eq!(ran.states("management"), ["open"]);
    assert_eq!(ran.rows("metrics")[0].2, "can be read");
    assert!(!ran.text.contains("crm"), "{}", ran.text);
    // With the two addresses exchanged, neither is what it should be.
    let ran = world.doctor(&["--proxy", &management, "--management", &proxy], &[]);
    assert_eq!(ran.states("proxy"), ["unknown"]);
    assert_eq!(ran.states("management"), ["unknown"]);
    assert_eq!(ran.states("metrics"), ["unknown"]);
}

#[test]
fn a_listener_for_one_connection_is_recognised_without_a_request_to_its_api() {
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&upstream);
    let listeners = json!([{"listen": ["127.0.0.1:0"], "connection": "crm"}]);
    let sidecar = Sidecar::with(crm)
        .setting("proxy.listeners", listeners)
        .start();
    let [first, mounted] = sidecar.addresses() else {
        panic!("two addresses")
    };
    let (first, mounted) = (first.to_string(), mounted.to_string());
    let ran = World::new().doctor(&["--proxy", &first, "--proxy", &mounted], &[]);
    let seen = "answers as egressd";
    assert_eq!(
        ran.rows("proxy"),
        [
            ("closed", first.as_str(), seen),
            ("closed", mounted.as_str(), seen)
        ]
    );
    assert_eq!(upstream.sockets(), 0);
}

#[test]
fn a_silent_listener_is_not_reported_as_closed() {
    let world = World::new();
    let open = world.open();
    let flags = ["--management", &open, "--proxy", &open, "--timeout", "1"];
    let ran = world.doctor(&flags, &[]);
    let silent = "something listens there and does not answer";
    assert_eq!(ran.rows("proxy"), [("unknown", open.as_str(), silent)]);
    assert_eq!(ran.rows("management")[0].0, "unknown");
    assert_eq!(ran.rows("metrics")[0].2, silent);
}

#[test]
fn an_api_with_too_many_requests_is_not_reported_as_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let world = World::new();
    // Ends with the process of the tests.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = BufReader::new(socket.try_clone().unwrap()).lines();
            while head
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ =
                socket.write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let ran = world.doctor(&["--management", &address], &[]);
    assert_eq!(ran.states("management"), ["unknown"]);
}

#[test]
fn a_password_closes_the_api_and_the_metrics_can_be_accepted() {
    let upstream = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&upstream);
    let login = json!({"username": "u", "password": "planted-password"});
    let sidecar = Sidecar::with(crm)
        .setting("management.basic_auth", login)
        .start();
    let management = sidecar.management().to_string();
    let world = World::new();
    let ran = world.doctor(&["--management", &management, "--accept", "metrics"], &[]);
    assert_eq!(ran.rows("management")[0].2, "requires a password");
    assert_eq!(ran.states("metrics"), ["open"]);
    let accepted: Vec<&Value> = ran
        .findings
        .iter()
        .filter(|f| f["accepted"] == true)
        .collect();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0]["check"], "metrics");
}

#[test]
fn variables_are_named_and_no_value_is_shown() {
    let variables = [
        ("GITHUB_TOKEN", "planted-canary"),
        ("DATABASE_URL", "postgres://u:planted-canary@db/x"),
        ("HTTPS_PROXY", "http://u:planted-canary@proxy.example:3128"),
        ("HOME", "/planted-canary"),
    ];
    let ran = World::new().doctor(&[], &variables);
    let named: Vec<&str> = ran.rows("environment").iter().map(|row| row.1).collect();
    assert_eq!(named, ["DATABASE_URL", "GITHUB_TOKEN", "HTTPS_PROXY"]);
    assert_eq!(ran.rows("proxy_variables")[0].0, "open");
    assert!(
        !ran.text.contains("canary") && !ran.text.contains("proxy.example"),
        "{}",
        ran.text
    );
    let ran = World::new().doctor(&[], &[("HOME", "/")]);
    assert_eq!(ran.states("environment"), ["closed"]);
}

#[test]
fn wrong_arguments_are_reported_with_a_remedy() {
    let rows = [
        (
            ["--proxy", "https://127.0.0.1:8080"],
            "egressd serves plain HTTP",
        ),
        (["--management", "8081"], "write `127.0.0.1:8080`"),
        (["--target", "example"], "write `1.1.1.1:443`"),
        (["--metadata-target", "unix:/a"], "write `1.1.1.1:443`"),
        (["--resolver", "1.1.1.1"], "write `1.1.1.1:53`"),
        (["--name", "a b"], "not a valid DNS name"),
        (["--accept", "egress"], "direct_egress"),
        (["--timeout", "0"], "from 1 to 60"),
    ];
    for (flags, part) in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        let ended = output(command.arg("doctor").args(flags));
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{flags:?}");
        assert!(err.contains(part), "{flags:?}: {err}");
    }
}
