//! The answers of the provider to a refresh.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{API, Serving, World, expect_consent_required, wait_until};
use crate::oauth::side_by_side;
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::{Agent, Gate, TokenAnswer};

/// An access token that has expired.
const EXPIRED: i64 = -60;

/// Creates an answer of the provider.
type Answer = fn() -> TokenAnswer;

fn html(status: &str) -> TokenAnswer {
    TokenAnswer::status(status, "", "<html>planted</html>")
}

#[test]
fn an_ambiguous_refresh_is_repeated_with_the_same_token_while_the_old_one_serves() {
    // F-318
    let rows: [(&str, Answer); 7] = [
        ("token_endpoint_timeout", TokenAnswer::never_answered),
        ("token_endpoint_unreachable", TokenAnswer::reset),
        ("token_endpoint_unreachable", TokenAnswer::close),
        ("token_endpoint_error", || html("500 Internal Server Error")),
        ("token_endpoint_error", || html("502 Bad Gateway")),
        ("token_response_invalid", || html("200 OK")),
        ("token_response_invalid", || {
            TokenAnswer::body(r#"{"access_token": "planted-"#)
        }),
    ];
    let spending = [true, false];
    let rows = rows
        .iter()
        .flat_map(|row| spending.map(|is_spent| (row, is_spent)));
    side_by_side(rows, |((cause, answer), is_spent)| {
        let world = World::new();
        world.put_due();
        // The provider may have rotated the token, and accepts the previous one for some time.
        world.provider.tolerate(Duration::from_secs(60));
        match is_spent {
            true => world.provider.lose_next(answer()),
            false => world.provider.fail_next(answer()),
        }
        let gate = Gate::new();
        let _opened = gate.open_on_drop();
        world.provider.hold_next(&gate);
        let serving = world.site.start();
        world.provider.endpoint.wait_for_calls(1);
        serving.get().expect_status(200);
        let event = serving.wait_for_event("refresh_ambiguous");
        assert_eq!(event["reason"], *cause, "{event}");
        serving.get().expect_status(200);
        world.provider.endpoint.wait_for_calls(2);
        gate.open();
        wait_until("the new token is used", || {
            serving.get().expect_status(200);
            world.used().last() == Some(&access_token(API, 2))
        });
        assert_eq!(
            world.provider.sent(),
            [refresh_token(API, 1), refresh_token(API, 1)]
        );
        let used = world.used();
        assert_eq!(used.first(), Some(&access_token(API, 1)));
        assert_eq!(
            world.site.stored(API)["refresh_token"],
            refresh_token(API, 2)
        );
        let log = serde_json::to_string(&serving.stop()).unwrap();
        assert!(!log.contains("planted"), "{log}");
    });
}

#[test]
fn a_refusal_counts_if_it_is_repeated() {
    let invalid_grant = || TokenAnswer::error("400 Bad Request", "invalid_grant");
    let bad_refresh_token = || TokenAnswer::json(&json!({"error": "bad_refresh_token"}));
    let not_ok = || TokenAnswer::json(&json!({"ok": false, "error": "invalid_refresh_token"}));
    let rows: [(Answer, bool); 5] = [
        (invalid_grant, false),    // F-319
        (invalid_grant, true),     // F-320
        (bad_refresh_token, true), // F-321
        (not_ok, true),            // F-321
        (not_ok, false),
    ];
    side_by_side(rows, |(answer, is_repeated)| {
        let world = World::new();
        world.provider.fail_next(answer());
        if is_repeated {
            world.provider.fail_next(answer());
        }
        let began = Instant::now();
        let serving = world.serve(EXPIRED);
        let reply = serving.get();
        assert!(began.elapsed() >= Duration::from_secs(5));
        if is_repeated {
            expect_consent_required(&reply, "refresh_token_refused");
            expect_no_more_requests(&world, serving);
        } else {
            reply.expect_status(200);
            assert_eq!(world.used(), [access_token(API, 2)]);
            assert!(serving.events("consent_needed").is_empty());
            serving.expect_status("connected", None);
        }
        assert_eq!(
            world.provider.sent(),
            [refresh_token(API, 1), refresh_token(API, 1)]
        );
    });
}

/// Asserts that a grant stays refused after requests, a reload and a restart.
fn expect_no_more_requests(world: &World, serving: Serving) {
    let stored = world.site.stored(API);
    assert_eq!(
        stored["refused"]["reason"], "refresh_token_refused",
        "{stored}"
    );
    let refused = |serving: &Serving| {
        for _ in 0..20 {
            serving.expect_consent_required("refresh_token_refused");
        }
    };
    refused(&serving);
    serving.reload();
    refused(&serving);
    let events = serving.stop();
    let needed = events
        .iter()
        .filter(|event| event["event"] == "consent_needed");
    assert_eq!(needed.count(), 1, "{events:#?}");
    let serving = world.site.start();
    refused(&serving);
    serving.reload();
    refused(&serving);
    assert_eq!(world.provider.endpoint.calls(), 2);
    assert_eq!(world.site.stored(API), stored);
}

#[test]
fn a_problem_of_the_client_keeps_the_grant() {
    // F-322
    let refused = || TokenAnswer::error("401 Unauthorized", "invalid_client");
    let silent = || TokenAnswer::status("401 Unauthorized", "", "");
    let limited = || TokenAnswer::status("429 Too Many Requests", "Retry-After: 45\r\n", "");
    let rows: [(Answer, &str, u64); 3] = [
        (refused, "token_refused", 25),
        (silent, "token_refused", 25),
        (limited, "token_endpoint_error", 45),
    ];
    side_by_side(rows, |(answer, cause, wait)| {
        let world = World::new();
        world.provider.fail_next(answer());
        let serving = world.serve(EXPIRED);
        let before = world.site.stored_bytes(API);
        for _ in 0..10 {
            let problem = serving.expect_unavailable(cause);
            let seconds = problem.document["retry_after_seconds"].as_u64();
            assert!(
                seconds.is_none_or(|seconds| seconds >= wait - 5),
                "{problem:?}"
            );
        }
        assert_eq!(world.provider.endpoint.calls(), 1, "{cause}");
        assert_eq!(world.site.stored_bytes(API), before);
        assert!(!world.site.path("api.json.pending").exists());
        serving.stop();
        // The operator has corrected the client.
        let serving = world.site.start();
        serving.get().expect_status(200);
        assert_eq!(
            world.provider.sent(),
            [refresh_token(API, 1), refresh_token(API, 1)]
        );
        serving.stop();
    });
}

#[test]
fn without_a_new_refresh_token_the_old_one_stays() {
    // F-323
    let rows = [
        json!(null),
        json!(refresh_token(API, 1)),
        json!(""),
        json!("null"),
    ];
    side_by_side(rows, |answered| {
        let world = World::new();
        match answered.as_str() {
            // The member is present, and null.
            Some("null") => world.provider.fail_next(TokenAnswer::json(&json!({
                "access_token": access_token(API, 2), "token_type": "bearer", "expires_in": 3600,
                "refresh_token": null,
            }))),
            _ => world
                .provider
                .answer_with(&json!({"refresh_token": answered})),
        }
        let serving = world.serve(EXPIRED);
        serving.get().expect_status(200);
        assert_eq!(world.used(), [access_token(API, 2)]);
        let stored = world.site.stored(API);
        assert_eq!(stored["refresh_token"], refresh_token(API, 1), "{answered}");
        assert_eq!(stored["access_token"], access_token(API, 2));
        assert_eq!(stored["sequence"], 6);
        serving.stop();
    });
}

#[test]
fn an_answer_with_an_unusable_token_stores_nothing() {
    // F-307, F-361 (b)
    let rows = [
        json!({"access_token": "a\r\nb"}),
        json!({"access_token": "a b"}),
        json!({"access_token": "ä"}),
        json!({"access_token": ""}),
        json!({"access_token": "a".repeat(17 << 10)}),
        json!({"refresh_token": "a\nb"}),
        json!({"refresh_token": "a".repeat(17 << 10)}),
        json!({"token_type": "mac"}),
        json!({"token_type": "DPoP"}),
    ];
    side_by_side(rows, |members| {
        let world = World::new();
        world.provider.answer_with(&members);
        let serving = world.serve(EXPIRED);
        let before = world.site.stored_bytes(API);
        serving.expect_unavailable("token_response_invalid");
        assert_eq!(world.site.stored_bytes(API), before, "{members}");
        assert_eq!(world.upstream.sockets(), 0);
    });
}

#[test]
fn token_types_that_are_sent_as_bearer_tokens() {
    // F-361 (a)
    let rows = [json!(null), json!("Bearer"), json!("bot"), json!("user")];
    side_by_side(rows, |kind| {
        let world = World::new();
        world.provider.answer_with(&json!({"token_type": kind}));
        let serving = world.serve(EXPIRED);
        serving.get().expect_status(200);
        assert_eq!(world.used(), [access_token(API, 2)], "{kind}");
        serving.stop();
    });
}

#[test]
fn fewer_scopes_are_served() {
    // F-324
    let world = World::new();
    world.provider.answer_with(&json!({"scope": "read"}));
    let serving = world.serve(EXPIRED);
    serving.get().expect_status(200);
    serving.expect_status("connected", Some("scope_reduced"));
    assert_eq!(world.site.stored(API)["scopes"], "read");
    let (exit, list) = world.site.run("connections", &["--format", "json"]);
    assert_eq!(exit, Some(0), "{list}");
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["connections"][0]["status_reason"], "scope_reduced");
    serving.stop();
}

#[test]
fn a_life_of_zero_limits_refreshes_to_one_in_ten_seconds() {
    // F-325 (c)
    let world = World::new();
    world.provider.answer_with(&json!({"expires_in": 0}));
    let serving = world.serve(EXPIRED);
    let began = Instant::now();
    let mut agents: Vec<Agent> = (0..20).map(|_| Agent::connect_to(serving.agents)).collect();
    for round in 1..=2 {
        for agent in &mut agents {
            agent.send("GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        for agent in &mut agents {
            agent.reply().expect_status(200);
        }
        assert_eq!(world.provider.endpoint.calls(), round);
    }
    assert!(began.elapsed() >= Duration::from_secs(10));
    serving.stop();
}
