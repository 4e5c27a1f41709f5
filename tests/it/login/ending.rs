//! `egressd logout` and `egressd connections`.

use std::fs;

use serde_json::{Value, json};

use super::world::{LoginWorld, answer};
use crate::support::TokenAnswer;

/// A world whose provider answers revocations with this status.
fn world(fields: &Value, status: &'static str) -> LoginWorld {
    let world = LoginWorld::with_provider(fields, move |call| match call.target.as_str() {
        "/revoke" => TokenAnswer::status(status, "", ""),
        _ => answer(&json!({})),
    });
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    world
}

#[test]
fn a_logout_revokes_both_tokens() {
    // F-352 (a)
    let world = world(&json!({"revocation_url": "/revoke"}), "200 OK");
    let ended = world.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.out.contains("api"), "{ended:?}");
    assert_eq!(world.provider.calls(), 3);
    for (number, token, hint) in [
        (1, "refresh-1", "refresh_token"),
        (2, "access-1", "access_token"),
    ] {
        let call = world.provider.call(number);
        assert_eq!(call.target, "/revoke");
        assert_eq!(call.single_param("token"), Some(token));
        assert_eq!(call.single_param("token_type_hint"), Some(hint));
        assert!(call.basic().is_some());
    }
    let stored = world.stored();
    assert!(stored["revoked_at"].is_string(), "{stored}");
    assert!(stored.get("access_token").is_none() && stored.get("refresh_token").is_none());
    // A login after the logout asks nothing about the old grant.
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    assert_eq!(world.stored()["access_token"], "access-1");
}

#[test]
fn a_revocation_that_fails_changes_nothing() {
    // F-352 (b)
    for status in ["400 Bad Request", "503 Service Unavailable"] {
        let world = world(&json!({"revocation_url": "/revoke"}), status);
        let before = fs::read(world.file()).unwrap();
        let ended = world.run("logout", &["api"]);
        assert_eq!(ended.exit, Some(1), "{ended:?}");
        assert!(ended.err.contains("--local"), "{ended:?}");
        assert_eq!(fs::read(world.file()).unwrap(), before);
        let ended = world.run("logout", &["--local", "api"]);
        assert_eq!(ended.exit, Some(0), "{ended:?}");
        assert_eq!(world.provider.calls(), 2);
        assert!(world.stored()["revoked_at"].is_string());
    }
}

#[test]
fn without_a_revocation_url_the_file_is_marked() {
    // F-352 (c)
    let world = world(&json!({}), "200 OK");
    let ended = world.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.provider.calls(), 1);
    assert!(world.stored()["revoked_at"].is_string());
}

#[test]
fn connections_shows_who_needs_a_consent() {
    let world = LoginWorld::new(&json!({}));
    let list = |world: &LoginWorld| {
        let ended = world.run("connections", &["--format", "json"]);
        let list: Value = serde_json::from_str(&ended.out).unwrap();
        (ended.exit, list["connections"][0].clone())
    };
    // F-304
    let (exit, api) = list(&world);
    assert_eq!(exit, Some(1));
    assert_eq!(
        api,
        json!({
            "id": "api", "connector": null, "grant": "api", "kind": "oauth_user_consent",
            "status": "needs_consent", "status_reason": "never_connected", "account": null,
            "scopes": null, "connected_at": null, "refreshed_at": null, "expires_at": null,
            "refresh_token_expires_at": null,
        })
    );
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    let (exit, api) = list(&world);
    assert_eq!(exit, Some(0));
    assert_eq!(api["status"], "connected");
    assert_eq!(api["account"], "octocat");
    assert_eq!(api["scopes"], "read:user");
    let ended = world.run("connections", &[]);
    assert_eq!(ended.exit, Some(0));
    assert!(ended.out.starts_with("CONNECTION  KIND "), "{ended:?}");
    for token in ["access-1", "refresh-1"] {
        assert!(!format!("{api}{ended:?}").contains(token));
    }
    // F-305
    fs::write(world.file(), "{").unwrap();
    let (exit, api) = list(&world);
    assert_eq!(exit, Some(1));
    assert_eq!(api["status_reason"], "token_file_unusable");
}

#[test]
fn explain_states_that_a_person_has_to_log_in() {
    // F-304, F-305
    let world = LoginWorld::new(&json!({}));
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    let explained = world.run("explain", &["GET", "/api/user"]);
    assert!(explained.out.starts_with("allowed\n"), "{explained:?}");
    fs::write(world.file(), "{").unwrap();
    let explained = world.run("explain", &["GET", "/api/user"]);
    assert_eq!(explained.exit, Some(0), "{explained:?}");
    let line = "  status      needs_consent (token_file_unusable)\n";
    assert!(explained.out.contains(line), "{explained:?}");
    let first = explained.out.lines().next().unwrap();
    let (before, remedy) = first.split_once(": ").unwrap();
    assert_eq!(before, "allowed, but refused until a person logs in");
    assert!(
        remedy.starts_with("run `egressd login --config "),
        "{first}"
    );
    assert!(remedy.ends_with(" api`"), "{first}");
    let arguments = ["--format", "json", "GET", "/api/user"];
    let read: Value = serde_json::from_str(&world.run("explain", &arguments).out).unwrap();
    assert_eq!(read["consent_status"], "needs_consent");
    assert_eq!(read["consent_status_reason"], "token_file_unusable");
    assert_eq!(read["consent_remedy"], remedy);
    let arguments = ["--format", "json", "--secrets", "skip", "GET", "/api/user"];
    let unread = world.run("explain", &arguments);
    assert_eq!(unread.exit, Some(0), "{unread:?}");
    assert!(!unread.out.contains("consent_status"), "{unread:?}");
}

#[test]
fn a_file_that_is_not_usable_cannot_be_revoked() {
    // F-305
    let world = world(&json!({"revocation_url": "/revoke"}), "200 OK");
    fs::write(world.file(), "{").unwrap();
    let ended = world.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    for words in ["api.json` is not usable", "may still be valid", "--local"] {
        assert!(ended.err.contains(words), "{ended:?}");
    }
    assert_eq!(fs::read(world.file()).unwrap(), b"{");
    let ended = world.run("logout", &["--local", "api"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.err.contains("may still be valid"), "{ended:?}");
    assert!(world.stored()["revoked_at"].is_string());
    assert_eq!(world.provider.calls(), 1);
}

#[test]
fn an_ended_grant_needs_no_consent() {
    let world = world(&json!({"revocation_url": "/revoke"}), "200 OK");
    assert_eq!(world.run("logout", &["api"]).exit, Some(0));
    let ended = world.run("connections", &[]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.out.contains("revoked"), "{ended:?}");
    // There is nothing left to revoke.
    let calls = world.provider.calls();
    let ended = world.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.out.contains("no grant `api` to end"), "{ended:?}");
    assert_eq!(world.provider.calls(), calls);
}

#[test]
fn nothing_is_revoked_if_the_store_cannot_be_written() {
    let world = world(&json!({"revocation_url": "/revoke"}), "200 OK");
    // In the place of the file that is reserved.
    fs::create_dir(world.program.path("store/tokens/api.json.pending")).unwrap();
    let before = fs::read(world.file()).unwrap();
    let ended = world.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    assert_eq!(world.provider.calls(), 1);
    assert_eq!(fs::read(world.file()).unwrap(), before);
}

#[test]
fn only_the_file_states_that_a_configured_token_was_used() {
    // F-331
    let fields = json!({"revocation_url": "/revoke", "refresh_token": "the-configured-token"});
    let world = world(&fields, "200 OK");
    let status = || {
        let ended = world.run("connections", &["--format", "json"]);
        let list: Value = serde_json::from_str(&ended.out).unwrap();
        list["connections"][0]["status"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(world.run("logout", &["api"]).exit, Some(0));
    assert_eq!(status(), "revoked");
    // Without the file, the configured token starts the grant again.
    fs::remove_file(world.file()).unwrap();
    assert_eq!(status(), "connected");
}
