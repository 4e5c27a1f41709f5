//! Refreshes that fail, and stores that cannot be written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::harness::{Failure, Tokens, World, ambiguous, ended, expired, look, status, take, text};
use crate::credential::oauth::StatusName::{Connected, NeedsConsent, Unavailable};
use crate::credential::oauth::consent::answer::AnswerClass;
use crate::credential::unavailable::{ConsentReason, ErrorCode, Reason};
use crate::domain::auth::{Rotation, seed_hash};
use crate::domain::{Secret, SecretSource};

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_if_the_answer_could_not_be_saved() {
    // F-312, F-314
    let world = expired().await;
    let grant = world.grant();
    look(&grant).await;
    world.break_store();
    assert_eq!(take(&grant).await, Err(Reason::StoreUnwritable));
    assert!(world.sent().is_empty());
    assert_eq!(
        status(&grant),
        (Unavailable, Some("token_store_unwritable"))
    );
    world.mend_store();
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(take(&grant).await.unwrap(), "new");
    assert_eq!(status(&grant), (Connected, None));
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_while_the_store_cannot_be_written() {
    // F-312
    let world = World::new();
    world.log_in("old", Some(1000), Some("r1"));
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "old");
    world.break_store();
    sleep(Duration::from_secs(950)).await;
    assert_eq!(take(&grant).await.unwrap(), "old");
    // An upstream's 401 does not change that.
    let old = grant.cached_token().unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(grant.retry_token(&old).await.is_none());
    assert_eq!(take(&grant).await.unwrap(), "old");
    sleep(Duration::from_secs(100)).await;
    assert_eq!(take(&grant).await, Err(Reason::StoreUnwritable));
    assert!(world.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_saved_is_used_and_saved_later() {
    // F-313
    let world = expired().await;
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    world.before_answer(world.breaker());
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "new");
    assert_eq!(status(&grant), (Connected, Some("unsaved")));
    world.mend_store();
    sleep(Duration::from_secs(70)).await;
    assert_eq!(world.file()["refresh_token"], "r2");
    assert_eq!(status(&grant), (Connected, None));
    assert_eq!(world.sent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_definition_keeps_a_document_that_is_not_saved() {
    // F-313
    let world = expired().await;
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    world.before_answer(world.breaker());
    let memory = Arc::default();
    let old = world.grant_with(Arc::clone(&memory));
    assert_eq!(take(&old).await.unwrap(), "new");
    let changed = world.grant_with(memory);
    assert_eq!(take(&changed).await.unwrap(), "new");
    assert_eq!(status(&changed), (Connected, Some("unsaved")));
    world.mend_store();
    changed.consent().unwrap().finish().await;
    assert_eq!(world.file()["refresh_token"], "r2");
    assert_eq!(status(&changed), (Connected, None));
    assert_eq!(world.sent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn no_refresh_begins_while_the_process_stops() {
    let world = expired().await;
    world.reply([Tokens("new", Some(3600), Some("r2"))]);
    let grant = world.grant();
    grant.consent().unwrap().finish().await;
    let waited = tokio::time::timeout(Duration::from_secs(60), take(&grant));
    waited.await.unwrap_err();
    assert_eq!(world.sent(), Vec::<String>::new());
    assert_eq!(world.file()["refresh_token"], "r1");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_only_if_it_is_confirmed() {
    // F-319
    let world = expired().await;
    world.reply([ended(), Tokens("new", Some(3600), Some("r2"))]);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "new");
    assert_eq!(status(&grant), (Connected, None));
    let sent = world.sent_at();
    assert!(sent[1] - sent[0] >= 5, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_refusal_is_stored_and_nothing_more_is_sent() {
    // F-320
    let world = expired().await;
    world.reply([ended(), ended()]);
    let grant = world.grant();
    let reason = Reason::NeedsConsent(ConsentReason::RefreshTokenRefused);
    assert_eq!(take(&grant).await, Err(reason));
    assert_eq!(world.file()["refused"]["reason"], "refresh_token_refused");
    for grant in [grant, world.grant()] {
        for _ in 0..60 {
            assert_eq!(take(&grant).await, Err(reason));
            sleep(Duration::from_secs(60)).await;
        }
    }
    assert_eq!(world.sent(), ["r1", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_forwarded_while_the_access_token_is_usable() {
    let world = World::new();
    world.log_in("old", Some(1000), Some("r1"));
    world.reply([ended(), ended()]);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "old");
    sleep(Duration::from_secs(950)).await;
    assert_eq!(world.sent().len(), 2);
    assert_eq!(take(&grant).await.unwrap(), "old");
    assert_eq!(status(&grant), (Connected, Some("refresh_token_refused")));
    // After a 401 of the upstream, it is not usable.
    let old = grant.cached_token().unwrap();
    assert!(grant.retry_token(&old).await.is_none());
    let reason = Reason::NeedsConsent(ConsentReason::RefreshTokenRefused);
    assert_eq!(take(&grant).await, Err(reason));
    assert_eq!(
        status(&grant),
        (NeedsConsent, Some("refresh_token_refused"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_refresh_is_repeated_with_the_same_token() {
    // F-318
    let world = expired().await;
    world.reply([
        ambiguous(),
        ambiguous(),
        Tokens("new", Some(3600), Some("r2")),
    ]);
    let grant = world.grant();
    assert_eq!(take(&grant).await, Err(Reason::Status(502)));
    assert_eq!(status(&grant), (Unavailable, Some("token_endpoint_error")));
    // The refresh is repeated although no request waits for it.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.sent(), ["r1", "r1", "r1"]);
    assert_eq!(take(&grant).await.unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_refresh_is_repeated_soon_while_the_old_token_serves() {
    // F-318
    let world = World::new();
    world.log_in("old", Some(3600), Some("r1"));
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "old");
    world.reply([
        ambiguous(),
        ambiguous(),
        Tokens("new", Some(3600), Some("r2")),
    ]);
    grant.keep_alive();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(take(&grant).await.unwrap(), "old");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(take(&grant).await.unwrap(), "new");
    assert_eq!(world.sent(), ["r1", "r1", "r1"]);
    let at = world.sent_at();
    assert!(at[1] - at[0] <= 2 && at[2] - at[1] <= 3, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_can_be_lost_by_an_ambiguous_refresh_or_a_crash() {
    // F-311
    for crashes in [false, true] {
        let world = expired().await;
        if crashes {
            std::fs::write(world.path("github.json.pending"), "").unwrap();
        } else {
            world.reply([ambiguous()]);
        }
        world.reply([ended(), ended()]);
        let grant = world.grant();
        let _first = take(&grant).await;
        sleep(Duration::from_secs(30)).await;
        let reason = Reason::NeedsConsent(ConsentReason::RotationLost);
        assert_eq!(take(&grant).await, Err(reason));
        assert_eq!(world.sent().len(), if crashes { 2 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_may_be_lost_is_known_after_a_restart() {
    // F-311
    for crashes in [false, true] {
        let world = expired().await;
        let pending = world.path("github.json.pending");
        if crashes {
            std::fs::write(&pending, "").unwrap();
            world.reply([ended(), ended()]);
        } else {
            world.reply([ambiguous(), ended(), ended()]);
        }
        let grant = world.grant();
        // The refusal is not confirmed yet, or the refresh not repeated.
        let first = tokio::time::timeout(Duration::from_millis(500), take(&grant)).await;
        assert_eq!(first.is_err(), crashes, "{first:?}");
        // A process that starts now finds the file, as after a crash.
        assert!(pending.exists());
        sleep(Duration::from_secs(30)).await;
        assert_eq!(status(&grant), (NeedsConsent, Some("rotation_lost")));
        assert!(!pending.exists());
    }
}

#[tokio::test(start_paused = true)]
async fn other_refusals_keep_the_grant_and_back_off() {
    // F-322
    let world = expired().await;
    let refused = || {
        Failure(
            AnswerClass::Refused,
            Reason::Refused(ErrorCode::InvalidGrant),
        )
    };
    let client = Failure(
        AnswerClass::Refused,
        Reason::Refused(ErrorCode::InvalidClient),
    );
    world.reply([client, refused(), Tokens("new", Some(3600), None)]);
    let grant = world.grant();
    for _ in 0..2 {
        assert!(take(&grant).await.is_err());
        assert!(take(&grant).await.is_err());
        assert_eq!(status(&grant), (Unavailable, Some("token_refused")));
        sleep(Duration::from_secs(29)).await;
        assert!(take(&grant).await.is_err());
        sleep(Duration::from_secs(32)).await;
    }
    assert_eq!(take(&grant).await.unwrap(), "new");
    assert_eq!(world.sent(), ["r1", "r1", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn reusable_tokens_need_no_store() {
    // F-330
    let world = World::with(|parameters| {
        parameters.rotation = Rotation::Reusable;
        let seed = Secret::new(b"seed".to_vec(), SecretSource::Inline);
        parameters.refresh_token = Some(seed.unwrap());
    });
    world.break_store();
    world.reply([
        Tokens("one", Some(60), None),
        Tokens("two", Some(60), Some("other")),
    ]);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "one");
    sleep(Duration::from_secs(61)).await;
    assert_eq!(take(&grant).await.unwrap(), "two");
    assert_eq!(world.sent(), ["seed", "seed"]);
    sleep(Duration::from_secs(61)).await;
    world.reply([Tokens("three", Some(60), None)]);
    assert_eq!(take(&grant).await.unwrap(), "three");
    assert_eq!(world.sent()[2], "other", "it is kept in memory");
    assert_eq!(status(&grant), (Connected, None));
}

#[tokio::test(start_paused = true)]
async fn a_configured_refresh_token_starts_the_grant_once() {
    // F-331
    let world = World::with(|parameters| {
        let seed = Secret::new(b"seed".to_vec(), SecretSource::Inline);
        parameters.refresh_token = Some(seed.unwrap());
    });
    world.reply([Tokens("one", Some(60), Some("r2"))]);
    let grant = world.grant();
    assert_eq!(take(&grant).await.unwrap(), "one");
    drop(grant);
    assert!(world.stored().has_seed(&seed_hash(b"seed")));
    sleep(Duration::from_secs(61)).await;
    world.reply([Tokens("two", Some(60), Some("r3"))]);
    assert_eq!(take(&world.grant()).await.unwrap(), "two");
    assert_eq!(world.sent(), ["seed", "r2"], "the stored grant wins");
    assert!(world.stored().refresh_token() == Some(&text("r3")));
}
