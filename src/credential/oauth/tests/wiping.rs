//! Tokens that are no longer used are dropped at once, and what is dropped is wiped.

use std::sync::Arc;

use tokio::time::sleep;

use super::scripted::{Grants, gated, grant, seconds, taken};

#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_gone_when_its_last_request_has_ended() {
    // F-254
    let (grant, script) = gated([Grants("old", 3600), Grants("new", 3600)]);
    script.answer(1);
    let old = grant.acquire_token().await.unwrap().token;
    let watched = Arc::downgrade(&old);
    let retry = {
        let grant = Arc::clone(&grant);
        tokio::spawn(async move { grant.retry_token(&old).await.is_some() })
    };
    script.called(2).await;
    assert!(watched.upgrade().is_some(), "its request is under way");
    script.answer(1);
    assert!(retry.await.unwrap());
    assert!(watched.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_token_is_gone_by_its_expiry() {
    // F-254
    let (grant, script) = grant([Grants("old", 3600), Grants("new", 86_400)]);
    let old = Arc::downgrade(&grant.acquire_token().await.unwrap().token);
    script.called(2).await;
    sleep(seconds(3600)).await;
    assert!(old.upgrade().is_none());
    // No task remains for each earlier token.
    assert_eq!(old.weak_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unused_token_is_dropped_by_its_expiry() {
    // F-254
    let (grant, script) = grant([Grants("t", 3600)]);
    grant.prefetch_token().await;
    let watched = Arc::downgrade(&grant.valid_token().unwrap());
    sleep(seconds(3601)).await;
    assert!(watched.upgrade().is_none());
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_vanished_connection_is_gone() {
    // F-254
    let (grant, _script) = grant([Grants("t", 3600)]);
    taken(&grant).await.unwrap();
    let watched = Arc::downgrade(&grant.valid_token().unwrap());
    grant.drop_token(None);
    assert!(watched.upgrade().is_none());
}
