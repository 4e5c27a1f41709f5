//! A connection that signs bodies holds them first, and that takes as long as the agent does.

use std::time::Instant;

use serde_json::json;

use super::{crm, tokens};
use crate::support::token_endpoint::token;
use crate::support::{Agent, PATIENCE, Sidecar, TokenEndpoint, Upstream};

#[test]
fn a_token_that_expires_while_the_body_comes_is_not_sent() {
    // F-138, F-148
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::minting(2);
    let signing = crm(&up, &endpoint).http("webhook_signing_secret", json!("0123456789abcdef"));
    let sidecar = Sidecar::with(signing).start();
    let (mut slow, mut other) = (Agent::connect(&sidecar), Agent::connect(&sidecar));
    other.get("/crm/x").expect(200);
    slow.send("POST /crm/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab");
    let began = Instant::now();
    // Each token is refreshed at half its life, so that the first has expired when the fifth is there.
    while tokens(&up).last() != Some(&token(5)) {
        assert!(began.elapsed() < PATIENCE, "{:?}", tokens(&up).last());
        other.get("/crm/x").expect(200);
        super::pause();
    }
    slow.send("cd");
    slow.reply().expect(200);
    let requests = up.requests();
    let sent = requests
        .iter()
        .position(|request| request.target == "/slow");
    assert_ne!(tokens(&up)[sent.unwrap()], token(1));
}
