//! The stored state: failures and their backoff, the client authentication that works, and the
//! status for operators.

use std::time::SystemTime;

use tokio::time::advance;

use super::scripted::{Grants, ScriptedReply, grant, refused, seconds, status, taken};
use crate::credential::oauth::endpoint::TokenRequestError;
use crate::credential::unavailable::{ErrorCode, Reason};
use crate::domain::auth::ClientAuth::{Basic, Body};

#[tokio::test(start_paused = true)]
async fn a_failure_backs_off_and_is_returned_at_once() {
    // F-138
    let (grant, script) = grant([status(503), status(502), Grants("t", 300)]);
    let first = grant.acquire_token().await.err().unwrap();
    assert_eq!(first.reason, Reason::Status(503));
    assert!(first.retry_after >= seconds(1) && first.retry_after <= seconds(2));
    for _ in 0..100 {
        assert_eq!(taken(&grant).await, Err(Reason::Status(503)));
    }
    assert_eq!(script.calls(), 1);
    advance(first.retry_after / 2).await;
    let later = grant.acquire_token().await.err().unwrap();
    assert_eq!(later.retry_after, first.retry_after - first.retry_after / 2);
    advance(later.retry_after).await;
    let second = grant.acquire_token().await.err().unwrap();
    assert_eq!(second.reason, Reason::Status(502));
    assert!(second.retry_after >= seconds(2), "twice as long");
    advance(second.retry_after).await;
    assert_eq!(taken(&grant).await, Ok(("t".into(), true)));
    assert_eq!(script.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_success_forgets_failures() {
    let (grant, _script) = grant([status(500), Grants("t", 1), status(500)]);
    let first = grant.acquire_token().await.err().unwrap();
    advance(first.retry_after).await;
    taken(&grant).await.unwrap();
    advance(seconds(1)).await;
    let again = grant.acquire_token().await.err().unwrap();
    assert!(again.retry_after < seconds(2), "as the first time");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_an_operator_must_fix_backs_off_longer() {
    // F-139
    for code in [ErrorCode::InvalidScope, ErrorCode::UnauthorizedClient] {
        let (grant, script) = grant([refused(code)]);
        let held = grant.acquire_token().await.err().unwrap();
        assert_eq!(held.reason, Reason::Refused(code));
        assert!(held.retry_after >= seconds(30));
        advance(seconds(29)).await;
        assert_eq!(taken(&grant).await, Err(Reason::Refused(code)));
        assert_eq!(script.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_extends_the_backoff() {
    // F-138
    let busy = ScriptedReply::Failure(TokenRequestError {
        retry_after: Some(seconds(40)),
        ..Reason::Status(429).into()
    });
    let (grant, _script) = grant([busy]);
    let held = grant.acquire_token().await.err().unwrap();
    assert!(held.retry_after >= seconds(40));
}

#[tokio::test(start_paused = true)]
async fn the_body_is_tried_once_and_remembered() {
    // F-154
    let replies = [
        refused(ErrorCode::InvalidClient),
        Grants("a", 1),
        Grants("b", 1),
    ];
    let (grant, script) = grant(replies);
    assert_eq!(taken(&grant).await, Ok(("a".into(), true)));
    assert_eq!(script.styles(), [Basic, Body]);
    advance(seconds(1)).await;
    assert_eq!(taken(&grant).await, Ok(("b".into(), true)));
    assert_eq!(script.styles(), [Basic, Body, Body]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_in_both_styles_is_refused() {
    // F-139, F-154
    let replies = [
        refused(ErrorCode::InvalidClient),
        refused(ErrorCode::InvalidClient),
        Grants("t", 300),
    ];
    let (grant, script) = grant(replies);
    let held = grant.acquire_token().await.err().unwrap();
    assert_eq!(held.reason, Reason::Refused(ErrorCode::InvalidClient));
    assert!(held.retry_after >= seconds(30));
    assert_eq!(script.styles(), [Basic, Body]);
    advance(held.retry_after).await;
    taken(&grant).await.unwrap();
    assert_eq!(script.styles(), [Basic, Body, Basic]);
}

#[tokio::test(start_paused = true)]
async fn a_client_auth_style_that_no_longer_works_is_forgotten() {
    let replies = [
        refused(ErrorCode::InvalidClient),
        Grants("a", 1),
        refused(ErrorCode::InvalidClient),
        Grants("b", 1),
    ];
    let (grant, script) = grant(replies);
    taken(&grant).await.unwrap();
    advance(seconds(1)).await;
    let held = grant.acquire_token().await.err().unwrap();
    advance(held.retry_after).await;
    taken(&grant).await.unwrap();
    assert_eq!(script.styles(), [Basic, Body, Body, Basic]);
}

#[tokio::test(start_paused = true)]
async fn grant_status_reports_failures_and_tokens() {
    let told = ScriptedReply::Failure(TokenRequestError {
        error_text: Some("slow_down".into()),
        ..Reason::Refused(ErrorCode::Other).into()
    });
    let (grant, _script) = grant([told, Grants("t", 300)]);
    let before = grant.status();
    assert_eq!((before.requests_ok, before.requests_failed), (0, 0));
    assert!(!grant.was_requested() && before.last_failure.is_none());
    let held = grant.acquire_token().await.err().unwrap();
    let failed = grant.status();
    let failure = failed.last_failure.unwrap();
    assert_eq!(failure.reason, Reason::Refused(ErrorCode::Other));
    assert_eq!(failure.error_text.as_deref(), Some("slow_down"));
    assert_eq!((failure.in_a_row, failed.requests_failed), (1, 1));
    assert_eq!(failed.retry_in, Some(held.retry_after));
    assert_eq!((failed.expires_at, failed.last_refreshed), (None, None));
    advance(held.retry_after).await;
    taken(&grant).await.unwrap();
    let good = grant.status();
    assert_eq!((good.last_failure, good.retry_in), (None, None));
    assert_eq!((good.requests_ok, good.requests_failed), (1, 1));
    assert!(good.expires_at.unwrap() > SystemTime::now());
    assert!(good.last_refreshed.unwrap() <= SystemTime::now());
}
