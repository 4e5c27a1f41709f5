//! Token files that are absent, unusable, unreadable, of another client, or replaced.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::world::{API, Serving, Site, World, consent_connection, set, stored_grant, time};
use crate::oauth::side_by_side;
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::{ConsentProvider, MountedVolume, Upstream};

#[test]
fn a_refresh_token_is_not_sent_for_another_client() {
    // F-303
    side_by_side(
        [
            json!({"client_id": "another"}),
            json!({"token_url": "https://127.0.0.2:1/token"}),
        ],
        |change| {
            let world = World::new();
            let serving = world.serve(3600);
            serving.get().expect_status(200);
            let changed = consent_connection(API, &world.provider, &world.upstream, &change);
            world.site.program.define(&changed);
            serving.wait_until_consent_required("client_changed");
            let before = world.site.stored_bytes(API);
            drop(serving);
            let serving = world.site.start();
            serving.expect_consent_required("client_changed");
            assert_eq!(world.provider.endpoint.sockets(), 0, "{change}");
            assert_eq!(world.site.stored_bytes(API), before);
            serving.stop();
        },
    );
}

#[test]
fn without_a_file_requests_are_refused_until_a_login() {
    // F-304: no directory, and an empty one.
    side_by_side([true, false], |has_directory| {
        let world = World::new();
        if !has_directory {
            fs::remove_dir(world.site.directory()).unwrap();
        }
        let (exit, text) = world.site.run("check", &[]);
        assert_eq!(exit, Some(0), "{text}");
        assert!(text.contains("consent_missing"), "{text}");
        // A directory that appears after the start is out of reach of a hardened process.
        let serving = world.site.start_with(&["--hardening", "off"]);
        serving.expect_consent_required("never_connected");
        let warning = serving.wait_for_event("config_warning");
        assert_eq!(warning["code"], "consent_missing");
        if !has_directory {
            fs::create_dir(world.site.directory()).unwrap();
        }
        world.site.put(API, &world.grant(3600));
        serving.wait_until_forwarded();
        assert_eq!(world.provider.endpoint.sockets(), 0);
        // If the file is removed, the grant ends.
        fs::remove_file(world.site.path("api.json")).unwrap();
        serving.wait_until_consent_required("never_connected");
        let event = serving.wait_for_event("consent_needed");
        assert_eq!(event["reason"], "never_connected");
    });
}

#[test]
fn check_warns_about_the_file_of_a_grant() {
    // F-303, F-305, F-306
    let world = World::new();
    let file = world.site.path("api.json");
    let good = world.grant(3600);
    let warnings = |mode: u32, more: &[&str]| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (exit, text) = world.site.run("check", more);
        assert_eq!(exit, Some(0), "{text}");
        text
    };
    world.site.put(API, &good);
    let none = warnings(0o600, &[]);
    assert!(!none.contains(&file.display().to_string()), "{none}");
    let readable = warnings(0o604, &[]);
    assert!(readable.contains("warning[secret_readable]"), "{readable}");
    assert!(readable.contains("chmod o-r"), "{readable}");
    world.site.put_bytes(API, "{");
    let unusable = warnings(0o600, &[]);
    assert!(
        unusable.contains("warning[token_file_unusable]"),
        "{unusable}"
    );
    assert!(unusable.contains("egressd login"), "{unusable}");
    let skipped = warnings(0o600, &["--secrets", "skip"]);
    assert!(!skipped.contains("token_file_unusable"), "{skipped}");
    let mut other = good.clone();
    other["client"] = json!(format!("sha256:{}", "0".repeat(64)));
    world.site.put(API, &other);
    let changed = warnings(0o600, &[]);
    assert!(changed.contains("warning[client_changed]"), "{changed}");
    for text in [none, readable, unusable, changed] {
        for token in ["access_token", "refresh_token"] {
            assert!(!text.contains(good[token].as_str().unwrap()), "{text}");
        }
    }
}

/// The reason in the event of an unusable file, and a way to make the file of a grant so.
type Damage = (&'static str, fn(&Site, &Path, &Value));

/// The ways to make a file unusable.
#[rustfmt::skip] // one row a line
const DAMAGES: &[Damage] = &[
    ("ends before the JSON object", |site, _, good| site.put_bytes(API, &good.to_string().as_bytes()[..40])),
    ("is empty", |site, _, _| site.put_bytes(API, "")),
    ("is not UTF-8", |site, _, _| site.put_bytes(API, [0xff, 0, 1, 2])),
    ("is larger than 64 KiB", |site, _, good| site.put_bytes(API, format!("{good}{}", " ".repeat(64 << 10)))),
    ("has a duplicate key", |site, _, good| site.put_bytes(API, good.to_string().replacen('{', "{\"account\":\"a\",\"account\":\"b\",", 1))),
    ("belongs to another grant", |site, _, good| site.put(API, &with(good, &json!({"grant": "another"})))),
    ("has a newer format", |site, _, good| site.put(API, &with(good, &json!({"format": "egressd-token/2"})))),
    // F-307
    ("`access_token` must be", |site, _, good| site.put(API, &with(good, &json!({"access_token": "a b"})))),
    ("`refresh_token` must be", |site, _, good| site.put(API, &with(good, &json!({"refresh_token": "a\r\nb"})))),
    ("`access_token` must be", |site, _, good| site.put(API, &with(good, &json!({"access_token": ""})))),
    ("`refresh_token` must be", |site, _, good| site.put(API, &with(good, &json!({"refresh_token": "a".repeat(17 << 10)})))),
    // F-308
    ("`expires_at` must be", |site, _, good| site.put(API, &with(good, &json!({"expires_at": "tomorrow"})))),
    ("is not a regular file", |_, file, _| replace(file, || fs::create_dir(file).unwrap())),
    ("is not a regular file", |_, file, _| replace(file, || make_pipe(file))),
    ("is a symbolic link", |site, file, good| replace(file, || {
        fs::write(site.beside("elsewhere.json"), good.to_string()).unwrap();
        symlink(site.beside("elsewhere.json"), file).unwrap();
    })),
];

fn with(document: &Value, members: &Value) -> Value {
    let mut document = document.clone();
    set(&mut document, members);
    document
}

fn replace(file: &Path, create: impl FnOnce()) {
    let _absent = fs::remove_file(file);
    create();
}

fn make_pipe(file: &Path) {
    let made = std::process::Command::new("mkfifo").arg(file).status();
    assert!(made.unwrap().success());
}

#[test]
fn an_unusable_file_affects_its_grant_only() {
    // F-305: at the start, and while a good version is in memory.
    side_by_side(DAMAGES, |(damage, make)| {
        let provider = ConsentProvider::strict();
        let upstream = Upstream::body("hello");
        let fields = json!({});
        let connections =
            [API, "other"].map(|id| consent_connection(id, &provider, &upstream, &fields));
        let site = Site::new(&connections);
        let good = stored_grant(&provider, API, 3600);
        site.put("other", &stored_grant(&provider, "other", 3600));
        let file = site.path("api.json");
        make(&site, &file, &good);
        let serving = site.start();
        serving.expect_consent_required("token_file_unusable");
        serving.get_of("other").expect_status(200);
        expect_unusable_event(&serving, damage, 1);
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        site.put(API, &good);
        serving.wait_until_forwarded();
        make(&site, &file, &with(&good, &json!({"sequence": 6})));
        expect_unusable_event(&serving, damage, 2);
        serving.get().expect_status(200);
        serving.get_of("other").expect_status(200);
        assert_eq!(provider.endpoint.sockets(), 0);
        let events = serving.stop();
        let log = serde_json::to_string(&events).unwrap();
        assert!(!log.contains("planted"), "{log}");
    });
}

fn expect_unusable_event(serving: &Serving, damage: &str, number: usize) {
    let event = serving.wait_for_events("token_file_unusable", number);
    assert_eq!(event["connections"], json!([API]), "{damage}: {event}");
    let message = event["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("/tokens/api.json {damage}")),
        "{damage}: {event}"
    );
}

#[test]
fn a_file_that_others_can_read_is_used_with_a_warning() {
    // F-306: at the start, and after a change.
    let world = World::new();
    let grant = world.grant(3600);
    world.site.put(API, &grant);
    let file = world.site.path("api.json");
    let loosen = || fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    loosen();
    let serving = world.site.start();
    let event = serving.wait_for_event("secret_readable");
    assert_eq!(event["connections"], json!([API]));
    assert!(
        event["message"].as_str().unwrap().contains("o-r"),
        "{event}"
    );
    serving.get().expect_status(200);
    // A file that only its owner can read ends the warning, and the next one is reported again.
    let newer = json!({"sequence": 6, "access_token": access_token(API, 6)});
    world.site.put(API, &with(&grant, &newer));
    serving.wait_for_event("grant_adopted");
    loosen();
    serving.wait_for_events("secret_readable", 2);
    serving.get().expect_status(200);
    let events = serving.stop();
    let warnings = events.iter().filter(|it| it["event"] == "secret_readable");
    assert_eq!(warnings.count(), 2, "{events:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_reported_with_its_owner() {
    // F-306
    let world = World::new();
    let file = world.site.path("api.json");
    let hide = || fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    world.site.put(API, &world.grant(3600));
    hide();
    let serving = world.site.start_unprivileged();
    serving.expect_consent_required("token_file_unusable");
    let event = serving.wait_for_event("token_file_unusable");
    let owner = format!("belongs to user {}", rustix::process::getuid().as_raw());
    assert!(
        event["message"].as_str().unwrap().contains(&owner),
        "{event}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    serving.wait_until_forwarded();
    hide();
    serving.wait_for_events("token_file_unusable", 2);
    serving.get().expect_status(200);
}

#[test]
fn times_in_a_file_never_extend_a_token() {
    // F-308
    #[rustfmt::skip] // one row a line
    let rows = [
        (json!({"expires_at": time(-1)}), true),
        (json!({"expires_at": "1970-01-01T00:00:00Z"}), true),
        // A token that can be refreshed is used for at most 24 h after it was obtained.
        (json!({"expires_at": "9999-12-30T00:00:00Z", "refreshed_at": time(-86_500)}), true),
        (json!({"expires_at": null, "refreshed_at": time(-86_500)}), true),
        (json!({"expires_at": "9999-12-30T00:00:00Z"}), false),
        // The wall clock was set back by a day: the token is not used longer than it was granted.
        (json!({"refreshed_at": time(86_400), "expires_at": time(90_000)}), false),
    ];
    side_by_side(rows, |(members, is_refreshed)| {
        let world = World::new();
        world.site.put(API, &with(&world.grant(3600), &members));
        let serving = world.site.start();
        serving.get().expect_status(200);
        let number = 1 + usize::from(is_refreshed);
        assert_eq!(world.used(), [access_token(API, number)], "{members}");
        let sent = [refresh_token(API, 1)];
        assert_eq!(world.provider.sent(), sent[..usize::from(is_refreshed)]);
        serving.stop();
    });
}

#[test]
fn a_mounted_store_is_read_through_its_links() {
    // F-357
    let world = World::new();
    let tokens = world.site.directory();
    let at = |number: i64| {
        let members = json!({
            "refresh_token": null, "client": null, "access_token": access_token(API, 1 + number as usize),
        });
        [("api.json", with(&world.grant(3600), &members).to_string())]
    };
    let mut volume = MountedVolume::new(tokens.clone(), &at(0));
    for entry in [
        tokens.clone(),
        tokens.join("..data"),
        tokens.join("..data/api.json"),
    ] {
        let mode = if entry.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(entry, fs::Permissions::from_mode(mode)).unwrap();
    }
    if !rustix::process::getuid().is_root() {
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let serving = world.site.start_unprivileged();
    serving.get().expect_status(200);
    volume.update(&at(1));
    let used = || {
        serving.get().expect_status(200);
        world.used().last() == Some(&access_token(API, 2))
    };
    super::world::wait_until("the new version is used", used);
    assert_eq!(world.provider.endpoint.sockets(), 0);
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o755)).unwrap();
}
