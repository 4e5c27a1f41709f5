//! The browser flow: from the start link to the stored grant, and what other processes can do.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::client::{navigate, send, split_link};
use super::process::{Opened, Process};
use super::world::{LoginWorld, answer};
use crate::support::TokenAnswer;
use crate::support::connection::{CLIENT_ID, CLIENT_SECRET};
use crate::support::token_endpoint::TokenCall;

#[test]
fn a_consent_is_confirmed_and_stored() {
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    let opened = login.open();
    check_request(&opened);
    check_answers(&opened);
    login.wait_for_line("account:    octocat");
    assert!(!world.file().exists());
    login.reply("Store this grant? [y/N]", "y");
    let ended = login.end();

    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.out.contains("octocat"), "{ended:?}");
    let stored = world.stored();
    assert_eq!(stored["access_token"], "access-1");
    assert_eq!(stored["refresh_token"], "refresh-1");
    assert_eq!(stored["account"], "octocat");
    assert_eq!(stored["client_auth"], "basic");
    assert_eq!(stored["sequence"], 1);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(world.file()), 0o600);
    assert_eq!(mode(world.program.path("store/tokens")), 0o700);
    assert_eq!(world.provider.calls(), 1);
    let call = world.provider.call(0);
    check_exchange(&opened, &call);
    let verifier = call.single_param("code_verifier").unwrap();
    // F-355: no secret on the terminal's streams.
    for secret in [CLIENT_SECRET, verifier, "the-code", "access-1", "refresh-1"] {
        assert!(!format!("{ended:?}").contains(secret), "{secret}");
    }
}

/// Checks the authorization request.
fn check_request(opened: &Opened) {
    let redirect_uri = format!("http://{}/callback", opened.authority);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("scope", "read:user"),
        ("redirect_uri", &redirect_uri),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(opened.parameter(name).as_deref(), Some(value));
    }
}

/// Sends the callback, and checks what the browser gets.
fn check_answers(opened: &Opened) {
    // The same browser may open the link again.
    let (authority, start) = split_link(&opened.link);
    let again = navigate(authority, start, &opened.cookie);
    assert_eq!(again.field("location"), Some(opened.url.as_str()));
    let path = opened.callback("code=the-code");
    let callback = navigate(authority, &path, &opened.cookie);
    assert_eq!(callback.status, 303);
    assert_eq!(callback.field("location"), Some("/done"));
    let done = navigate(authority, "/done", &opened.cookie);
    assert_eq!(done.status, 200);
    assert!(done.field("set-cookie").unwrap().contains("Max-Age=0"));
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'"),
    ] {
        assert_eq!(done.field(name), Some(value));
    }
    assert!(!done.body.contains("script"));
    // F-335
    assert_eq!(navigate(authority, &path, &opened.cookie).status, 410);
    assert_eq!(navigate(authority, &path, "").status, 410);
}

fn check_exchange(opened: &Opened, call: &TokenCall) {
    let redirect_uri = format!("http://{}/callback", opened.authority);
    assert_eq!(call.single_param("grant_type"), Some("authorization_code"));
    assert_eq!(call.single_param("code"), Some("the-code"));
    assert_eq!(call.single_param("redirect_uri"), Some(&*redirect_uri));
    let verifier = call.single_param("code_verifier").unwrap();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    assert_eq!(opened.parameter("code_challenge"), Some(challenge));
    let pair = (CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned());
    assert_eq!(call.basic(), Some(pair));
}

#[test]
fn the_credentials_of_the_client_are_tried_in_the_body() {
    let world = LoginWorld::with_provider(&json!({}), |call| match call.basic() {
        Some(_) => TokenAnswer::error("401 Unauthorized", "invalid_client"),
        None => answer(&json!({})),
    });
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.stored()["client_auth"], "body");
    assert_eq!(world.provider.calls(), 2);
    let secret = world.provider.call(1);
    assert_eq!(secret.single_param("client_secret"), Some(CLIENT_SECRET));
}

#[test]
fn a_refused_consent_leaves_the_stored_grant() {
    // F-333
    let world = LoginWorld::new(&json!({}));
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    let before = fs::read(world.file()).unwrap();
    let mut login = world.login(&["--replace"]);
    let opened = login.open();
    assert_eq!(opened.call_back("error=access_%1b[31mdenied"), 303);
    let ended = login.end();
    assert_eq!(ended.exit, Some(1));
    assert!(ended.err.contains("(access_[31mdenied)"), "{ended:?}");
    assert_eq!(fs::read(world.file()).unwrap(), before);
    assert_eq!(world.provider.calls(), 1);
}

#[test]
fn a_second_client_of_the_start_link_ends_the_login() {
    // F-336: before the callback.
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    let opened = login.open();
    let (authority, start) = split_link(&opened.link);
    assert_eq!(navigate(authority, start, "").status, 409);
    let ended = login.end();
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    // While the question waits.
    let mut login = world.login(&[]);
    let opened = login.open();
    assert_eq!(opened.call_back("code=the-code"), 303);
    login.wait_for_line("account:");
    let (authority, start) = split_link(&opened.link);
    assert_eq!(navigate(authority, start, "").status, 409);
    let ended = login.end();
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(!world.file().exists());
}

#[test]
fn ten_thousand_wrong_requests_do_not_end_the_login() {
    // F-334
    const SENDERS: usize = 4;
    const ROUNDS: usize = 250;
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    let opened = login.open();
    let right = opened.callback("code=the-code");
    let state = opened.parameter("state").unwrap();
    let host = format!("Host: {}\r\n", opened.authority);
    let cookie = format!("Cookie: {}\r\n", opened.cookie);
    let good = format!("{host}{cookie}");
    let bad: [(&str, String, String); 10] = [
        ("GET", "/callback?code=c&state=x".into(), good.clone()),
        ("GET", "/callback?code=c".into(), good.clone()),
        ("GET", format!("{right}&state={state}"), good.clone()),
        ("GET", right.clone(), host.clone()),
        (
            "GET",
            right.clone(),
            format!("{host}Cookie: egressd-login=x\r\n"),
        ),
        (
            "POST",
            right.clone(),
            format!("{good}Content-Length: 0\r\n"),
        ),
        ("HEAD", right.clone(), good.clone()),
        ("GET", "/other".into(), good.clone()),
        // F-341
        (
            "GET",
            right.clone(),
            format!("Host: rebound.test\r\n{cookie}"),
        ),
        (
            "GET",
            right.clone(),
            format!("{good}Origin: https://page.test\r\n"),
        ),
    ];
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    for (method, path, fields) in &bad {
                        let status = send(&opened.authority, method, path, fields).status;
                        let expected = if path == "/other" { 404 } else { 400 };
                        assert_eq!(status, expected, "{method} {path} {fields}");
                    }
                }
            });
        }
    });
    assert_eq!(opened.call_back("code=the-code"), 303);
    login.reply("Store this grant?", "yes");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(ended.err.matches("warning:").count(), 1, "{ended:?}");
    assert!(ended.err.contains("to this login: 10000\n"), "{ended:?}");
    assert_eq!(world.provider.calls(), 1);
}

#[test]
fn all_sockets_can_be_held_for_a_short_time_only() {
    // F-337
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    let link = login.wait_for_line("/start/");
    let (authority, start) = split_link(&link);
    let held: Vec<_> = (0..16)
        .map(|_| TcpStream::connect(authority).unwrap())
        .collect();
    assert_eq!(navigate(authority, start, "").status, 302);
    drop(held);
    login.interrupt();
}

#[test]
fn the_issuer_of_the_callback_is_checked() {
    // F-338
    let world = LoginWorld::new(&json!({"issuer": "https://as.test"}));
    let mut login = world.login(&[]);
    let opened = login.open();
    login.wait_for_line("redirect:   http://127.0.0.1:");
    let other = "code=the-code&iss=https://other.test%1B%E2%80%AE";
    assert_eq!(opened.call_back(other), 400);
    login.wait_for_line(
        "has the issuer `https://other.test`, and `issuer` in the definition is `https://as.test`",
    );
    assert_eq!(opened.call_back("code=the-code"), 400);
    assert_eq!(opened.call_back("error=planted-text"), 400);
    assert_eq!(opened.call_back("code=the-code&iss=https://as.test"), 303);
    login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(!ended.err.contains("planted-text"));
    // One warning, which counts no request of another program.
    assert!(!ended.err.contains("did not belong"), "{ended:?}");
    assert!(!ended.err.contains("no issuer"), "{ended:?}");
}

#[test]
fn a_signal_closes_the_listener_and_leaves_no_file() {
    // F-339 (c)
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&[]);
    let opened = login.open();
    login.interrupt();
    assert!(TcpStream::connect(&opened.authority).is_err());
    let store = fs::read_dir(world.program.path("store/tokens")).unwrap();
    let names: Vec<_> = store.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["api.lock"]);
}

#[test]
fn a_configured_port_that_is_taken_is_reported() {
    // F-340 (a)
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let uri = format!("http://localhost:{port}/callback");
    let world = LoginWorld::new(&json!({"redirect_uri": uri}));
    let ended = world.login(&[]).end();
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    assert!(ended.err.contains(&port.to_string()), "{ended:?}");
    let world = LoginWorld::new(&json!({}));
    let ended = world.login(&["--port", &port.to_string()]).end();
    assert_eq!(ended.exit, Some(69), "{ended:?}");
}

#[test]
fn failures_of_the_token_endpoint_end_the_login() {
    // F-342
    for (what, sent, exit) in [
        ("<html>", TokenAnswer::status("200 OK", "", "<html>"), 1),
        (
            "redirect",
            TokenAnswer::status("302 Found", "Location: /elsewhere\r\n", ""),
            1,
        ),
        ("10 MB", TokenAnswer::body("a".repeat(10_000_000)), 1),
        ("closed", TokenAnswer::close(), 69),
        (
            "refused",
            TokenAnswer::error("400 Bad Request", "invalid_grant"),
            1,
        ),
    ] {
        let world = LoginWorld::with_provider(&json!({}), move |_| sent.clone());
        let ended = world.login_yes(&[]);
        assert_eq!(ended.exit, Some(exit), "{what}: {ended:?}");
        assert_eq!(world.provider.calls(), 1, "{what}");
        assert!(!world.file().exists());
    }
    let world = LoginWorld::new(&json!({}));
    world.provider.kill();
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    let message = format!(
        "the host `{}` of `token_url` could not be reached; the code was not sent",
        world.provider.address()
    );
    assert!(ended.err.contains(&message), "{ended:?}");
}

#[test]
fn an_answer_of_another_resource_names_the_field_and_the_status() {
    // F-342
    let world = LoginWorld::with_provider(&json!({}), |_| {
        TokenAnswer::error("404 Not Found", "no resource at this path")
    });
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    let message = "of `token_url` answered with status 404 and the error `no resource at this path`; check `token_url`; the code is spent";
    assert!(ended.err.contains(message), "{ended:?}");
}

#[test]
fn a_private_address_of_the_token_endpoint_is_refused() {
    // F-342 (a)
    let world = LoginWorld::new(&json!({}));
    let kind = "oauth_user_consent";
    let mut consent = world.api.definition()["connection_details"]["http"][kind].clone();
    let port = world.provider.address().port();
    consent["authorization_url"] = json!("https://as.test/authorize");
    consent["token_url"] = json!(format!("https://localhost:{port}/token"));
    world.redefine(|api| {
        let api = api.auth(kind, consent);
        api.http("allowed_private_cidrs", json!([]))
    });
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    let message = "of `token_url` has a forbidden address (loopback)";
    // The person sees it before the consent, too.
    let (before, after) = ended.err.split_once("/start/").unwrap();
    assert!(
        before.contains(message) && after.contains(message),
        "{ended:?}"
    );
    assert_eq!(world.provider.sockets(), 0);
    assert!(!world.file().exists());
}

/// Returns a command that runs in a network namespace with one loopback address only.
fn without_address(world: &LoginWorld, removed: &str) -> Command {
    let login = world.command("login", &["--no-browser", "api"]);
    let script = format!("ip link set lo up && ip addr del {removed} dev lo && exec \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            &script,
            "sh",
        ])
        .arg(login.get_program())
        .args(login.get_args());
    command
}

#[test]
fn a_machine_without_the_address_of_the_redirect_uri() {
    // F-340 (c)
    let world = LoginWorld::new(&json!({}));
    let ended = Process::on_terminal(&without_address(&world, "127.0.0.1/8")).end();
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    assert!(ended.err.contains("http://localhost/"), "{ended:?}");
    // F-340 (b)
    let world = LoginWorld::new(&json!({"redirect_uri": "http://localhost/callback"}));
    for removed in ["127.0.0.1/8", "::1/128"] {
        let mut login = Process::on_terminal(&without_address(&world, removed));
        login.wait_for_line("http://localhost:");
        login.interrupt();
    }
}

#[test]
fn the_choice_of_accounts_is_asked_for() {
    // The parameter is that of the connector. It replaces the one of the definition.
    let world = LoginWorld::new(&json!({"authorization_params": {"prompt": "login", "a": "b"}}));
    world.redefine(|api| api.with_field("connector", json!("github")));
    for (arguments, prompt) in [
        (&[][..], "login"),
        (&["--select-account"], "select_account"),
    ] {
        let mut login = world.login(arguments);
        let opened = login.open();
        let query = opened.url.query_pairs();
        let sent: Vec<_> = query.filter(|(name, _)| name == "prompt").collect();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0].1, prompt);
        assert_eq!(opened.parameter("a").as_deref(), Some("b"));
        login.interrupt();
    }
}
