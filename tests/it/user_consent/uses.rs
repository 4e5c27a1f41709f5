//! Requests with the tokens of a grant: crowds, refusals by the API, and responses that contain a
//! token.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{API, Site, World, consent_connection, set};
use crate::oauth::side_by_side;
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::message::find_bytes;
use crate::support::{Agent, ConsentProvider, DEADLINE, Gate, Upstream};

/// An access token that has expired.
const EXPIRED: i64 = -60;
const GET: &str = "GET /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const UNAUTHORIZED: &str =
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn an_api_that_always_answers_401_causes_one_refresh() {
    // F-326
    let world = World::with_upstream(&json!({}), Upstream::reply(UNAUTHORIZED));
    let serving = world.serve(3600);
    for _ in 0..20 {
        let reply = serving.get();
        reply.expect_status(401);
        assert_eq!(reply.fields.single_value("x-egressd-error"), None);
    }
    assert_eq!(world.provider.sent(), [refresh_token(API, 1)]);
    let mut used = vec![access_token(API, 1)];
    used.extend(vec![access_token(API, 2); 20]);
    assert_eq!(world.used(), used);
    assert!(serving.events("consent_needed").is_empty());
    serving.expect_status("connected", Some("refused_by_upstream"));
    serving.stop();
}

#[test]
fn a_token_without_an_end_is_used_until_a_401() {
    // F-325: (a) with a refresh token, (b) without one.
    side_by_side([true, false], |has_refresh_token| {
        let gate = Gate::new();
        let ended = gate.clone();
        let first = format!("Bearer {}", access_token(API, 1));
        let upstream = Upstream::answer(move |request| {
            let is_first = request.fields.single_value("authorization") == Some(first.clone());
            if is_first && ended.is_open() {
                UNAUTHORIZED
            } else {
                OK
            }
        });
        let world = World::with_upstream(&json!({}), upstream);
        let mut grant = world.grant(0);
        set(&mut grant, &json!({"expires_at": null}));
        if !has_refresh_token {
            // Years ago.
            let old = json!({"refresh_token": null, "refreshed_at": "2020-01-01T00:00:00Z", "connected_at": "2020-01-01T00:00:00Z"});
            set(&mut grant, &old);
        }
        world.site.put(API, &grant);
        let serving = world.site.start();
        serving.get().expect_status(200);
        assert_eq!(world.provider.endpoint.sockets(), 0);
        gate.open();
        let expected = if has_refresh_token { 200 } else { 401 };
        serving.get().expect_status(expected);
        serving.get().expect_status(expected);
        let last = access_token(API, 1 + usize::from(has_refresh_token));
        assert_eq!(world.used().last(), Some(&last));
        assert_eq!(
            world.provider.endpoint.calls(),
            usize::from(has_refresh_token)
        );
        serving.stop();
    });
}

#[test]
fn a_revoked_grant_is_replaced_by_a_login() {
    // F-327
    let world = World::new();
    world.provider.revoke(API);
    let serving = world.serve(EXPIRED);
    serving.expect_consent_required("refresh_token_refused");
    assert_eq!(
        world.provider.sent(),
        [1, 1].map(|number| refresh_token(API, number))
    );
    let answer = json!({
        "access_token": access_token("new", 1), "token_type": "bearer", "expires_in": 3600,
        "refresh_token": refresh_token("new", 1),
    });
    let file = world.site.beside("answer.json");
    fs::write(&file, answer.to_string()).unwrap();
    let import = [
        "--import",
        file.to_str().unwrap(),
        "--yes",
        "--replace",
        API,
    ];
    let (exit, text) = world.site.run("login", &import);
    assert_eq!(exit, Some(0), "{text}");
    let stored = Instant::now();
    serving.wait_until_forwarded();
    // Without the watch, the content would be read every 5 s.
    assert!(
        stored.elapsed() < Duration::from_secs(DEADLINE),
        "{:?}",
        stored.elapsed()
    );
    assert_eq!(world.used(), [access_token("new", 1)]);
    assert_eq!(world.provider.endpoint.calls(), 2);
    serving.wait_for_event("consent_given");
    serving.stop();
}

#[test]
fn five_hundred_requests_share_one_refresh() {
    // F-328
    let provider = ConsentProvider::strict();
    let gate = Gate::new();
    let _opened = gate.open_on_drop();
    provider.hold_next(&gate);
    let upstream = Upstream::body("hello");
    // Leaves time for the handshakes of all requests on a busy machine.
    let api = consent_connection(API, &provider, &upstream, &json!({}))
        .http("max_concurrent_requests", json!(4096))
        .http("timeout_seconds", json!(300));
    let settings = json!({
        "egress": {"ca_files": ["ca.pem"], "connect_timeout_seconds": 300},
        "proxy": {"listen": ["127.0.0.1:0"], "max_in_flight": 4096},
    });
    let site = Site::with_settings(&[api], &settings);
    site.put(API, &super::world::stored_grant(&provider, API, EXPIRED));
    let serving = site.start();
    let agents = (0..500).map(|_| {
        let mut agent = Agent::connect_to(serving.agents);
        agent.send(GET);
        agent
    });
    let agents: Vec<Agent> = agents.collect();
    provider.endpoint.wait_for_calls(1);
    gate.open();
    for mut agent in agents {
        agent.reply().expect_status(200);
    }
    assert_eq!(provider.sent(), [refresh_token(API, 1)]);
    assert_eq!(
        super::world::used(&upstream),
        vec![access_token(API, 2); 500]
    );
    serving.stop();
}

#[test]
fn a_token_in_a_response_is_withheld_and_the_refresh_token_stays_here() {
    // F-329
    let world = World::with_upstream(&json!({}), Upstream::echo());
    let serving = world.serve(3600);
    let reflected = || {
        let reply = serving.get();
        let problem = reply.refused(502, "credential_reflected");
        assert_eq!(problem.connection.as_deref(), Some(API));
        assert_eq!(find_bytes(&reply.body, b"planted"), None, "{reply:?}");
    };
    reflected();
    // Also a token that was obtained while the process runs.
    let mut newer = world.site.stored(API);
    let due = super::world::time(600);
    set(
        &mut newer,
        &json!({"sequence": 6, "refresh_token_expires_at": due}),
    );
    world.site.put(API, &newer);
    super::world::wait_until("the new token is used", || {
        reflected();
        world.used().last() == Some(&access_token(API, 2))
    });
    for request in world.upstream.requests() {
        assert_eq!(find_bytes(&request.head, b"refresh"), None);
        assert_eq!(request.body.bytes, b"");
    }
    let log: Value = serving.stop().into();
    assert!(!log.to_string().contains("planted"), "{log}");
}
