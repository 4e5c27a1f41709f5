//! Refreshes in the background. The clock advances only when a test lets it run to the next timer.

use tokio::time::{Instant, advance, sleep};

use super::scripted::{Grants, cached, gated, grant, seconds, status, taken};
use crate::credential::unavailable::Reason;

#[tokio::test(start_paused = true)]
async fn a_token_in_use_is_refreshed_before_it_expires() {
    // F-148
    let (grant, script) = gated([Grants("old", 1000), Grants("new", 1000)]);
    let begun = Instant::now();
    script.answer(1);
    taken(&grant).await.unwrap();
    script.called(2).await;
    let due = begun.elapsed();
    assert!(due >= seconds(720) && due <= seconds(880), "{due:?}");
    for _ in 0..100 {
        assert_eq!(cached(&grant).unwrap(), "old", "used meanwhile");
    }
    script.answer(1);
    sleep(seconds(1)).await;
    assert_eq!(cached(&grant).unwrap(), "new");
    assert_eq!(script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_life_is_refreshed_at_half_without_a_loop() {
    // F-149
    let (grant, script) = grant((0..5).map(|_| Grants("t", 30)));
    let begun = Instant::now();
    for round in 2..=5 {
        cached(&grant);
        taken(&grant).await.unwrap();
        script.called(round).await;
    }
    let after = begun.elapsed();
    assert!(
        after >= seconds(4 * 13) && after <= seconds(4 * 17),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unused_token_expires_without_a_refresh() {
    let (grant, script) = grant([Grants("one", 1000), Grants("two", 1000)]);
    grant.prefetch_token().await;
    sleep(seconds(1001)).await;
    assert_eq!(script.calls(), 1);
    assert_eq!(cached(&grant), None);
    assert_eq!(taken(&grant).await, Ok(("two".into(), true)));
}

#[tokio::test(start_paused = true)]
async fn a_late_first_use_begins_the_refresh() {
    let (grant, script) = grant([Grants("one", 1000), Grants("two", 1000)]);
    grant.prefetch_token().await;
    sleep(seconds(900)).await;
    assert_eq!(script.calls(), 1);
    assert_eq!(cached(&grant).unwrap(), "one");
    script.called(2).await;
    sleep(seconds(1)).await;
    assert_eq!(cached(&grant).unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_is_tried_again_while_the_token_is_used() {
    // F-138
    let replies = [
        Grants("old", 1000),
        status(500),
        status(500),
        Grants("new", 1000),
    ];
    let (grant, script) = grant(replies);
    taken(&grant).await.unwrap();
    script.called(2).await;
    let begun = Instant::now();
    sleep(seconds(0)).await;
    assert_eq!(cached(&grant).unwrap(), "old");
    assert_eq!(taken(&grant).await, Ok(("old".into(), false)));
    script.called(4).await;
    let after = begun.elapsed();
    assert!(
        after >= seconds(3) && after <= seconds(4),
        "1 s and 2 s: {after:?}"
    );
    sleep(seconds(1)).await;
    assert_eq!(cached(&grant).unwrap(), "new");
    assert_eq!(grant.status().last_failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_until_its_expiry_and_never_after() {
    // F-138
    let (grant, script) = grant([Grants("t", 1000)]);
    let begun = Instant::now();
    taken(&grant).await.unwrap();
    script.called(3).await;
    advance(seconds(1000) - begun.elapsed() - seconds(1)).await;
    assert_eq!(cached(&grant).unwrap(), "t");
    advance(seconds(1)).await;
    assert_eq!(begun.elapsed(), seconds(1000));
    assert_eq!(cached(&grant), None);
    assert_eq!(taken(&grant).await, Err(Reason::Status(500)));
    // The refreshes of a dropped token end.
    sleep(seconds(200)).await;
    let calls = script.calls();
    sleep(seconds(2000)).await;
    assert_eq!(script.calls(), calls);
}
