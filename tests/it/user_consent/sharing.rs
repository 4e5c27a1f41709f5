//! Several processes with one token store, and copies of a grant.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use super::world::{API, Site, World, consent_connection, due_grant, used, wait_until};
use crate::oauth::side_by_side;
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::{ConsentProvider, Upstream};

/// An access token that has expired.
const EXPIRED: i64 = -60;
/// The number of grants that are due at once.
const GRANTS: usize = 100;

#[test]
fn two_processes_send_each_refresh_token_once() {
    // F-315
    let provider = ConsentProvider::strict();
    let upstream = Upstream::body("hello");
    let fields = json!({});
    let ids: Vec<String> = (0..GRANTS).map(|n| format!("grant{n}")).collect();
    let connections = ids
        .iter()
        .map(|id| consent_connection(id, &provider, &upstream, &fields));
    let site = Site::new(&connections.collect::<Vec<_>>());
    for id in &ids {
        site.put(id, &due_grant(&provider, id));
    }
    let processes = [site.start(), site.start()];
    for id in &ids {
        site.wait_until_stored(id, |stored| stored["refresh_token"] == refresh_token(id, 2));
    }
    for process in &processes {
        for id in ids.iter().step_by(GRANTS / 4) {
            wait_until("the new token is used", || {
                process.get_of(id).expect_status(200);
                used(&upstream).last() == Some(&access_token(id, 2))
            });
        }
    }
    let once: BTreeMap<String, usize> = ids.iter().map(|id| (refresh_token(id, 1), 1)).collect();
    assert_eq!(provider.uses(), once);
    // Nothing is sent again after a stop and a start.
    for process in processes {
        process.stop();
    }
    let serving = site.start();
    serving.get_of("grant0").expect_status(200);
    assert_eq!(provider.uses(), once);
}

/// The tests run at the same time, because most of each is waiting.
#[test]
fn locks_and_copies() {
    let tests = [
        a_lock_that_is_held_delays_a_refresh_and_nothing_is_sent,
        the_copy_that_loses_needs_a_consent,
    ];
    side_by_side(tests, |test| test());
}

fn a_lock_that_is_held_delays_a_refresh_and_nothing_is_sent() {
    // F-316
    let world = World::new();
    world.site.put(API, &world.grant(EXPIRED));
    let lock = File::create(world.site.path("api.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let began = Instant::now();
    let serving = world.site.start();
    serving.expect_unavailable("token_store_busy");
    assert!(began.elapsed() >= Duration::from_secs(15));
    assert_eq!(world.provider.endpoint.sockets(), 0);
    flock(&lock, FlockOperation::Unlock).unwrap();
    serving.wait_until_forwarded();
    assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
    serving.stop();
}

fn the_copy_that_loses_needs_a_consent() {
    // F-317
    let world = World::new();
    let api = consent_connection(API, &world.provider, &world.upstream, &json!({}));
    let copy = Site::new(&[api]);
    let grant = world.grant(EXPIRED);
    world.site.put(API, &grant);
    copy.put(API, &grant);
    let winner = world.site.start();
    winner.get().expect_status(200);
    let loser = copy.start();
    let sent = Instant::now();
    loser.expect_consent_required("refresh_token_refused");
    assert!(sent.elapsed() >= Duration::from_secs(5));
    let sent = [1, 1, 1].map(|number| refresh_token(API, number));
    assert_eq!(world.provider.sent(), sent);
    loser.expect_consent_required("refresh_token_refused");
    let events = loser.stop();
    let warnings: Vec<_> = events
        .iter()
        .filter(|event| event["level"] == "warn")
        .collect();
    let needed: Vec<_> = warnings
        .iter()
        .filter(|it| it["event"] == "consent_needed")
        .collect();
    assert_eq!(needed.len(), 1, "{warnings:#?}");
    assert!(
        needed[0]["message"]
            .as_str()
            .unwrap()
            .contains("two copies of one grant")
    );
    winner.get().expect_status(200);
    assert_eq!(world.provider.sent(), sent);
    winner.stop();
}
