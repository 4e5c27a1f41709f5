//! Suspension of the machine: no timer runs, but tokens expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use egressd::clock::Clock;
use serde_json::Value;

use super::{ERROR, crm, retry_after, tokens, unavailable};
use crate::support::token_endpoint::token;
use crate::support::{Agent, Sidecar, TokenAnswer, TokenEndpoint, Upstream};

/// A boot-time clock that can be ahead of the timers' clock, as after a suspension.
#[derive(Clone)]
struct Machine {
    started: Instant,
    suspended: Arc<AtomicU64>,
}

impl Machine {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            suspended: Arc::default(),
        }
    }

    fn suspend(&self, seconds: u64) {
        self.suspended.fetch_add(seconds, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let machine = self.clone();
        Clock::from_fn(move || {
            let suspended = machine.suspended.load(Ordering::SeqCst);
            machine.started.elapsed() + Duration::from_secs(suspended)
        })
    }
}

#[test]
fn a_token_that_expired_during_a_suspension_is_not_sent() {
    // F-253
    let (up, machine) = (Upstream::body("hi"), Machine::new());
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let plan = Sidecar::with(crm(&up, &endpoint));
    let sidecar = plan.with_clock(machine.clock()).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").expect_status(200);
    let expires = |sidecar: &Sidecar| -> Value {
        let mut operator = Agent::connect_to(sidecar.management());
        let view = operator.get("/v1/connections/crm").json();
        view["connection"]["tokenExpiresAt"].clone()
    };
    assert!(expires(&sidecar).is_string());
    machine.suspend(2 * 3600);
    assert_eq!(expires(&sidecar), Value::Null);
    agent.get("/crm/x").expect_status(200);
    agent.get("/crm/x").expect_status(200);
    assert_eq!(endpoint.calls(), 2);
    assert_eq!(tokens(&up), [token(1), token(2), token(2)]);
}

#[test]
fn a_backoff_that_ended_during_a_suspension_is_over() {
    // F-253
    let (up, machine) = (Upstream::body("hi"), Machine::new());
    let busy = TokenAnswer::status("503 Service Unavailable", "Retry-After: 600\r\n", "");
    let endpoint = TokenEndpoint::script([busy, TokenAnswer::token(&token(1))]);
    let plan = Sidecar::with(crm(&up, &endpoint));
    let sidecar = plan.with_clock(machine.clock()).start();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.get("/crm/x");
    unavailable(&reply, &[ERROR]);
    machine.suspend(retry_after(&reply));
    agent.get("/crm/x").expect_status(200);
    assert_eq!((endpoint.calls(), tokens(&up)), (2, vec![token(1)]));
}
