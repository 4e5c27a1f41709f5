//! The questions: what is asked, and what happens without a terminal.

use std::fs;

use serde_json::json;

use super::process::Process;
use super::world::{LoginWorld, answer};

#[test]
fn without_terminal_and_yes_nothing_is_opened() {
    // F-358 (a)
    let world = LoginWorld::new(&json!({}));
    let command = world.command("login", &["--no-browser", "api"]);
    let ended = Process::without_terminal(&command).end();
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    assert!(!ended.err.contains("http://"), "{ended:?}");
    assert!(!world.program.path("store").exists());
}

#[test]
fn another_account_needs_replace() {
    // F-358 (b), F-344
    let world = LoginWorld::with_provider(&json!({}), |call| match call.number {
        0 => answer(&json!({})),
        _ => answer(&json!({"account": "other", "access_token": "access-2"})),
    });
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    let before = fs::read(world.file()).unwrap();
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(ended.err.contains("--replace"), "{ended:?}");
    assert_eq!(fs::read(world.file()).unwrap(), before);
    // The person sees both accounts.
    let mut login = world.login(&[]);
    login.reply("Replace it?", "y");
    assert_eq!(login.open().call_back("code=the-code"), 303);
    login.wait_for_line("account:    other");
    login.wait_for_line("stored:     octocat");
    login.reply("Store this grant?", "n");
    let ended = login.end();
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert_eq!(fs::read(world.file()).unwrap(), before);
    let ended = world.login_yes(&["--replace"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.stored()["account"], "other");
}

#[test]
fn a_usable_grant_is_replaced_after_a_question_only() {
    let world = LoginWorld::new(&json!({}));
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    let mut login = world.login(&[]);
    login.reply("Replace it? [y/N]", "");
    let ended = login.end();
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(!ended.err.contains("http://"), "{ended:?}");
    assert_eq!(world.provider.calls(), 1);
}

#[test]
fn fewer_scopes_are_listed_and_need_a_flag() {
    // F-358 (b)
    let fields = json!({"scopes": "read:user repo openid"});
    let world = LoginWorld::new(&fields);
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(ended.err.contains("not granted: repo\n"), "{ended:?}");
    assert!(!world.file().exists());
    let ended = world.login_yes(&["--accept-fewer-scopes"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.stored()["scopes"], "read:user");
}

#[test]
fn what_will_not_work_is_a_warning() {
    // F-343, F-350
    let world = LoginWorld::with_provider(&json!({}), |_| {
        answer(&json!({
            "refresh_token": null, "scope": format!("read:user \u{202e}{}", "x".repeat(1000)),
            "account": format!("\u{1b}[31mocto\u{2066}\u{61c}cat{}", "y".repeat(1000)),
            "instance_url": "https://eu1.api.test\u{7}",
        }))
    });
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(ended.err.contains("no refresh token came"), "{ended:?}");
    assert!(ended.err.contains("`https://eu1.api.test`"), "{ended:?}");
    let all = format!("{}{}", ended.out, ended.err);
    assert!(
        !all.contains(['\u{1b}', '\u{61c}', '\u{202e}', '\u{2066}', '\u{7}']),
        "{all}"
    );
    assert!(!all.contains(&"y".repeat(250)), "{all}");
    let stored = world.stored();
    let account = stored["account"].as_str().unwrap();
    assert!(account.starts_with("[31moctocat"), "{account}");
    assert_eq!(account.chars().count(), 256);
}

#[test]
fn a_store_that_cannot_be_written_is_reported_first() {
    // F-345
    let world = LoginWorld::new(&json!({}));
    fs::write(world.program.path("store"), "a file").unwrap();
    let ended = world.login(&[]).end();
    assert_eq!(ended.exit, Some(69), "{ended:?}");
    assert!(!ended.err.contains("http://"), "{ended:?}");
    let store = format!("{}`", world.program.path("store/tokens").display());
    assert!(ended.err.contains(&store), "{ended:?}");
    // In the place of the lock.
    fs::remove_file(world.program.path("store")).unwrap();
    fs::create_dir_all(world.program.path("store/tokens/api.lock")).unwrap();
    for command in ["login", "logout"] {
        let ended = Process::on_terminal(&world.command(command, &["api"])).end();
        assert_eq!(ended.exit, Some(69), "{ended:?}");
        assert!(ended.err.contains(&store), "{ended:?}");
    }
}

#[test]
fn other_kinds_and_unknown_connections_are_usage_errors() {
    let world = LoginWorld::new(&json!({}));
    let ended = world.run("login", &["--yes", "other"]);
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    assert!(ended.err.contains("`other`"), "{ended:?}");
    let ended = world.run("login", &["--device", "--paste", "api"]);
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    let ended = world.run("login", &["--device", "--yes", "api"]);
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    assert!(ended.err.contains("device_authorization_url"), "{ended:?}");
}

#[test]
fn a_list_of_scopes_is_understood() {
    // HubSpot has the list `scopes` and no `scope`.
    let world = LoginWorld::with_provider(&json!({"scopes": "oauth crm.read crm.write"}), |_| {
        answer(&json!({"scope": null, "scopes": ["oauth", "crm.read"]}))
    });
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(ended.err.contains("not granted: crm.write\n"), "{ended:?}");
    assert!(
        ended.err.contains("granted:    oauth crm.read\n"),
        "{ended:?}"
    );
}

/// A world whose provider names another account in its second answer.
fn two_accounts() -> LoginWorld {
    LoginWorld::with_provider(&json!({}), |call| match call.number {
        0 => answer(&json!({"account": "ada"})),
        _ => answer(&json!({"account": "grace", "access_token": "access-2"})),
    })
}

#[test]
fn a_grant_of_another_account_that_was_stored_meanwhile_needs_replace() {
    // F-358 (b)
    for (arguments, exit, account) in [(vec![], 1, "ada"), (vec!["--replace"], 0, "grace")] {
        let world = two_accounts();
        let command = world.command("login", &[&["--yes", "api"], &arguments[..]].concat());
        let mut login = Process::without_terminal(&command);
        let browser = login.open();
        assert_eq!(world.login_yes(&[]).exit, Some(0));
        assert_eq!(browser.call_back("code=the-code"), 303);
        let ended = login.end();
        assert_eq!(ended.exit, Some(exit), "{ended:?}");
        let warning = "another login has stored a grant meanwhile\n";
        assert!(ended.err.contains(warning), "{ended:?}");
        assert_eq!(world.stored()["account"], account);
    }
}

#[test]
fn the_question_shows_a_grant_that_was_stored_meanwhile() {
    // F-344
    let world = two_accounts();
    let mut login = world.login(&[]);
    let browser = login.open();
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    assert_eq!(browser.call_back("code=the-code"), 303);
    login.wait_for_line("stored:     ada (another account)");
    login.reply("Store this grant?", "n");
    assert_eq!(login.end().exit, Some(1));
    assert_eq!(world.stored()["account"], "ada");
}

#[test]
fn a_grant_that_is_stored_during_the_question_leads_to_another_question() {
    // F-344
    let world = LoginWorld::with_provider(&json!({}), |call| match call.number {
        0 => answer(&json!({"account": "grace"})),
        _ => answer(&json!({"account": "ada", "access_token": "access-2"})),
    });
    let mut login = world.login(&[]);
    assert_eq!(login.open().call_back("code=the-code"), 303);
    login.wait_for_line("account:    grace");
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    login.reply("Store this grant?", "y");
    login.wait_for_line("stored:     ada (another account)");
    assert_eq!(world.stored()["account"], "ada");
    login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert_eq!(world.stored()["account"], "grace");
}

#[test]
fn a_refresh_during_the_question_leads_to_no_other_question() {
    // F-346
    let world = LoginWorld::with_provider(&json!({}), |call| {
        answer(&json!({"access_token": format!("access-{}", call.number)}))
    });
    assert_eq!(world.login_yes(&[]).exit, Some(0));
    let mut login = world.login(&["--replace"]);
    assert_eq!(login.open().call_back("code=the-code"), 303);
    login.wait_for_line("account:    octocat");
    let mut refreshed = world.stored();
    refreshed["sequence"] = json!(2);
    refreshed["access_token"] = json!("refreshed");
    fs::write(world.file(), refreshed.to_string()).unwrap();
    login.reply("Store this grant?", "y");
    let ended = login.end();
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(!ended.err.contains("meanwhile"), "{ended:?}");
    assert_eq!(world.stored()["access_token"], "access-1");
}

#[test]
fn an_unknown_account_comes_with_a_note() {
    // F-336: the question does not show that another program has answered.
    let world = LoginWorld::with_provider(&json!({}), |_| answer(&json!({"account": null})));
    let mut login = world.login(&[]);
    assert_eq!(login.open().call_back("code=the-code"), 303);
    login.wait_for_line("note: the account is not known");
    login.wait_for_line("account:    unknown account");
    login.reply("Store this grant?", "n");
    let ended = login.end();
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    let created = format!(
        "created the token store `{}`",
        world.program.path("store/tokens").display()
    );
    assert!(ended.err.contains(&created), "{ended:?}");
}
