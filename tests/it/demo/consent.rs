//! The connection that needs a consent, and the authorization server over TLS.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::paste::{Answer, exchange_over_tls, words};
use super::{ANYWHERE, Demo, send, send_and_check};
use crate::support::limited::LimitedChild;

/// The time after which an expected status counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);
const REDIRECT_URI: &str = "http://127.0.0.1:4000/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A running demo with its directory and its authorization server.
struct World {
    demo: Demo,
    printed: Vec<String>,
    directory: PathBuf,
    server: String,
}

impl World {
    fn start() -> Self {
        let mut demo = Demo::start(&ANYWHERE);
        let printed = demo.printed();
        let (_, directory) = printed.last().unwrap().rsplit_once(' ').unwrap();
        let directory = PathBuf::from(directory);
        let definition = fs::read_to_string(directory.join("connections/calendar.yaml")).unwrap();
        let (_, rest) = definition.split_once("issuer: https://").unwrap();
        let server = rest.lines().next().unwrap().to_owned();
        Self {
            demo,
            printed,
            directory,
            server,
        }
    }

    /// Returns the comments and commands that end with this text.
    fn commands(&self, end: &str) -> Vec<(&str, &str)> {
        let pairs = self.printed.windows(2);
        pairs
            .filter(|pair| pair[0].starts_with("# ") && pair[1].ends_with(end))
            .map(|pair| (pair[0].as_str(), pair[1].as_str()))
            .collect()
    }

    /// Sends a request to the authorization server.
    fn ask(&self, method: &str, target: &str, form: &str) -> Answer {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.server,
            form.len()
        );
        let ca = self.directory.join("ca.pem");
        exchange_over_tls(&self.server, ca.to_str().unwrap(), request.as_bytes())
    }

    /// Sends a request of the public client. Returns the status and the body.
    fn post(&self, path: &str, form: &str) -> (u16, Value) {
        let answer = self.ask("POST", path, &format!("{form}&client_id=calendar-app"));
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.promise().status, body)
    }

    /// Consents as a person with a browser, and returns the answer to the code exchange.
    fn log_in(&self) -> Value {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let page = self.ask(
            "GET",
            &format!(
                "/authorize?response_type=code&client_id=calendar-app&state=s&redirect_uri=\
                 {REDIRECT_URI}&code_challenge={challenge}&code_challenge_method=S256"
            ),
            "",
        );
        let html = String::from_utf8(page.body).unwrap();
        let (_, rest) = html.split_once("name=\"request\" value=\"").unwrap();
        let (id, _) = rest.split_once('"').unwrap();
        let form = format!("request={id}&decision=approve");
        let redirect = self.ask("POST", "/authorize", &form);
        assert_eq!(redirect.promise().status, 303);
        let url = redirect.field("location").unwrap();
        let (_, rest) = url.split_once("?code=").unwrap();
        let (code, _) = rest.split_once('&').unwrap();
        let (status, tokens) = self.post(
            "/token",
            &format!(
                "grant_type=authorization_code&code={code}&redirect_uri={REDIRECT_URI}&\
                 code_verifier={VERIFIER}"
            ),
        );
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    fn refresh(&self, tokens: &Value) -> (u16, Value) {
        let token = tokens["refresh_token"].as_str().unwrap();
        self.post(
            "/token",
            &format!("grant_type=refresh_token&refresh_token={token}"),
        )
    }

    /// Writes the file that `egressd login` would write.
    fn store(&self, tokens: &Value) {
        let client = Sha256::digest(format!("{}\ncalendar-app", self.server));
        let client: String = client.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = jiff::Timestamp::now();
        let lifetime = Duration::from_secs(tokens["expires_in"].as_u64().unwrap());
        let document = json!({
            "format": "egressd-token/1",
            "grant": "calendar",
            "client": format!("sha256:{client}"),
            "sequence": 1,
            "connected_at": now.to_string(),
            "access_token": tokens["access_token"],
            "expires_at": (now + lifetime).to_string(),
            "refresh_token": tokens["refresh_token"],
            "scopes": tokens["scope"],
            "client_auth": "none",
        });
        let store = self.directory.join("tokens");
        let written = store.join("written-by-the-test");
        fs::write(&written, document.to_string()).unwrap();
        fs::rename(written, store.join("calendar.json")).unwrap();
    }

    /// Repeats a line until it has this status.
    fn send_until(&self, line: &str, status: u16) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = send(line);
            if answer.promise().status == status {
                return answer;
            }
            assert!(Instant::now() < deadline, "{line}\n{}", answer.head);
        }
    }
}

/// Checks that the request before the consent is refused, and that the one after it shows the
/// account.
fn check_requests(world: &World, consent: impl FnOnce()) {
    let [before, after] = *world.commands("/calendar/profile") else {
        panic!("{:#?}", world.printed);
    };
    send_and_check(before);
    consent();
    world.send_until(after.1, 200);
    let answer = send_and_check(after);
    let profile: Value = serde_json::from_slice(&answer.body).unwrap();
    let expected = json!({
        "account": "ada@example.com", "scope": "calendar.read", "access_token_number": 1,
    });
    assert_eq!(profile, expected);
}

#[test]
fn a_consent_in_a_browser_serves_requests() {
    let world = World::start();
    check_requests(&world, || world.store(&world.log_in()));
}

/// Starts a printed command of egressd.
fn start_command(line: &str) -> LimitedChild {
    let mut words = words(line).into_iter();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    LimitedChild::spawn(&mut command)
}

#[test]
fn the_printed_commands_log_in_and_out() {
    let world = World::start();
    let logins = world.commands(" --device --yes calendar");
    let (approvals, ends) = (world.commands("/device"), world.commands("calendar"));
    let (login, logout) = (logins[0].1, ends.last().unwrap().1);
    check_requests(&world, || {
        let mut waiting = start_command(login);
        let shown = BufReader::new(waiting.stderr.as_mut().unwrap()).lines();
        let code = shown.map(Result::unwrap).find_map(|line| {
            let (_, code) = line.split_once("enter the code ")?;
            Some(code.to_owned())
        });
        let approval = approvals[0];
        let code = code.expect("a code");
        assert!(approval.1.contains(&format!("user_code={code} ")), "{code}");
        send_and_check(approval);
        assert_eq!(waiting.output().status.code(), Some(0));
    });
    let output = start_command(logout).output();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    world.send_until(world.commands("/calendar/profile")[0].1, 403);
    // The logout revoked the grant, so the file has no token any more.
    let file = fs::read_to_string(world.directory.join("tokens/calendar.json")).unwrap();
    assert!(!file.contains("refresh_token"), "{file}");
}

#[test]
fn tokens_rotate_and_are_revoked_over_tls() {
    let world = World::start();
    let first = world.log_in();
    let (status, second) = world.refresh(&first);
    assert_eq!(status, 200, "{second}");
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let refused = |tokens| {
        let (status, body) = world.refresh(tokens);
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    };
    // The first token was used, so its repetition ends the grant.
    refused(&first);
    refused(&second);
    let third = world.log_in();
    let token = third["refresh_token"].as_str().unwrap();
    assert_eq!(world.post("/revoke", &format!("token={token}")).0, 200);
    refused(&third);
}

#[test]
fn the_directory_is_private_and_ends_with_the_demo() {
    let mut world = World::start();
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    let directory = &world.directory;
    assert_eq!(mode(directory), 0o700);
    assert_eq!(mode(&directory.join("tokens")), 0o700);
    let definition = fs::read_to_string(directory.join("connections/calendar.yaml")).unwrap();
    assert!(!definition.contains("secret"), "{definition}");
    world.demo.terminate();
    let output = world.demo.child.take().unwrap().output();
    assert_eq!(output.status.code(), Some(0));
    // The test's own directory around it still exists.
    assert!(!directory.exists() && directory.parent().unwrap().exists());
}
