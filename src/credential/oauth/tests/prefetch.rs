//! Tokens that are fetched before a request needs them.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::scripted::{Grants, cached, gated, grant, seconds, status, taken};
use crate::credential::oauth::prefetch_tokens;

#[tokio::test(start_paused = true)]
async fn begins_after_a_moment_and_takes_four_at_once() {
    let endpoints: Vec<_> = (0..6).map(|_| gated([Grants("t", 300)])).collect();
    let grants = endpoints
        .iter()
        .map(|(grant, _)| Arc::clone(grant))
        .collect();
    let begun = Instant::now();
    let prefetching = tokio::spawn(prefetch_tokens(grants));
    endpoints[3].1.called(1).await;
    let after = begun.elapsed();
    assert!(after >= seconds(1) && after <= seconds(4), "{after:?}");
    sleep(seconds(5)).await;
    let calls = || endpoints.iter().map(|(_, script)| script.calls());
    assert_eq!(calls().sum::<usize>(), 4);
    for (_, script) in &endpoints {
        script.answer(1);
    }
    prefetching.await.unwrap();
    assert!(calls().all(|calls| calls == 1));
    assert!(endpoints.iter().all(|(grant, _)| cached(grant).is_some()));
}

#[tokio::test(start_paused = true)]
async fn skips_requested_grants_and_records_failures() {
    let (busy, asked) = grant([status(503), Grants("t", 300)]);
    let (broken, script) = grant([status(500)]);
    assert!(taken(&busy).await.is_err());
    // The same grant twice: two connections with one credential.
    let grants = vec![Arc::clone(&busy), Arc::clone(&broken), Arc::clone(&broken)];
    prefetch_tokens(grants).await;
    assert_eq!((asked.calls(), script.calls()), (1, 1));
    assert!(broken.status().last_failure.is_some());
}
