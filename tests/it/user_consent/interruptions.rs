//! Processes that are killed during a refresh, stores that are restored, and configured refresh
//! tokens.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use super::world::{API, Serving, World, set, time, wait_until};
use crate::oauth::side_by_side;
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::message::text;
use crate::support::{Agent, Gate, Upstream};

/// An access token that has expired.
const EXPIRED: i64 = -60;
const GET: &str = "GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// An API that refuses the first access token, which the provider has ended with its rotation.
fn refuses_the_first_token() -> Upstream {
    Upstream::answer(|request| {
        let token = request
            .fields
            .single_value("authorization")
            .expect("a token");
        let refused = token == format!("Bearer {}", access_token(API, 1));
        match refused {
            true => {
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n"
            }
            false => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        }
    })
}

#[test]
fn a_kill_before_the_token_is_sent_loses_nothing() {
    // F-309
    let world = World::new();
    world.site.put(API, &world.grant(EXPIRED));
    // The provider accepts the socket and does not answer, so the token cannot be sent.
    let address = world.provider.endpoint.address();
    world.provider.endpoint.kill();
    let listener = TcpListener::bind(address).unwrap();
    let serving = world.site.start();
    Agent::connect_to(serving.agents).send(GET);
    let socket = listener.accept().unwrap();
    let pending = fs::read(world.site.path("api.json.pending")).unwrap();
    assert!(pending.iter().all(|byte| *byte == 0), "{}", text(&pending));
    serving.kill();
    assert!(world.site.path("api.json.pending").exists());
    drop((socket, listener));
    world.provider.endpoint.restart();
    let serving = world.site.start();
    serving.get().expect_status(200);
    assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
    assert!(!world.site.path("api.json.pending").exists());
    serving.stop();
}

#[test]
fn a_kill_before_the_rename_is_completed_at_the_next_start() {
    // F-310: the old access token has expired, or the provider has ended it. The space of the
    // document was reserved, and may not have been cut.
    let rows = [(EXPIRED, ""), (EXPIRED, "\0\0\0"), (3600, "\0")];
    side_by_side(rows, |(expires_in, unused)| {
        let world = World::with_upstream(&json!({}), refuses_the_first_token());
        let old = world.grant(expires_in);
        let mut new = old.clone();
        let tokens = json!({
            "sequence": 6, "refreshed_at": time(0), "expires_at": time(3600),
            "access_token": access_token(API, 2), "refresh_token": refresh_token(API, 2),
        });
        set(&mut new, &tokens);
        world.site.put(API, &old);
        fs::write(
            world.site.path("api.json.pending"),
            format!("{new}{unused}"),
        )
        .unwrap();
        let serving = world.site.start();
        serving.get().expect_status(200);
        assert_eq!(world.used().last(), Some(&access_token(API, 2)));
        assert_eq!(world.provider.endpoint.sockets(), 0);
        assert_eq!(world.site.stored(API), new);
        assert!(!world.site.path("api.json.pending").exists());
        serving.stop();
    });
}

/// Kills the process after the provider has spent the token and before its answer.
fn killed_without_an_answer() -> World {
    let world = World::new();
    let gate = Gate::new();
    let _opened = gate.open_on_drop();
    world.provider.hold_next(&gate);
    let serving = world.serve(EXPIRED);
    Agent::connect_to(serving.agents).send(GET);
    world.provider.endpoint.wait_for_calls(1);
    serving.kill();
    world
}

/// The tests run at the same time, because most of each is waiting.
#[test]
fn kills_backups_and_configured_tokens() {
    let tests = [
        a_kill_before_the_answer_depends_on_the_provider,
        memory_wins_over_a_backup_until_a_restart,
        a_configured_token_starts_a_grant_each_time_it_is_replaced,
    ];
    side_by_side(tests, |test| test());
}

fn a_kill_before_the_answer_depends_on_the_provider() {
    // F-311
    side_by_side([true, false], |is_tolerant| {
        let world = killed_without_an_answer();
        if is_tolerant {
            world.provider.tolerate(Duration::from_secs(600));
            let serving = world.site.start();
            serving.get().expect_status(200);
            assert_eq!(
                world.provider.sent(),
                [1, 1].map(|number| refresh_token(API, number))
            );
            assert_eq!(
                world.site.stored(API)["refresh_token"],
                refresh_token(API, 2)
            );
            serving.stop();
        } else {
            let serving = world.site.start();
            expect_lost(&world, &serving, "rotation_lost", 3);
            serving.stop();
            let serving = world.site.start();
            expect_lost(&world, &serving, "rotation_lost", 3);
        }
    });
}

/// Asserts that the grant is refused for this reason, and that the first refresh token was sent
/// this many times, and is not sent again.
fn expect_lost(world: &World, serving: &Serving, reason: &str, sent: usize) {
    for _ in 0..10 {
        serving.expect_consent_required(reason);
    }
    assert_eq!(world.provider.sent(), vec![refresh_token(API, 1); sent]);
    assert_eq!(world.site.stored(API)["refused"]["reason"], reason);
}

fn memory_wins_over_a_backup_until_a_restart() {
    // F-332
    let world = World::new();
    let old = world.grant(EXPIRED);
    world.site.put(API, &old);
    let serving = world.site.start();
    serving.get().expect_status(200);
    let new = world.site.stored(API);
    world.site.put(API, &old);
    world.site.wait_until_stored(API, |stored| *stored == new);
    serving.get().expect_status(200);
    assert_eq!(world.used(), [2, 2].map(|number| access_token(API, number)));
    assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
    serving.stop();
    assert_eq!(world.site.stored(API), new);
    world.site.put(API, &old);
    let serving = world.site.start();
    expect_lost(&world, &serving, "refresh_token_refused", 3);
    serving.stop();
}

fn a_configured_token_starts_a_grant_each_time_it_is_replaced() {
    // F-331
    let world = World::with(&json!({"refresh_token": {"file": "../secrets/seed"}}));
    let secret = world.site.program.path("secrets/seed");
    fs::create_dir(secret.parent().unwrap()).unwrap();
    let configure = |token: &str| {
        let next = world.site.program.path("secrets/next");
        fs::write(&next, token).unwrap();
        fs::rename(next, &secret).unwrap();
    };
    configure(&refresh_token(API, 1));
    let serving = world.site.start();
    serving.get().expect_status(200);
    assert_eq!(
        world.site.stored(API)["refresh_token"],
        refresh_token(API, 2)
    );
    serving.stop();
    // The value is unchanged, so the stored grant is used.
    let serving = world.site.start();
    serving.get().expect_status(200);
    assert_eq!(world.used(), [2, 2].map(|number| access_token(API, number)));
    assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
    configure(&refresh_token("second", 1));
    wait_until("the new grant is used", || {
        serving.get().status == 200 && world.used().last() == Some(&access_token("second", 2))
    });
    let sent = [refresh_token(API, 1), refresh_token("second", 1)];
    assert_eq!(world.provider.sent(), sent);
    assert_eq!(
        world.site.stored(API)["refresh_token"],
        refresh_token("second", 2)
    );
    serving.stop();
    let serving = world.site.start();
    serving.get().expect_status(200);
    assert_eq!(world.used().last(), Some(&access_token("second", 2)));
    assert_eq!(world.provider.sent(), sent);
    serving.stop();
}
