//! The flows `--paste`, `--device` and `--import`.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::Process;
use super::world::{LoginWorld, answer};
use crate::support::TokenAnswer;

const REDIRECT_URI: &str = "https://app.test/callback";

#[test]
fn a_pasted_address_is_accepted_at_the_third_attempt() {
    // F-347
    let world = LoginWorld::new(&json!({"redirect_uri": REDIRECT_URI}));
    let mut login = world.login(&[]);
    let line = login.wait_for_line("/authorize?");
    let url = url::Url::parse(&line).unwrap();
    let mut pairs = url.query_pairs();
    let state = pairs.find(|(name, _)| name == "state").unwrap().1;
    let prompt = "Paste that address";
    login.reply(prompt, "the-code");
    login.reply(prompt, &format!("{REDIRECT_URI}?code=planted&state=other"));
    // Longer than the line buffer of a terminal.
    let padding = "p".repeat(4000);
    login.reply(
        prompt,
        &format!("{REDIRECT_URI}?a={padding}&b={padding}&code=the-code&state={state}"),
    );
    login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(!ended.err.contains("planted"), "{ended:?}");
    let call = world.provider.call(0);
    assert_eq!(call.single_param("code"), Some("the-code"));
    assert_eq!(call.single_param("redirect_uri"), Some(REDIRECT_URI));
}

#[test]
fn three_wrong_addresses_end_the_login() {
    // F-347
    let world = LoginWorld::new(&json!({}));
    let mut login = world.login(&["--paste"]);
    for _ in 0..3 {
        login.reply(
            "Paste that address",
            "http://127.0.0.1/callback?code=c&state=s",
        );
    }
    let ended = login.end();
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert_eq!(world.provider.calls(), 0);
}

const DEVICE: &str = r#"{"device_code": "the-device-code", "user_code": "ABCD-EFGH",
    "verification_uri": "https://device.test/activate", "expires_in": 900, "interval": 0}"#;

fn device_world(polls: impl Fn(usize) -> TokenAnswer + Send + Sync + 'static) -> LoginWorld {
    let fields = json!({"device_authorization_url": "/device", "authorization_url": null});
    LoginWorld::with_provider(&fields, move |call| match call.target.as_str() {
        "/device" => TokenAnswer::body(DEVICE),
        _ => polls(call.number),
    })
}

#[test]
fn a_device_is_polled_until_the_person_has_decided() {
    // F-348
    let world = device_world(|number| match number {
        1 => TokenAnswer::error("428 Precondition Required", "authorization_pending"),
        _ => answer(&json!({})),
    });
    let mut login = world.login(&[]);
    login.wait_for_line(
        "open https://device.test/activate on any device, and enter the code ABCD-EFGH",
    );
    login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(!ended.err.contains("the-device-code"));
    assert_eq!(world.provider.calls(), 3);
    assert_eq!(
        world.provider.call(0).single_param("scope"),
        Some("read:user")
    );
    let poll = world.provider.call(2);
    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    assert_eq!(poll.single_param("grant_type"), Some(grant_type));
    assert_eq!(poll.single_param("device_code"), Some("the-device-code"));
}

#[test]
fn a_denied_or_expired_device_code_ends_the_login() {
    // F-348
    let codes = [
        ("access_denied", "refused the consent (access_denied)"),
        (
            "authorization_declined",
            "refused the consent (authorization_declined)",
        ),
        ("expired_token", "the code has expired"),
        ("code_expired", "the code has expired"),
        // Any other code ends the polling (RFC 8628 section 3.5).
        ("bad_verification_code", "`bad_verification_code`"),
    ];
    let logins = codes.map(|(code, message)| {
        let world = device_world(move |_| TokenAnswer::error("400 Bad Request", code));
        let command = world.command("login", &["--yes", "api"]);
        (Process::without_terminal(&command), world, message)
    });
    for (login, world, message) in logins {
        let ended = login.end();
        assert_eq!(ended.exit, Some(1), "{ended:?}");
        assert!(ended.err.contains(message), "{ended:?}");
        assert_eq!(world.provider.calls(), 2, "{ended:?}");
        assert!(!world.file().exists());
    }
}

#[test]
fn a_provider_that_asks_for_fewer_polls_gets_fewer() {
    // F-348. The answers repeat the device code, which must not hide the error code.
    let polls = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&polls);
    let world = device_world(move |number| {
        times.lock().unwrap().push(Instant::now());
        let body = |code| format!(r#"{{"error": "{code}", "hint": "the-device-code"}}"#);
        match number {
            1 => TokenAnswer::status("400 Bad Request", "", body("slow_down")),
            2 => TokenAnswer::status("400 Bad Request", "", body("authorization_pending")),
            _ => answer(&json!({})),
        }
    });
    let command = world.command("login", &["--yes", "api"]);
    let ended = Process::without_terminal(&command).end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let polls = polls.lock().unwrap();
    assert_eq!(polls.len(), 3);
    for pair in polls.windows(2) {
        // 1.2 times the interval of 5 s, to which `slow_down` has added 5 s.
        let wait = pair[1] - pair[0];
        assert!(wait >= Duration::from_millis(11_500), "{wait:?}");
    }
}

fn import(world: &LoginWorld, content: &Value) -> super::process::Ended {
    let file = world.program.path("import.json");
    fs::write(&file, content.to_string()).unwrap();
    world.run(
        "login",
        &["--yes", "--import", file.to_str().unwrap(), "api"],
    )
}

#[test]
fn a_token_answer_is_imported_without_a_request() {
    let world = LoginWorld::new(&json!({}));
    let document = json!({
        "access_token": "imported", "refresh_token": "refresh-0", "expires_in": 60,
        "account": "octocat",
    });
    let ended = import(&world, &document);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.provider.calls(), 0);
    let stored = world.stored();
    assert_eq!(stored["access_token"], "imported");
    assert_eq!(stored["account"], "octocat");
    let ended = import(&LoginWorld::new(&json!({})), &json!({"x": 1}));
    assert_eq!(ended.exit, Some(1), "{ended:?}");
}

#[test]
fn a_refresh_token_is_spent_once_and_then_stored() {
    let world = LoginWorld::new(&json!({}));
    let ended = import(&world, &json!({"refresh_token": "refresh-0"}));
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.provider.calls(), 1);
    let call = world.provider.call(0);
    assert_eq!(call.single_param("grant_type"), Some("refresh_token"));
    assert_eq!(call.single_param("refresh_token"), Some("refresh-0"));
    let stored = world.stored();
    assert_eq!(stored["refresh_token"], "refresh-1");
    assert_eq!(stored["account"], "octocat");
}

#[test]
fn a_refresh_token_that_was_not_sent_is_reported_so() {
    let world = LoginWorld::new(&json!({}));
    assert_eq!(
        import(&world, &json!({"refresh_token": "refresh-0"})).exit,
        Some(0)
    );
    let ended = import(&world, &json!({"refresh_token": "refresh-9"}));
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(ended.err.contains("--replace"), "{ended:?}");
    let end = "the refresh token was not sent\n";
    assert!(ended.err.ends_with(end), "{ended:?}");
    assert_eq!(world.provider.calls(), 1);
}

#[test]
fn an_account_that_is_not_found_is_a_warning_with_the_field() {
    let world = LoginWorld::with_provider(&json!({}), |call| match call.target.as_str() {
        "/me" => TokenAnswer::status("401 Unauthorized", "", ""),
        _ => answer(&json!({"account": null})),
    });
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let warning = "warning: `identity.answer` is `/account`, and the answer has no";
    assert!(ended.err.contains(warning), "{ended:?}");
    let kind = "oauth_user_consent";
    let mut consent = world.api.definition()["connection_details"]["http"][kind].clone();
    let address = world.provider.address();
    consent["identity"] = json!({"url": format!("https://{address}/me"), "pointer": "/login"});
    world.redefine(|api| api.auth(kind, consent));
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let warning = format!("`{address}` of `identity.url` answered with status 401\n");
    assert!(ended.err.contains(&warning), "{ended:?}");
    assert!(!ended.err.contains("client_id"), "{ended:?}");
}
