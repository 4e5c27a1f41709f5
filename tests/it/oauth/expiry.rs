//! The life of a token: it is refreshed while it is still valid, used until its end, and never
//! after.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{ERROR, REFUSED, UNREACHABLE, ask, ask_until, before, crm, tokens, unavailable};
use crate::support::token_endpoint::token;
use crate::support::{Agent, Gate, PATIENCE, Sidecar, TokenAnswer, TokenEndpoint, Upstream};

#[test]
fn short_tokens_are_replaced_before_they_expire() {
    // F-148, F-149
    let rows = [3_i32, 4];
    super::side_by_side(rows, |life| {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::with_new_tokens(life.into());
        let sidecar = before(&up, &endpoint);
        let mut agent = Agent::connect(&sidecar);
        let began = Instant::now();
        let mut seen = 0;
        while endpoint.calls() < 4 || tokens(&up).last() != Some(&token(endpoint.calls())) {
            assert!(began.elapsed() < PATIENCE, "{:?}", tokens(&up).last());
            agent.get("/crm/x").expect_status(200);
            seen += 1;
            super::pause();
        }
        // Each token serves for about half its life, less the jitter. A stalled machine can only
        // make this longer.
        let halves = began.elapsed().as_secs_f64() / (f64::from(life) * 0.4);
        let calls = f64::from(u32::try_from(endpoint.calls()).unwrap());
        assert!(calls <= halves + 2.0, "{calls} calls in {halves} halves");
        // In order, without repetitions or gaps.
        let mut used = tokens(&up);
        assert_eq!(used.len(), seen);
        used.dedup();
        let minted: Vec<String> = (1..=used.len()).map(token).collect();
        assert_eq!(used, minted);
    });
}

#[test]
fn several_agents_notice_nothing_of_expiries() {
    // F-148
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3);
    let sidecar = before(&up, &endpoint);
    let served = AtomicUsize::new(0);
    super::side_by_side(0..4, |_| {
        let mut agent = Agent::connect(&sidecar);
        let began = Instant::now();
        while endpoint.calls() < 5 && began.elapsed() < PATIENCE {
            agent.get("/crm/x").expect_status(200);
            served.fetch_add(1, Ordering::Relaxed);
            super::pause();
        }
    });
    assert!(endpoint.calls() >= 5, "{} calls", endpoint.calls());
    assert_eq!(up.requests().len(), served.into_inner());
}

#[test]
fn the_old_token_serves_while_the_new_one_is_on_its_way() {
    // F-148
    let up = Upstream::body("hi");
    let gate = Gate::new();
    let endpoint = TokenEndpoint::script([
        TokenAnswer::bearer_expiring_in(&token(1), 8),
        TokenAnswer::token(&token(2)).once_open(&gate),
    ]);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    let began = Instant::now();
    while endpoint.calls() < 2 {
        assert!(began.elapsed() < PATIENCE, "never refreshed");
        agent.get("/crm/x").expect_status(200);
        super::pause();
    }
    // The token request is in flight, and no request waits for it while the cached token is valid.
    if began.elapsed() < Duration::from_secs(7) {
        agent.get("/crm/x").expect_status(200);
    }
    assert!(tokens(&up).iter().all(|seen| *seen == token(1)));
    gate.open();
    while tokens(&up).last() != Some(&token(2)) {
        assert!(began.elapsed() < PATIENCE, "never used");
        agent.get("/crm/x").expect_status(200);
        super::pause();
    }
    assert_eq!(endpoint.calls(), 2);
}

#[test]
fn a_good_token_is_used_to_its_end_and_not_beyond() {
    // F-138
    let life = Duration::from_secs(4);
    let rows = [
        (
            TokenAnswer::status("503 Service Unavailable", "", ""),
            &[ERROR][..],
        ),
        (TokenAnswer::reset(), &[UNREACHABLE]),
        (
            TokenAnswer::error("400 Bad Request", "invalid_client"),
            &[REFUSED],
        ),
    ];
    super::side_by_side(rows, |(failure, causes)| {
        let up = Upstream::body("hi");
        let endpoint =
            TokenEndpoint::script([TokenAnswer::bearer_expiring_in(&token(1), 4), failure]);
        let crm = crm(&up, &endpoint).grant("client_auth", "body");
        let sidecar = Sidecar::with(crm).start();
        let mut agent = Agent::connect(&sidecar);
        // The token was granted between these two instants.
        let asked = Instant::now();
        agent.get("/crm/x").expect_status(200);
        let got = Instant::now();
        let replies = ask_until(&mut agent, "/crm/x", 502);
        for (at, reply) in &replies {
            if reply.status == 200 {
                assert!(
                    *at < got + life,
                    "served {:?} after its end",
                    *at - (got + life)
                );
            } else {
                unavailable(reply, causes);
            }
        }
        // The token is used until the last second.
        assert!(
            asked.elapsed() >= life - Duration::from_millis(1),
            "{:?}",
            asked.elapsed()
        );
        assert!(endpoint.calls() >= 2, "a refresh was tried before the end");
        for _ in 0..5 {
            unavailable(&agent.get("/crm/x"), causes);
        }
        assert_eq!(tokens(&up), vec![token(1); replies.len()]);
    });
}

#[test]
fn an_unused_token_is_not_refreshed() {
    // F-149
    let up = Upstream::body("hi");
    let (idle, busy) = (
        TokenEndpoint::with_new_tokens(3),
        TokenEndpoint::with_new_tokens(3),
    );
    let sidecar = Sidecar::with(crm(&up, &idle))
        .with_connection(crm(&up, &busy).rename("erp"))
        .start();
    ask(&sidecar).expect_status(200);
    let mut agent = Agent::connect(&sidecar);
    let began = Instant::now();
    while busy.calls() < 6 {
        assert!(began.elapsed() < PATIENCE, "{} calls", busy.calls());
        agent.get("/erp/x").expect_status(200);
        super::pause();
    }
    // Five refreshes of the used token. For the unused one, at most the refresh that its single use
    // causes.
    assert!(idle.calls() <= 2, "{} calls", idle.calls());
    ask(&sidecar).expect_status(200);
    assert!(idle.calls() <= 3, "{} calls", idle.calls());
}
