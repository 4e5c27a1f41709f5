//! A token that the upstream refuses with 401.

use std::sync::Arc;

use tokio::time::{advance, sleep};

use super::scripted::{Grants, cached, gated, grant, seconds, status, text};

#[tokio::test(start_paused = true)]
async fn the_refused_token_is_replaced_once_for_all() {
    // F-150
    let (grant, script) = gated([Grants("old", 3600), Grants("new", 3600)]);
    script.answer(1);
    let old = grant.acquire_token().await.unwrap().token;
    let retries: Vec<_> = (0..10)
        .map(|_| {
            let (grant, old) = (Arc::clone(&grant), Arc::clone(&old));
            tokio::spawn(async move { grant.retry_token(&old).await.map(|token| text(&token)) })
        })
        .collect();
    script.called(2).await;
    assert_eq!(cached(&grant), None, "no request uses the refused token");
    script.answer(1);
    for retry in retries {
        assert_eq!(retry.await.unwrap().unwrap(), "new");
    }
    let late = grant.retry_token(&old).await.unwrap();
    assert_eq!(text(&late), "new", "it is there already");
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_token_retry_in_thirty_seconds() {
    // F-151
    let (grant, script) = grant((0..4).map(|_| Grants("t", 3600)));
    let first = grant.acquire_token().await.unwrap().token;
    let second = grant.retry_token(&first).await.unwrap();
    assert!(grant.retry_token(&second).await.is_none());
    grant.retry_token_later(&second);
    advance(seconds(29)).await;
    assert!(grant.retry_token(&second).await.is_none());
    assert!(
        Arc::ptr_eq(&grant.cached_token().unwrap(), &second),
        "the token stays cached"
    );
    assert_eq!(script.calls(), 2);
    advance(seconds(1)).await;
    let third = grant.retry_token(&second).await.unwrap();
    assert!(!Arc::ptr_eq(&third, &second));
    assert_eq!(script.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_retry_that_fails_returns_nothing_and_is_remembered() {
    // F-150
    let (grant, script) = grant([Grants("old", 3600), status(500)]);
    let old = grant.acquire_token().await.unwrap().token;
    assert!(grant.retry_token(&old).await.is_none());
    assert!(grant.retry_token(&old).await.is_none());
    assert_eq!(cached(&grant), None);
    assert!(grant.acquire_token().await.is_err());
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_token_retry_while_backing_off() {
    let (grant, script) = grant([Grants("t", 1000), status(500)]);
    let token = grant.acquire_token().await.unwrap().token;
    script.called(2).await;
    sleep(seconds(0)).await;
    assert!(grant.retry_token(&token).await.is_none());
    assert_eq!(cached(&grant).unwrap(), "t", "the token stays cached");
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_retry_for_later_requests_does_not_wait() {
    let (grant, script) = gated([Grants("old", 3600), Grants("new", 3600)]);
    script.answer(1);
    let old = grant.acquire_token().await.unwrap().token;
    grant.retry_token_later(&old);
    assert_eq!(cached(&grant), None);
    script.called(2).await;
    script.answer(1);
    let next = grant.acquire_token().await.unwrap();
    assert_eq!((text(&next.token), next.is_fresh), ("new".into(), true));
}
