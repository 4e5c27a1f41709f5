//! Files that other processes write, replace and remove.

use std::time::Duration;

use tokio::time::sleep;

use super::harness::{Tokens, World, look, status, take};
use crate::credential::oauth::StatusName::{Connected, NeedsConsent, Revoked};
use crate::credential::unavailable::{ConsentReason, Reason};
use crate::token_store::StoredGrant;

fn needs(reason: ConsentReason) -> Result<String, Reason> {
    Err(Reason::NeedsConsent(reason))
}

#[tokio::test(start_paused = true)]
async fn a_grant_begins_and_ends_with_its_file() {
    // F-304
    let world = World::new();
    let grant = world.grant();
    assert_eq!(take(&grant).await, needs(ConsentReason::NeverConnected));
    world.log_in("first", Some(3600), Some("r1"));
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "first");
    std::fs::remove_file(world.path("github.json")).unwrap();
    look(&grant).await;
    sleep(Duration::from_secs(4)).await;
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "first");
    sleep(Duration::from_secs(1)).await;
    look(&grant).await;
    assert_eq!(take(&grant).await, needs(ConsentReason::NeverConnected));
    assert_eq!(status(&grant), (NeedsConsent, Some("never_connected")));
    assert!(world.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_directory_ends_no_grant() {
    // F-314
    let world = World::new();
    world.log_in("first", Some(3600), Some("r1"));
    let grant = world.grant();
    look(&grant).await;
    world.break_store();
    for _ in 0..3 {
        look(&grant).await;
        sleep(Duration::from_secs(6)).await;
    }
    assert_eq!(take(&grant).await.unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn the_result_of_another_process_is_adopted_without_a_request() {
    // F-315
    let world = World::new();
    world.log_in("old", Some(1), Some("r1"));
    sleep(Duration::from_secs(60)).await;
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    let (one, other) = (world.grant(), world.grant());
    look(&one).await;
    look(&other).await;
    let (first, second) = tokio::join!(take(&one), take(&other));
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        ("new".into(), "new".into())
    );
    assert_eq!(world.sent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_login_during_a_refresh_wins() {
    // F-346
    let world = World::new();
    world.log_in("old", Some(1), Some("r1"));
    sleep(Duration::from_secs(60)).await;
    world.reply([super::harness::ended()]);
    let grant = world.grant();
    look(&grant).await;
    let waiting = tokio::spawn({
        let grant = std::sync::Arc::clone(&grant);
        async move { take(&grant).await }
    });
    sleep(Duration::from_secs(2)).await;
    world.log_in("person", Some(3600), Some("p1"));
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "person");
    assert_eq!(waiting.await.unwrap().unwrap(), "person");
    assert_eq!(world.sent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_of_another_client_is_not_used() {
    // F-303
    let world = World::new();
    world.log_in("first", Some(3600), Some("r1"));
    let other = World::with(|parameters| {
        parameters.client_id = crate::credential::oauth::tests::utf8_secret("another");
    });
    std::fs::copy(world.path("github.json"), other.path("github.json")).unwrap();
    let grant = other.grant();
    assert_eq!(take(&grant).await, needs(ConsentReason::ClientChanged));
    assert_eq!(status(&grant), (NeedsConsent, Some("client_changed")));
    assert!(other.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unusable_file_does_not_replace_a_good_version() {
    // F-305
    let world = World::new();
    let path = world.path("github.json");
    std::fs::write(&path, "{").unwrap();
    let grant = world.grant();
    assert_eq!(take(&grant).await, needs(ConsentReason::TokenFileUnusable));
    std::fs::remove_file(&path).unwrap();
    world.log_in("first", Some(3600), Some("r1"));
    look(&grant).await;
    std::fs::write(&path, "{").unwrap();
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "first");
    assert_eq!(status(&grant), (Connected, None));
}

#[tokio::test(start_paused = true)]
async fn a_restored_backup_is_replaced() {
    // F-332
    let world = World::new();
    world.log_in("old", Some(1), Some("r1"));
    let backup = std::fs::read(world.path("github.json")).unwrap();
    sleep(Duration::from_secs(60)).await;
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    let grant = world.grant();
    take(&grant).await.unwrap();
    std::fs::write(world.path("github.json"), &backup).unwrap();
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "new");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.file()["refresh_token"], "r2");
    assert_eq!(status(&grant), (Connected, None));
}

#[tokio::test(start_paused = true)]
async fn a_logout_ends_the_use_of_the_token() {
    // F-353
    let world = World::new();
    world.log_in("first", Some(3600), Some("r1"));
    let grant = world.grant();
    look(&grant).await;
    let client = world.consent.parameters().client();
    let revoked = StoredGrant::revoked(Some(&world.stored()), client, None, world.now());
    world.save(&revoked);
    look(&grant).await;
    assert_eq!(take(&grant).await, needs(ConsentReason::LoggedOut));
    assert_eq!(status(&grant), (Revoked, Some("logged_out")));
}

#[tokio::test(start_paused = true)]
async fn a_platform_delivers_access_tokens() {
    // F-357
    let world = World::new();
    let deliver = |token: &str| {
        let file = format!(r#"{{"format": "egressd-token/1", "access_token": "{token}"}}"#);
        std::fs::write(world.path("github.json"), file).unwrap();
    };
    deliver("one");
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "one");
    deliver("two");
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn an_access_token_that_cannot_be_refreshed_expires() {
    let world = World::new();
    world.log_in("only", Some(60), None);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "only");
    sleep(Duration::from_secs(61)).await;
    assert_eq!(take(&grant).await, needs(ConsentReason::AccessTokenExpired));
    assert!(world.sent().is_empty());
}
