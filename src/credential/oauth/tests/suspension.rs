//! Suspension: the boot-time clock advances, but no timer does.

use tokio::time::{advance, sleep};

use super::scripted::{Grants, cached, grant, seconds, status, taken};

#[tokio::test(start_paused = true)]
async fn a_token_is_not_used_past_an_expiry_that_no_timer_saw() {
    // F-253
    let (grant, script) = grant([Grants("old", 3600), Grants("new", 3600)]);
    let old = grant.acquire_token().await.unwrap().token;
    assert!(!old.expiry().unwrap().has_passed());
    script.suspended.suspend(3599);
    assert!(old.is_usable());
    script.suspended.suspend(1);
    assert!(!old.is_usable() && old.expiry().unwrap().has_passed());
    assert_eq!(old.age(), seconds(3600));
    assert_eq!((cached(&grant), grant.status().expires_at), (None, None));
    assert_eq!(taken(&grant).await, Ok(("new".into(), true)));
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_became_due_begins_with_the_next_request() {
    // F-253
    let (grant, script) = grant([Grants("old", 3600), Grants("new", 3600)]);
    taken(&grant).await.unwrap();
    script.suspended.suspend(3500);
    assert_eq!(cached(&grant).unwrap(), "old");
    script.called(2).await;
    sleep(seconds(1)).await;
    assert_eq!(cached(&grant).unwrap(), "new");
    // The timers of the previous token find nothing to do.
    sleep(seconds(600)).await;
    assert_eq!(cached(&grant).unwrap(), "new");
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn failures_and_token_retries_expire_during_suspension_too() {
    // F-253
    let (grant, script) = grant([
        status(500),
        Grants("a", 3600),
        Grants("b", 3600),
        Grants("c", 3600),
    ]);
    let held = grant.acquire_token().await.err().unwrap();
    script.suspended.suspend(held.retry_after.as_secs() + 1);
    let first = grant.acquire_token().await.unwrap().token;
    let second = grant.retry_token(&first).await.unwrap();
    assert!(grant.retry_token(&second).await.is_none());
    script.suspended.suspend(29);
    advance(seconds(1)).await;
    assert!(grant.retry_token(&second).await.is_some());
    assert_eq!(script.calls(), 4);
}
