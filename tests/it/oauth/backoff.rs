//! A token endpoint that fails, for a while or permanently: the replies to agents, the pauses
//! between token requests, and the recovery.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    ERROR, REFUSED, TIMEOUT, UNREACHABLE, ask, ask_until, before, crm, retry_after, tokens,
    unavailable,
};
use crate::support::token_endpoint::token;
use crate::support::{Agent, PATIENCE, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

#[test]
fn failures_that_may_pass() {
    // F-138
    let later = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let absurd = later.replace(": 7", ": 86400000");
    let rows = [
        (
            TokenAnswer::status("500 Internal Server Error", "", "planted"),
            &[ERROR][..],
            "500",
        ),
        (
            TokenAnswer::status("502 Bad Gateway", "", "<html>planted</html>"),
            &[ERROR],
            "502",
        ),
        (
            TokenAnswer::error("503 Service Unavailable", "temporarily_unavailable"),
            &[ERROR],
            "503",
        ),
        (TokenAnswer::raw(later), &[ERROR], "429"),
        (TokenAnswer::raw(absurd), &[ERROR], "429 for years"),
        (
            TokenAnswer::raw(later.replace(": 7", ": planted")),
            &[ERROR],
            "429 until some day",
        ),
        (TokenAnswer::close(), &[UNREACHABLE], "closed"),
        (TokenAnswer::reset(), &[UNREACHABLE], "reset"),
    ];
    super::side_by_side(rows, |(answer, causes, row)| {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([answer, TokenAnswer::token(&token(1))]);
        let sidecar = before(&up, &endpoint);
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.get("/crm/x");
        assert_eq!(reply.status, 502, "{row} got {reply:?}");
        unavailable(&reply, causes);
        assert_eq!((endpoint.calls(), up.sockets()), (1, 0), "{row}");
        if row.starts_with("429 ") {
            return;
        }
        // The failure is stored: no request is sent until the backoff is over, and then a token
        // arrives.
        let until = Instant::now();
        let replies = ask_until(&mut agent, "/crm/x", 200);
        for (_, reply) in &replies[..replies.len() - 1] {
            unavailable(reply, causes);
        }
        assert_eq!(
            endpoint.calls(),
            2,
            "{row}: {} s",
            until.elapsed().as_secs()
        );
        assert_eq!(tokens(&up), [token(1)], "{row}");
    });
}

#[test]
fn retry_after_is_respected_up_to_15_minutes() {
    // F-248
    let busy = |fields: &str| {
        let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n";
        TokenAnswer::raw(format!("{head}{fields}\r\n"))
    };
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (fields, least, most) in [
        ("Retry-After: 300\r\n".to_owned(), 299, 375),
        ("Retry-After: 890\r\n".to_owned(), 889, 900),
        ("Retry-After: 86400000\r\n".to_owned(), 899, 900),
        (
            format!("{date}Retry-After: Sun, 06 Nov 1994 08:54:37 GMT\r\n"),
            299,
            375,
        ),
        (
            format!("{date}Retry-After: Mon, 07 Nov 1994 08:49:37 GMT\r\n"),
            899,
            900,
        ),
        // Without a `Date` header the machine's clock is used, and 1994 is in the past.
        (
            "Retry-After: Sun, 06 Nov 1994 08:54:37 GMT\r\n".to_owned(),
            0,
            2,
        ),
        ("Retry-After: planted\r\n".to_owned(), 0, 2),
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([busy(&fields)]);
        let sidecar = before(&up, &endpoint);
        let reply = ask(&sidecar);
        unavailable(&reply, &[ERROR]);
        let seconds = retry_after(&reply);
        assert!((least..=most).contains(&seconds), "{fields}: {seconds} s");
        assert_eq!((endpoint.calls(), up.sockets()), (1, 0), "{fields}");
    }
}

#[test]
fn an_untrusted_endpoint() {
    // F-138
    let up = Upstream::body("hi");
    let untrusted = Upstream::untrusted();
    let url = format!("https://{}/token", untrusted.address());
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.oauth_at(&url)).start();
    unavailable(&ask(&sidecar), &[UNREACHABLE]);
    assert!(untrusted.requests().is_empty());
    assert_eq!(up.sockets(), 0);
}

#[test]
fn an_endpoint_that_is_not_there_yet() {
    // F-138
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    endpoint.kill();
    let sidecar = before(&up, &endpoint);
    unavailable(&ask(&sidecar), &[UNREACHABLE]);
    endpoint.restart();
    let mut agent = Agent::connect(&sidecar);
    ask_until(&mut agent, "/crm/x", 200);
    assert_eq!((endpoint.calls(), tokens(&up)), (1, vec![token(1)]));
}

#[test]
fn an_endpoint_that_never_answers() {
    // F-138: ten seconds
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::script([TokenAnswer::never_answered()]);
    let sidecar = before(&up, &endpoint);
    let began = Instant::now();
    unavailable(&ask(&sidecar), &[TIMEOUT]);
    assert!(began.elapsed().as_secs() >= 9, "{:?}", began.elapsed());
    assert_eq!((endpoint.calls(), up.sockets()), (1, 0));
}

#[test]
fn an_endpoint_that_always_fails_is_requested_less_and_less() {
    // F-138
    let up = Upstream::body("hi");
    let endpoint =
        TokenEndpoint::script([TokenAnswer::status("500 Internal Server Error", "", "")]);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    let began = Instant::now();
    // From before the request of the first failure to after the reply of the next one: at least the
    // pause between the two.
    let mut pauses = Vec::new();
    let mut failed = began;
    let mut asked = 0;
    while endpoint.calls() < 4 {
        assert!(began.elapsed() < PATIENCE, "{asked} requests, {pauses:?}");
        let (before, now) = (endpoint.calls(), Instant::now());
        unavailable(&agent.get("/crm/x"), &[ERROR]);
        asked += 1;
        if endpoint.calls() > before {
            pauses.push(failed.elapsed());
            failed = now;
        }
        super::pause();
    }
    for (pause, least) in pauses.iter().skip(1).zip([1, 2, 4]) {
        assert!(*pause >= Duration::from_secs(least), "{pauses:?}");
    }
    assert!(asked > 8, "{asked} requests");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn refusals_of_the_client() {
    // F-139
    for (status, error) in [
        ("400 Bad Request", "invalid_client"),
        ("401 Unauthorized", "invalid_client"),
        ("400 Bad Request", "unauthorized_client"),
        ("400 Bad Request", "invalid_scope"),
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([TokenAnswer::error(status, error)]);
        // The credentials are in the body from the start, so there is no fallback.
        let crm = crm(&up, &endpoint).grant("client_auth", "body");
        let sidecar = Sidecar::with(crm).start();
        let mut agent = Agent::connect(&sidecar);
        for _ in 0..200 {
            let reply = agent.get("/crm/x");
            unavailable(&reply, &[REFUSED]);
            assert!(retry_after(&reply) > 20, "{error}: {reply:?}");
        }
        assert_eq!((endpoint.calls(), up.sockets()), (1, 0), "{error}");
    }
}

#[test]
fn other_errors_of_the_grant() {
    // F-139
    let strange = "<script>\u{1b}[31m\r\nX-Evil: planted".to_owned() + &"e".repeat(2000);
    for (status, error) in [
        ("400 Bad Request", "invalid_request"),
        ("400 Bad Request", "unsupported_grant_type"),
        ("403 Forbidden", "access_denied"),
        ("400 Bad Request", strange.as_str()),
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([TokenAnswer::error(status, error)]);
        let sidecar = before(&up, &endpoint);
        let reply = ask(&sidecar);
        let problem = unavailable(&reply, &[REFUSED, ERROR]);
        assert!(reply.body.len() < 2000, "{reply:?}");
        let controls = problem.detail.chars().any(char::is_control);
        assert!(!controls && !problem.detail.contains('<'), "{reply:?}");
        assert_eq!((endpoint.calls(), up.sockets()), (1, 0), "{error}");
    }
    for body in [
        "",
        "planted",
        r#"{"error": 5}"#,
        r#"["planted"]"#,
        r#"{"error": "invalid_client", "error": "x"}"#,
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([TokenAnswer::status("400 Bad Request", "", body)]);
        let sidecar = before(&up, &endpoint);
        unavailable(&ask(&sidecar), &[REFUSED, ERROR, super::INVALID]);
        assert_eq!(up.sockets(), 0, "{body}");
    }
}

#[test]
fn a_failing_connection_does_not_affect_others() {
    // F-138
    let up = Upstream::body("hi");
    let broken = TokenEndpoint::script([TokenAnswer::error("401 Unauthorized", "invalid_client")]);
    let good = TokenEndpoint::with_new_tokens(3600);
    let fixed = connection("fixed").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm(&up, &broken))
        .with_connection(crm(&up, &good).rename("erp"))
        .with_connection(
            fixed
                .bearer(&token(9))
                .http("max_concurrent_requests", json!(4)),
        )
        .start();
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..5 {
        unavailable(&agent.get("/crm/x"), &[REFUSED]);
        agent.get("/erp/x").expect_status(200);
        agent.get("/fixed/x").expect_status(200);
    }
    assert_eq!(tokens(&up), vec![[token(1), token(9)]; 5].concat());
}
