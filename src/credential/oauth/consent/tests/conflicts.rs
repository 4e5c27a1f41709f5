//! Files that contradict the memory of the process: of another client, of a newer egressd, or older
//! than a grant that was only started.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::harness::{Tokens, World, expired, look, status, take};
use crate::credential::oauth::StatusName::{Connected, NeedsConsent};
use crate::credential::unavailable::{ConsentReason, Reason};
use crate::domain::auth::Rotation;
use crate::domain::{Secret, SecretSource};

/// Stores the consent of a person for another client.
fn log_in_as_other_client(world: &World) {
    world.log_in_as("sha256:other".into(), "other", None, Some("r-other"));
}

#[tokio::test(start_paused = true)]
async fn a_consent_for_another_client_is_not_replaced() {
    // F-303
    let world = expired().await;
    let grant = world.grant();
    look(&grant).await;
    log_in_as_other_client(&world);
    let reason = Reason::NeedsConsent(ConsentReason::ClientChanged);
    assert_eq!(take(&grant).await, Err(reason));
    assert_eq!(status(&grant), (NeedsConsent, Some("client_changed")));
    assert!(world.sent().is_empty());
    assert_eq!(world.file()["refresh_token"], "r-other");
}

#[tokio::test(start_paused = true)]
async fn an_unsaved_document_does_not_replace_a_consent_for_another_client() {
    // F-303, F-313
    let world = expired().await;
    let grant = world.grant();
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    world.before_answer(world.breaker());
    assert_eq!(take(&grant).await.unwrap(), "new");
    world.mend_store();
    log_in_as_other_client(&world);
    sleep(Duration::from_secs(70)).await;
    grant.consent().unwrap().finish().await;
    assert_eq!(world.file()["refresh_token"], "r-other");
}

#[tokio::test(start_paused = true)]
async fn a_file_of_a_newer_version_is_not_replaced() {
    // F-305
    let world = expired().await;
    let grant = world.grant();
    look(&grant).await;
    let newer = json!({"format": "egressd-token/2", "tokens": []}).to_string();
    std::fs::write(world.path("github.json"), &newer).unwrap();
    let reason = Reason::NeedsConsent(ConsentReason::TokenFileUnusable);
    assert_eq!(take(&grant).await, Err(reason));
    assert!(world.sent().is_empty());
    let file = std::fs::read_to_string(world.path("github.json")).unwrap();
    assert_eq!(file, newer);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_lists_the_configured_token_wins_also_if_it_appears_late() {
    // F-331
    let world = World::with(|parameters| {
        let seed = Secret::new(b"seed".to_vec(), SecretSource::Inline);
        parameters.refresh_token = Some(seed.unwrap());
    });
    world.reply([Tokens("one", Some(60), Some("r2"))]);
    assert_eq!(take(&world.grant()).await.unwrap(), "one");
    sleep(Duration::from_secs(61)).await;
    world.break_store();
    let restarted = world.grant();
    look(&restarted).await;
    world.mend_store();
    look(&restarted).await;
    world.reply([Tokens("two", Some(3600), Some("r3"))]);
    assert_eq!(take(&restarted).await.unwrap(), "two");
    assert_eq!(world.sent(), ["seed", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_reusable_grant_in_a_read_only_store_is_not_written_back() {
    // F-330
    let world = World::with(|parameters| parameters.rotation = Rotation::Reusable);
    world.log_in("old", Some(1), Some("r1"));
    sleep(Duration::from_secs(60)).await;
    std::fs::remove_file(world.path("github.lock")).unwrap();
    std::fs::create_dir(world.path("github.lock")).unwrap();
    let grant = world.grant();
    world.reply([Tokens("new", Some(3600), None)]);
    assert_eq!(take(&grant).await.unwrap(), "new");
    look(&grant).await;
    assert_eq!(status(&grant), (Connected, None));
    std::fs::remove_file(world.path("github.json")).unwrap();
    look(&grant).await;
    sleep(Duration::from_secs(6)).await;
    look(&grant).await;
    assert_eq!(status(&grant), (NeedsConsent, Some("never_connected")));
}

#[tokio::test(start_paused = true)]
async fn a_401_takes_no_token_away_while_the_token_endpoint_fails() {
    // F-326
    let world = World::new();
    world.log_in("old", Some(3600), Some("r1"));
    let grant = world.grant();
    look(&grant).await;
    assert_eq!(take(&grant).await.unwrap(), "old");
    let token = grant.acquire_token().await.unwrap().token;
    // The endpoint answers 429.
    assert!(grant.retry_token(&token).await.is_none());
    assert_eq!(world.sent(), ["r1"]);
    assert_eq!(take(&grant).await.unwrap(), "old");
}
