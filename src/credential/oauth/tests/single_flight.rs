//! At most one token request is in flight, however many requests wait for it and whatever happens
//! to them.

use std::sync::Arc;
use std::task::Poll;

use futures_poll::poll_once;

use super::scripted::{
    Grants, Panic, ScriptedReply, cached, gated, gated_on, grant, status, taken, text,
};
use crate::credential::unavailable::{InvalidTokenResponse, Reason};

/// Polls a future once.
mod futures_poll {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::Poll;

    pub(super) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
    }
}

#[tokio::test]
async fn a_thousand_requests_share_one_call() {
    // F-147
    let (grant, script) = gated([Grants("t", 300), Grants("another", 300)]);
    let waiting: Vec<_> = (0..1_000)
        .map(|_| {
            let grant = Arc::clone(&grant);
            tokio::spawn(async move { taken(&grant).await })
        })
        .collect();
    script.called(1).await;
    script.answer(1_000);
    for request in waiting {
        let (token, _fresh) = request.await.unwrap().unwrap();
        assert_eq!(token, "t");
    }
    assert_eq!(script.calls(), 1);
    assert_eq!(taken(&grant).await, Ok(("t".into(), false)));
}

#[tokio::test]
async fn a_request_that_waited_gets_a_fresh_token() {
    let (grant, script) = grant([Grants("t", 300)]);
    assert_eq!(taken(&grant).await, Ok(("t".into(), true)));
    assert_eq!(taken(&grant).await, Ok(("t".into(), false)));
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_fetch_survives_the_loss_of_its_waiters() {
    // F-147
    let (grant, script) = gated([Grants("t", 300)]);
    let mut leader = Box::pin(grant.acquire_token());
    assert!(poll_once(&mut leader).await.is_pending());
    let mut waiter = Box::pin(grant.acquire_token());
    assert!(poll_once(&mut waiter).await.is_pending());
    let third = Arc::clone(&grant);
    let third = tokio::spawn(async move { taken(&third).await });
    script.called(1).await;
    drop(leader);
    drop(waiter);
    script.answer(1);
    assert_eq!(third.await.unwrap(), Ok(("t".into(), true)));
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn after_a_panic_the_next_waiter_starts_another_fetch() {
    // F-147
    let (grant, script) = gated([Panic, Grants("t", 300)]);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let grant = Arc::clone(&grant);
            tokio::spawn(async move { taken(&grant).await })
        })
        .collect();
    script.answer(10);
    for request in waiting {
        assert_eq!(request.await.unwrap(), Ok(("t".into(), true)));
    }
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn a_fetch_that_always_panics_ends_in_an_error() {
    let (grant, _script) = grant([Panic, Panic, Panic, Panic]);
    assert_eq!(taken(&grant).await, Err(Reason::Internal));
}

#[test]
fn a_runtime_that_has_ended_ends_in_an_error() {
    // F-147
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let ended = runtime();
    let (grant, script) = gated_on(ended.handle().clone(), [Grants("t", 300)]);
    drop(ended);
    let waited = runtime().block_on(taken(&grant));
    assert_eq!(waited, Err(Reason::Internal));
    assert_eq!(script.calls(), 0);
}

#[tokio::test]
async fn a_failure_is_shared_too() {
    let (grant, script) = gated([status(503)]);
    let (one, other) = (Arc::clone(&grant), Arc::clone(&grant));
    let one = tokio::spawn(async move { taken(&one).await });
    let other = tokio::spawn(async move { taken(&other).await });
    script.called(1).await;
    script.answer(9);
    assert_eq!(one.await.unwrap(), Err(Reason::Status(503)));
    assert_eq!(other.await.unwrap(), Err(Reason::Status(503)));
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_token_without_a_life_is_used_by_the_waiting_requests_only() {
    // F-142
    let (grant, script) = gated([Grants("one", 0), Grants("two", 0)]);
    let mut first = Box::pin(grant.acquire_token());
    let mut second = Box::pin(grant.acquire_token());
    assert!(poll_once(&mut first).await.is_pending());
    assert!(poll_once(&mut second).await.is_pending());
    script.answer(1);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((text(&first.token), first.is_fresh), ("one".into(), true));
    assert_eq!((text(&second.token), second.is_fresh), ("one".into(), true));
    assert_eq!(cached(&grant), None);
    script.answer(1);
    assert_eq!(taken(&grant).await, Ok(("two".into(), true)));
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn a_token_that_expired_on_its_way_is_not_used() {
    let (grant, script) = grant([ScriptedReply::Late("t")]);
    let expired = Reason::Invalid(InvalidTokenResponse::Expired);
    assert_eq!(taken(&grant).await, Err(expired));
    assert_eq!(taken(&grant).await, Err(expired), "the failure is stored");
    assert_eq!((cached(&grant), script.calls()), (None, 1));
}

#[tokio::test]
async fn a_waiter_that_is_polled_late_still_gets_its_token() {
    let (grant, script) = gated([Grants("t", 0)]);
    let mut early = Box::pin(grant.acquire_token());
    assert!(poll_once(&mut early).await.is_pending());
    script.answer(1);
    let other = taken(&grant).await;
    assert_eq!(other, Ok(("t".into(), true)));
    match poll_once(&mut early).await {
        Poll::Ready(Ok(acquired)) => assert_eq!(text(&acquired.token), "t"),
        Poll::Ready(Err(_)) | Poll::Pending => panic!("the fetch had completed"),
    }
}
