//! The times at which a grant is refreshed, and the documents that are saved.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::sleep;

use super::harness::{Tokens, World, ended, status, take};
use crate::credential::oauth::StatusName::{Connected, NeedsConsent};
use crate::credential::unavailable::{ConsentReason, Reason};

#[tokio::test(start_paused = true)]
async fn a_usable_stored_token_is_used_without_a_request() {
    let world = World::new();
    world.log_in("stored", Some(3600), Some("r1"));
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "stored");
    assert!(world.sent().is_empty());
    assert_eq!(status(&grant), (Connected, None));
}

#[tokio::test(start_paused = true)]
async fn one_refresh_serves_all_requests_and_is_saved_before_it_is_used() {
    // F-328
    let world = World::new();
    world.log_in("old", Some(1), Some("r1"));
    sleep(Duration::from_secs(60)).await;
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    let grant = world.grant();
    let requests: Vec<_> = (0..500)
        .map(|_| {
            let grant = Arc::clone(&grant);
            tokio::spawn(async move { take(&grant).await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap(), "new");
    }
    assert_eq!(world.sent(), ["r1"]);
    let file = world.file();
    assert_eq!(file["access_token"], "new");
    assert_eq!(file["refresh_token"], "r2");
    assert_eq!(file["sequence"], 2);
    assert!(!world.path("github.json.pending").exists());
    // The next process uses the stored token.
    assert_eq!(take(&world.grant()).await.unwrap(), "new");
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_in_the_background_while_it_is_used() {
    let world = World::new();
    world.log_in("old", Some(1000), Some("r1"));
    world.reply([Tokens("new", Some(1000), None)]);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "old");
    sleep(Duration::from_secs(900)).await;
    assert_eq!(world.sent(), ["r1"]);
    assert_eq!(take(&grant).await.unwrap(), "new");
    // F-323: without a new refresh token, the old one stays.
    assert_eq!(world.file()["refresh_token"], "r1");
    // No request uses the new one, so it is not refreshed.
    let idle = world.grant();
    idle.require_consent().await.unwrap();
    drop(grant);
    sleep(Duration::from_secs(2000)).await;
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refreshes_are_at_least_ten_seconds_apart_also_after_a_restart() {
    // F-325 (c)
    let world = World::new();
    world.log_in("old", Some(0), Some("r"));
    world.reply((0..3).map(|_| Tokens("once", Some(0), None)));
    let grant = world.grant();
    for _ in 0..2 {
        assert_eq!(take(&grant).await.unwrap(), "once");
    }
    assert_eq!(take(&world.grant()).await.unwrap(), "once");
    let sent = world.sent_at();
    assert_eq!(sent.len(), 3);
    assert!(
        sent[1] - sent[0] >= 10 && sent[2] - sent[1] >= 10,
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_needs_no_refresh() {
    // F-325 (b)
    let world = World::new();
    world.log_in("endless", None, None);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "endless");
    sleep(Duration::from_secs(400 * 24 * 3600)).await;
    assert_eq!(take(&grant).await.unwrap(), "endless");
    assert_eq!(grant.status().expires_at, None);
    // F-326: an agent cannot end it with a 401.
    let token = grant.cached_token().unwrap();
    for _ in 0..3 {
        assert!(grant.retry_token(&token).await.is_none());
        assert_eq!(take(&grant).await.unwrap(), "endless");
    }
    assert_eq!(status(&grant), (Connected, Some("refused_by_upstream")));
    grant.record_accepted_token();
    assert_eq!(status(&grant), (Connected, None));
}

#[tokio::test(start_paused = true)]
async fn without_a_stated_life_a_token_is_used_for_a_day() {
    // F-325 (a)
    let world = World::new();
    world.log_in("first", None, Some("r"));
    let grant = world.grant();
    sleep(Duration::from_secs(23 * 3600)).await;
    assert_eq!(take(&grant).await.unwrap(), "first");
    world.reply([Tokens("second", None, None)]);
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(take(&grant).await.unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_never_prolongs_a_life() {
    // F-308
    let world = World::new();
    world.log_in("old", Some(3600), Some("r"));
    let day = 24 * 3600;
    for offset in [-day, day] {
        world.wall_offset.store(offset, Relaxed);
        let grant = world.grant();
        if offset < 0 {
            assert_eq!(take(&grant).await.unwrap(), "old");
            let left = grant.valid_token().unwrap().remaining_life().unwrap();
            assert!(left <= Duration::from_secs(3600), "{left:?}");
        } else {
            world.reply([Tokens("new", Some(3600), None)]);
            assert_eq!(take(&grant).await.unwrap(), "new");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_always_refuses_causes_one_refresh_in_five_minutes() {
    // F-326
    let world = World::new();
    world.log_in("first", Some(36_000), Some("r1"));
    world.reply([
        Tokens("second", Some(36_000), Some("r2")),
        Tokens("third", Some(36_000), Some("r3")),
    ]);
    let grant = world.grant();
    take(&grant).await.unwrap();
    let first = grant.cached_token().unwrap();
    let second = grant.retry_token(&first).await.unwrap();
    assert_eq!(second.expose(), b"second");
    sleep(Duration::from_secs(200)).await;
    assert!(grant.retry_token(&second).await.is_none());
    assert_eq!(take(&grant).await.unwrap(), "second", "it stays in use");
    sleep(Duration::from_secs(101)).await;
    let third = grant.retry_token(&second).await.unwrap();
    assert_eq!(third.expose(), b"third");
    assert_eq!(world.sent(), ["r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_revoked_at_the_provider_needs_a_login() {
    // F-327
    let world = World::new();
    world.log_in("first", Some(36_000), Some("r1"));
    world.reply([ended(), ended()]);
    let grant = world.grant();
    take(&grant).await.unwrap();
    let first = grant.cached_token().unwrap();
    assert!(grant.retry_token(&first).await.is_none());
    let reason = Reason::NeedsConsent(ConsentReason::RefreshTokenRefused);
    assert_eq!(take(&grant).await, Err(reason));
    assert_eq!(
        status(&grant),
        (NeedsConsent, Some("refresh_token_refused"))
    );
    world.log_in("again", Some(36_000), Some("r2"));
    super::harness::look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "again");
    assert_eq!(status(&grant), (Connected, None));
}
