//! `egressd demo` as a process: every line that it prints has the result that its comment
//! describes.
//!
//! The tests parse the printed lines and send the requests over plain sockets, so they need no
//! curl. `tests/peers/demo` pastes the same lines into a shell.

mod consent;
mod paste;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::limited::LimitedChild;
use paste::{Answer, Promise, send};

/// A running demo, and the directory for its temporary files. A demo that is killed cannot remove
/// its files, so the test does.
struct Demo {
    child: Option<LimitedChild>,
    _temporary: TempDir,
}

impl Demo {
    fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egressd"));
        command.arg("demo").args(flags).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let temporary = TempDir::new().unwrap();
        command.env("TMPDIR", temporary.path());
        Self {
            child: Some(LimitedChild::spawn(&mut command)),
            _temporary: temporary,
        }
    }

    /// Returns the lines that it prints at start-up.
    fn printed(&mut self) -> Vec<String> {
        let out = self.child.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut printed = Vec::new();
        for line in BufReader::new(out).lines() {
            printed.push(line.unwrap());
            if printed.last().unwrap().starts_with("Ctrl-C") {
                return printed;
            }
        }
        panic!("the demo ended early: {printed:#?}");
    }

    fn terminate(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("sh")
            .args(["-c", "kill -TERM \"$1\"", "sh", &id])
            .status();
        assert!(status.unwrap().success());
    }

    fn end(mut self) -> Output {
        self.child.take().unwrap().output()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// Returns the comments and `curl` commands, in their order. Those of the connection that needs a
/// consent depend on each other; the tests of `consent` run them.
fn lines(printed: &[String]) -> Vec<(&str, &str)> {
    let is_consent = |line: &str| line.ends_with("/calendar/profile") || line.ends_with("/device");
    printed
        .windows(2)
        .filter(|pair| pair[1].starts_with("curl ") && !is_consent(&pair[1]))
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect()
}

/// Sends a line, and checks the response against its comment.
fn send_and_check((comment, line): (&str, &str)) -> Answer {
    let answer = send(line);
    let (head, promise) = (&answer.head, Promise::read(comment));
    assert_eq!(answer.promise(), promise, "{line}\n{head}");
    answer
}

/// Checks the body of a response, by the path of its line.
fn check_body(line: &str, answer: &Answer) {
    let body = String::from_utf8_lossy(&answer.body);
    let says = |text: &str| assert!(body.contains(text), "{line}: {body}");
    let ends = |path: &str| line.split('?').next().is_some_and(|l| l.ends_with(path));
    if ends("/notes/echo") && answer.promise().status == 200 {
        says("authorization: Bearer (hidden)");
        assert!(!body.contains("made-up"), "{body}");
    } else if ends("/billing/echo") {
        says("authorization: Basic (hidden)");
    } else if ends("/search/echo") {
        says("x-api-key: (hidden)");
    } else if ends("/crm/echo") {
        says("authorization: Bearer (hidden)");
        says("\"token_requests\": ");
    } else if ends("/hooks/echo") {
        says("x-webhook-signature: (hidden)");
        says("\"signature\": \"valid\"");
        says("\"body_bytes\": 17");
    } else if ends("/v1/connections/crm") {
        says("\"clientSecret\":\"[redacted]\"");
        says("env:CRM_CLIENT_SECRET");
    } else if line.contains("filter=") {
        says("\"connections/billing\"");
    } else if ends("/metrics") {
        says("egressd_requests_total{");
    }
}

const ANYWHERE: [&str; 4] = [
    "--listen",
    "127.0.0.1:0",
    "--management-listen",
    "127.0.0.1:0",
];

#[test]
fn every_printed_line_has_the_result_of_its_comment() {
    let mut demo = Demo::start(&ANYWHERE);
    let printed = demo.printed();
    assert!(
        printed.iter().all(|line| !line.contains('\x1b')),
        "colour without a terminal"
    );
    let lines = lines(&printed);
    assert!(lines.len() >= 30, "{printed:#?}");
    // In order and in reverse: no line depends on another one.
    for (comment, line) in lines.iter().chain(lines.iter().rev()) {
        check_body(line, &send_and_check((comment, line)));
    }
    demo.terminate();
    let output = demo.end();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains(" 403 GET /notes/admin notes route_not_allowed "),
        "{stderr}"
    );
    assert_eq!(
        output.stdout, b"",
        "the access log must not be on standard output"
    );
}

/// Returns the commands of the first shell block after this text in `docs/management-api.md`,
/// without their comments.
fn documented_commands(text: &str) -> Vec<String> {
    let page = include_str!("../../docs/management-api.md");
    let (_, section) = page.split_once(text).expect("the text");
    let (_, block) = section.split_once("```sh\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    let whole = block.replace("\\\n", " ");
    let command = |line: &str| line.split("  #").next().unwrap().trim().to_owned();
    whole.lines().map(command).collect()
}

#[test]
fn the_documented_commands_for_operators_work_on_the_demo() {
    let mut demo = Demo::start(&ANYWHERE);
    let printed = demo.printed();
    let there = lines(&printed)
        .into_iter()
        .find_map(|(_, line)| line.split("http://").nth(1)?.strip_suffix("/metrics"))
        .expect("the address of the management listener");
    let lines = documented_commands("\nList the connections");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for line in lines {
        let line = line.replace("127.0.0.1:8081", there);
        let answer = send(&line);
        assert_eq!(answer.promise().status, 200, "{line}\n{}", answer.head);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains("\"name\":\"connections/crm\""), "{body}");
    }
}

/// Returns a number from a response.
fn number(answer: &Answer, name: &str) -> u64 {
    let body = String::from_utf8_lossy(&answer.body);
    let (_, rest) = body.split_once(&format!("\"{name}\": ")).expect(name);
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}

#[test]
fn one_token_call_serves_two_lines_and_a_revoked_token_is_renewed() {
    let mut demo = Demo::start(&ANYWHERE);
    let printed = demo.printed();
    let lines = lines(&printed);
    let find = |end: &str| lines.iter().find(|(_, line)| line.ends_with(end)).unwrap();
    let (echo, revoke) = (*find("/crm/echo"), *find("/crm/token"));
    let counted = || {
        let answer = send_and_check(echo);
        (number(&answer, "token"), number(&answer, "token_requests"))
    };
    assert_eq!([counted(), counted()], [(1, 1), (1, 1)]);
    let revoked =
        |answer: &Answer| String::from_utf8_lossy(&answer.body).contains("\"revoked\": true");
    assert!(revoked(&send_and_check(revoke)));
    assert_eq!([counted(), counted()], [(2, 2), (2, 2)]);
    // Within 30 seconds egressd would not obtain another token, so the API does not revoke this
    // one.
    assert!(!revoked(&send_and_check(revoke)));
    assert_eq!(counted(), (2, 2));
}

#[test]
fn a_busy_address_is_named_with_the_flag_that_moves_it() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = held.local_addr().unwrap().to_string();
    for (taken, free) in [
        ("--listen", "--management-listen"),
        ("--management-listen", "--listen"),
    ] {
        let output = Demo::start(&[taken, &busy, free, "127.0.0.1:0"]).end();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{stderr}");
        assert!(
            stderr.contains(&format!("cannot listen on {busy}: ")),
            "{stderr}"
        );
        assert!(stderr.contains(&format!("`{taken} ADDRESS`")), "{stderr}");
        assert_eq!(output.stdout, b"");
    }
    drop(held);
}

#[test]
fn an_invalid_address_is_a_usage_error() {
    let output = Demo::start(&["--listen", "8080"]).end();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("--listen"), "{stderr}");
    assert_eq!(output.stdout, b"");
}
