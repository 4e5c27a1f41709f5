//! Token stores that cannot be written, before a refresh token is sent and after its answer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::world::{API, Serving, Site, World, set, wait_until};
use crate::oauth::side_by_side;
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::reply::Reply;
use crate::support::{Agent, Gate};

/// An access token that has expired.
const EXPIRED: i64 = -60;

/// A part of a store that is made unusable, so that nothing can be saved.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The directory of the store is elsewhere.
    Directory,
    /// A directory has the name of the lock file.
    Lock,
    /// A directory has the name of the pending file.
    Pending,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Directory, Self::Lock, Self::Pending];

    fn begin(self, site: &Site) {
        match self {
            Self::Directory => fs::rename(site.directory(), site.beside("away")).unwrap(),
            Self::Lock => {
                let _absent = fs::remove_file(site.path("api.lock"));
                fs::create_dir(site.path("api.lock")).unwrap();
            }
            Self::Pending => fs::create_dir(site.path("api.json.pending")).unwrap(),
        }
    }

    /// Starts `serve`, and begins the fault after the grant was read and before it is refreshed.
    fn begin_after_start(self, world: &World) -> Serving {
        Self::Pending.begin(&world.site);
        let serving = world.site.start();
        serving.get();
        match self {
            Self::Pending => {}
            Self::Directory => {
                self.begin(&world.site);
                fs::remove_dir(world.site.beside("away/api.json.pending")).unwrap();
            }
            Self::Lock => {
                self.begin(&world.site);
                fs::remove_dir(world.site.path("api.json.pending")).unwrap();
            }
        }
        serving
    }

    fn end(self, site: &Site) {
        match self {
            Self::Directory => fs::rename(site.beside("away"), site.directory()).unwrap(),
            Self::Lock => fs::remove_dir(site.path("api.lock")).unwrap(),
            Self::Pending => fs::remove_dir(site.path("api.json.pending")).unwrap(),
        }
    }
}

/// The tests run at the same time, because most of each is waiting.
#[test]
fn stores_that_cannot_be_written() {
    let tests = [
        nothing_is_sent_without_space_for_the_answer,
        the_old_access_token_serves_while_nothing_can_be_saved,
        a_store_that_was_deleted_is_used_again_when_it_is_back,
        an_answer_that_cannot_be_saved_is_used_from_memory_and_saved_later,
        a_reusable_token_needs_no_store_that_can_be_written,
    ];
    side_by_side(tests, |test| test());
}

fn nothing_is_sent_without_space_for_the_answer() {
    // F-312, F-314
    side_by_side(Fault::ALL, |fault| {
        let world = World::new();
        world.site.put(API, &world.grant(EXPIRED));
        let serving = fault.begin_after_start(&world);
        for _ in 0..5 {
            serving.expect_unavailable("token_store_unwritable");
        }
        let event = serving.wait_for_event("token_store_failed");
        assert_eq!(event["connections"], json!([API]), "{fault:?}");
        assert_eq!(world.provider.endpoint.sockets(), 0);
        fault.end(&world.site);
        serving.wait_until_forwarded();
        assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
        assert_eq!(
            world.site.stored(API)["refresh_token"],
            refresh_token(API, 2)
        );
        serving.stop();
    });
}

fn the_old_access_token_serves_while_nothing_can_be_saved() {
    // F-312
    side_by_side(Fault::ALL, |fault| {
        let world = World::new();
        world.put_due();
        let serving = fault.begin_after_start(&world);
        serving.get().expect_status(200);
        serving.wait_for_event("token_store_failed");
        serving.get().expect_status(200);
        assert_eq!(world.provider.endpoint.sockets(), 0, "{fault:?}");
        fault.end(&world.site);
        wait_until("the new token is used", || {
            serving.get().expect_status(200);
            world.used().last() == Some(&access_token(API, 2))
        });
        assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
        serving.stop();
    });
}

#[test]
fn a_store_that_only_others_can_write_sends_no_single_use_token() {
    // F-312: the rights of the process, and a token that is due.
    let world = World::new();
    world.put_due();
    let file = world.site.path("api.json");
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    let tokens = world.site.directory();
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o555)).unwrap();
    let serving = world.site.start_unprivileged();
    serving.wait_for_event("token_store_failed");
    serving.get().expect_status(200);
    assert_eq!(world.used(), [access_token(API, 1)]);
    assert_eq!(world.provider.endpoint.sockets(), 0);
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o755)).unwrap();
}

fn a_store_that_was_deleted_is_used_again_when_it_is_back() {
    // F-314: with the lock file only, and with the directory. A hardened process needs a restart
    // for another directory.
    side_by_side([false, true], |is_whole| {
        let world = World::new();
        world.put_due();
        let serving = world.site.start_with(&["--hardening", "off"]);
        serving.wait_for_event("token_rotated");
        let stored = world.site.stored(API);
        let expired = json!({
            "sequence": 7, "expires_at": super::world::time(EXPIRED),
            "refreshed_at": super::world::time(-3600), "refresh_token_expires_at": null,
        });
        let mut newer = stored.clone();
        set(&mut newer, &expired);
        if is_whole {
            fs::remove_dir_all(world.site.directory()).unwrap();
            serving.get().expect_status(200);
            fs::create_dir(world.site.directory()).unwrap();
        } else {
            fs::remove_file(world.site.path("api.lock")).unwrap();
        }
        world.site.put(API, &newer);
        wait_until("the token is refreshed", || {
            serving.get();
            world.provider.endpoint.calls() == 2
        });
        serving.wait_until_forwarded();
        assert_eq!(
            world.provider.sent(),
            [refresh_token(API, 1), refresh_token(API, 2)]
        );
        assert_eq!(world.site.stored(API)["sequence"], 8);
        assert!(world.site.path("api.lock").is_file());
        serving.stop();
    });
}

/// Breaks the store after the provider has received the refresh token, and lets it answer.
fn break_after_request(
    world: &World,
    fault: impl FnOnce(&Site),
    serving: &Serving,
    gate: &Gate,
) -> Reply {
    let mut agent = Agent::connect_to(serving.agents);
    agent.send("GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.provider.endpoint.wait_for_calls(1);
    fault(&world.site);
    gate.open();
    agent.reply()
}

fn an_answer_that_cannot_be_saved_is_used_from_memory_and_saved_later() {
    // F-313: the directory is elsewhere, or a directory has the name of the file. It is saved as
    // soon as that is possible, or when the process stops.
    let rows = [(true, true), (true, false), (false, true), (false, false)];
    side_by_side(rows, |(is_moved, is_mended_early)| {
        let world = World::new();
        let gate = Gate::new();
        let _opened = gate.open_on_drop();
        world.provider.hold_next(&gate);
        let serving = world.serve(EXPIRED);
        let file = world.site.path("api.json");
        let fault = |site: &Site| match is_moved {
            true => Fault::Directory.begin(site),
            false => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
            }
        };
        let mend = || match is_moved {
            true => Fault::Directory.end(&world.site),
            false => fs::remove_dir(&file).unwrap(),
        };
        let reply = break_after_request(&world, fault, &serving, &gate);
        reply.expect_status(200);
        assert_eq!(world.used(), [access_token(API, 2)]);
        serving.wait_for_event("token_store_failed");
        serving.get().expect_status(200);
        serving.expect_status("connected", Some("unsaved"));
        mend();
        if is_mended_early {
            world.site.wait_until_stored(API, |stored| {
                stored["refresh_token"] == refresh_token(API, 2)
            });
            serving.get().expect_status(200);
        }
        serving.stop();
        assert_eq!(
            world.site.stored(API)["refresh_token"],
            refresh_token(API, 2)
        );
        assert!(!world.site.path("api.json.pending").exists());
        let serving = world.site.start();
        serving.get().expect_status(200);
        assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
    });
}

fn a_reusable_token_needs_no_store_that_can_be_written() {
    // F-330
    let fields = json!({"refresh_token_rotation": "reusable"});
    side_by_side([true, false], |is_rotated| {
        let world = World::with(&fields);
        // The next refresh is due as soon as it is allowed.
        world.provider.answer_with(&json!({"expires_in": 11}));
        if !is_rotated {
            let answered = json!({"expires_in": 11, "refresh_token": null});
            world.provider.answer_with(&answered);
        }
        let mut grant = world.grant(EXPIRED);
        set(
            &mut grant,
            &json!({"refreshed_at": super::world::time(-3600)}),
        );
        world.site.put(API, &grant);
        fs::create_dir(world.site.path("api.lock")).unwrap();
        let before = world.site.stored_bytes(API);
        let serving = world.site.start();
        serving.get().expect_status(200);
        assert_eq!(world.site.stored_bytes(API), before);
        if is_rotated {
            serving.wait_for_event("rotation_unexpected");
            wait_until("the second token is refreshed", || {
                serving.get().expect_status(200);
                world.provider.endpoint.calls() == 2
            });
            assert_eq!(
                world.provider.sent(),
                [refresh_token(API, 1), refresh_token(API, 2)]
            );
        }
        assert_eq!(world.site.stored_bytes(API), before);
        let events = serving.stop();
        let count = |name: &str| events.iter().filter(|it| it["event"] == name).count();
        assert_eq!(count("token_store_failed"), 0, "{events:#?}");
        assert_eq!(count("rotation_unexpected") > 0, is_rotated, "{events:#?}");
    });
}
