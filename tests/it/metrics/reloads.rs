//! A reload changes the gauges of the configuration, and decreases no count.

use serde_json::json;

use super::Scrape;
use crate::support::token_endpoint::token;
use crate::support::{Agent, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

#[test]
fn counts_outlive_changes_and_removal() {
    let up = Upstream::body("hello");
    let tokens = TokenEndpoint::with_new_tokens(3600);
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let crm = crm.oauth(&tokens);
    let sidecar = Sidecar::with(crm.clone())
        .setting("proxy.workers", 1)
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect_status(200);
    let before = Scrape::after(&sidecar, 1);
    let granted = "egressd_oauth_token_requests_total{connection=\"crm\",result=\"ok\"}";
    assert_eq!(before.value(granted), 1.0);

    // Another credential, and another index for the same pattern.
    let wider = crm.clone().grant("client_id", json!("another-client"));
    sidecar.reload(&[wider.allow("GET /b")]).unwrap();
    agent.get("/crm/b").expect_status(200);
    agent.get("/crm/a").expect_status(200);
    let after = Scrape::after(&sidecar, 3);
    let forwarded = |scrape: &Scrape, route| {
        let labels = [("connection", "crm"), ("route", route)];
        scrape.sum("egressd_requests_total", &labels)
    };
    assert_eq!(forwarded(&after, "GET /a"), 2.0);
    assert_eq!(forwarded(&after, "GET /b"), 1.0);
    assert_eq!(after.value(granted), 2.0);

    let erp = connection("erp").allow("/").upstream(&up);
    sidecar.reload(&[erp]).unwrap();
    agent.get("/crm/a").refused(404, "connection_not_found");
    let gone = Scrape::after(&sidecar, 4);
    assert_eq!(forwarded(&gone, "GET /a"), 2.0);
    assert_eq!(gone.value(granted), 2.0);
    assert_eq!(gone.value("egressd_connections"), 1.0);
    assert_eq!(gone.value("egressd_config_reload_success"), 1.0);
}

#[test]
fn a_token_request_that_ends_after_its_credential_was_replaced_is_counted() {
    let up = Upstream::body("hello");
    let gate = Gate::new();
    let _opened = gate.open_on_drop();
    let answers = [
        TokenAnswer::token(&token(1)).once_open(&gate),
        TokenAnswer::token(&token(2)),
    ];
    let tokens = TokenEndpoint::script(answers);
    let crm = connection("crm").allow("/").upstream(&up).oauth(&tokens);
    let sidecar = Sidecar::with(crm.clone()).start();
    let mut earlier = Agent::connect(&sidecar);
    earlier.send("GET /crm/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    tokens.wait_for_calls(1);
    let rotated = crm.grant("client_secret", json!("another-planted-secret"));
    sidecar.reload(&[rotated]).unwrap();
    Agent::connect(&sidecar).get("/crm/").expect_status(200);
    gate.open();
    earlier.reply().expect_status(200);
    let scrape = Scrape::after(&sidecar, 2);
    let granted = "egressd_oauth_token_requests_total{connection=\"crm\",result=\"ok\"}";
    assert_eq!((scrape.value(granted), tokens.calls()), (2.0, 2));
}

#[test]
fn a_failed_reload_is_shown_until_one_succeeds() {
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.clone()).start();
    let before = Scrape::fetch(&sidecar);
    sidecar
        .reload(&[crm.clone().base_url("http://plain.example")])
        .unwrap_err();
    let succeeded = "egressd_config_reload_success";
    let failed = Scrape::until(&sidecar, "failed", |scrape| scrape.value(succeeded) == 0.0);
    let loaded = "egressd_config_reload_timestamp_seconds";
    assert_eq!(failed.value(loaded), before.value(loaded));
    assert_eq!(failed.value("egressd_connections"), 1.0);
    sidecar.reload(&[crm]).unwrap();
    let again = Scrape::until(&sidecar, "good", |scrape| scrape.value(succeeded) == 1.0);
    assert!(again.value(loaded) >= before.value(loaded));
}
