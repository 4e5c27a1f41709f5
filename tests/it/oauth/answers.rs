//! Responses of token endpoints, and which of them are not a token.

use serde_json::{Value, json};

use super::{ERROR, INVALID, REFUSED, UNREACHABLE, ask, before, retry_after, tokens, unavailable};
use crate::support::token_answer::DESCRIPTION;
use crate::support::token_endpoint::token;
use crate::support::{Agent, TokenAnswer, TokenEndpoint, Upstream};

/// Asserts that this response is not a token: the agent gets a refusal, one token request was made,
/// and the upstream received nothing.
fn no_token(answer: TokenAnswer, causes: &[&str], row: &str) {
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::script([answer]);
    let sidecar = before(&up, &endpoint);
    let reply = ask(&sidecar);
    assert_eq!(reply.status, 502, "{row:?} got {reply:?}");
    unavailable(&reply, causes);
    assert_eq!((endpoint.calls(), up.sockets()), (1, 0), "{row:?}");
}

fn no_token_body(body: &str) {
    no_token(TokenAnswer::body(body), &[INVALID], body);
}

/// Asserts that this response is a token, which the upstream receives, and how many token requests
/// `requests` of an agent cause.
fn calls_for(answer: TokenAnswer, requests: usize, row: &str) -> usize {
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::script([answer]);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..requests {
        let reply = agent.get("/crm/x");
        assert_eq!(reply.status, 200, "{row:?} got {reply:?}");
    }
    assert_eq!(tokens(&up), vec![token(1); requests], "{row:?}");
    endpoint.calls()
}

#[test]
fn bodies_without_a_token() {
    // F-140
    for body in [
        "",
        " ",
        "<html><body>Sign in</body></html>",
        "access_token=planted-token-0123456789&token_type=bearer",
        "{",
        r#"{"access_token": "planted-token-0123456789""#,
        r#"{"access_token": "planted-token-0123456789"} trailing"#,
        r#"{"access_token": "planted-token-0123456789",}"#,
        r#"[{"access_token": "planted-token-0123456789"}]"#,
        r#""planted-token-0123456789""#,
        "null",
        "17",
        "{}",
        r#"{"token_type": "Bearer", "expires_in": 3600}"#,
        r#"{"access_token": null, "token_type": "Bearer"}"#,
        r#"{"access_token": 17, "token_type": "Bearer"}"#,
        r#"{"access_token": ["planted-token-0123456789"], "token_type": "Bearer"}"#,
        &"[".repeat(50_000),
        &format!("{{\"a\": {}", "{\"a\": ".repeat(10_000)),
    ] {
        no_token_body(body);
    }
    no_token(
        TokenAnswer::body(b"{\"access_token\": \"\xff\"}"),
        &[INVALID],
        "no UTF-8",
    );
    no_token(
        TokenAnswer::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        &[INVALID],
        "204",
    );
}

#[test]
fn an_error_in_a_200_is_that_error() {
    // F-247
    let error = |code: &str| {
        let document = json!({"error": code, "error_description": DESCRIPTION});
        TokenAnswer::json(&document)
    };
    no_token(error("slow_down"), &[REFUSED], "slow_down");
    let mut with_token = json!({"error": "slow_down", "access_token": token(1)});
    no_token(
        TokenAnswer::json(&with_token),
        &[REFUSED],
        "error and token",
    );
    // An answer without an `error` is not an error.
    for none in [json!(""), json!(null)] {
        with_token["error"] = none;
        assert_eq!(calls_for(TokenAnswer::json(&with_token), 2, "no error"), 1);
    }
    // The backoff of that error, and a second attempt with the other client authentication if the
    // error may be about it.
    for (code, calls) in [("invalid_scope", 1), ("invalid_client", 2)] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([error(code)]);
        let sidecar = before(&up, &endpoint);
        let reply = ask(&sidecar);
        let problem = unavailable(&reply, &[REFUSED]);
        assert!(problem.detail.contains(code), "{}", problem.detail);
        assert!(retry_after(&reply) > 20, "{reply:?}");
        assert_eq!((endpoint.calls(), up.sockets()), (calls, 0), "{code}");
    }
}

#[test]
fn a_byte_order_mark_and_unknown_codings_are_accepted() {
    // F-247
    let document = json!({"access_token": token(1), "expires_in": 3600}).to_string();
    let marked = format!("\u{feff}{document}");
    assert_eq!(calls_for(TokenAnswer::body(&marked), 2, "mark"), 1);
    for coding in ["utf-8", "UTF-8", "identity", "", "none", "identity, utf-8"] {
        let field = format!("Content-Encoding: {coding}\r\n");
        let answer = TokenAnswer::status("200 OK", &field, &document);
        assert_eq!(calls_for(answer, 2, coding), 1, "{coding}");
    }
    // egressd does not request compression.
    for coding in ["br", "deflate", "x-gzip", "identity, GZIP", "zstd"] {
        let field = format!("Content-Encoding: {coding}\r\n");
        no_token(
            TokenAnswer::status("200 OK", &field, &document),
            &[INVALID],
            coding,
        );
    }
}

/// `{"access_token":"tok"}`
#[rustfmt::skip]
const GZIP: [u8; 40] = [0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x4a, 0x4c, 0x4e, 0x4e, 0x2d, 0x2e, 0x8e, 0x2f, 0xc9, 0xcf, 0x4e, 0xcd, 0x53, 0xb2, 0x52, 0x02, 0xd2, 0x4a, 0xb5, 0x00, 0x4e, 0xc0, 0x31, 0x87, 0x16, 0x00, 0x00, 0x00];

#[test]
fn answers_that_are_too_large_or_compressed() {
    // F-140
    no_token(TokenAnswer::endless(), &[INVALID], "endless");
    let padded = |n: usize| {
        let padding = "a".repeat(n);
        json!({"access_token": token(1), "token_type": "Bearer", "padding": padding})
    };
    let large = padded(65_536);
    no_token(TokenAnswer::json(&large), &[INVALID], "over 64 KiB");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.to_string().len()
    );
    no_token(
        TokenAnswer::raw(chunked),
        &[INVALID],
        "over 64 KiB in chunks",
    );
    assert_eq!(
        calls_for(TokenAnswer::json(&padded(60_000)), 2, "under 64 KiB"),
        1
    );
    let gzip = TokenAnswer::status("200 OK", "Content-Encoding: gzip\r\n", GZIP);
    no_token(gzip, &[INVALID], "gzip");
}

#[test]
fn redirects_are_not_followed() {
    // F-140
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let up = Upstream::body("hi");
        let elsewhere = TokenEndpoint::with_new_tokens(3600);
        let location = format!("Location: {}\r\n", elsewhere.url());
        let endpoint = TokenEndpoint::script([TokenAnswer::status(status, &location, "")]);
        let sidecar = before(&up, &endpoint);
        unavailable(&ask(&sidecar), &[INVALID, ERROR]);
        assert_eq!((endpoint.calls(), elsewhere.sockets()), (1, 0), "{status}");
        assert_eq!(up.sockets(), 0, "{status}");
    }
    let to_itself =
        TokenAnswer::status("307 Temporary Redirect", "Location: /oauth2/token\r\n", "");
    no_token(to_itself, &[INVALID, ERROR], "307 to itself");
}

#[test]
fn broken_responses() {
    // F-138, F-140
    for (bytes, row) in [
        ("garbage\r\n\r\n", "no HTTP"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"access_token\": \"planted-token-0123456789\"}",
            "short",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}",
            "two lengths",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "101",
        ),
    ] {
        let up = Upstream::body("hi");
        // Ends the stream after this text, so that no further bytes are expected.
        let ended = Upstream::reply_then_close(bytes);
        let url = format!("https://{}/token", ended.address());
        let crm = crate::support::connection("crm")
            .allow("/")
            .upstream(&up)
            .oauth_at(&url);
        let sidecar = crate::support::Sidecar::with(crm).start();
        let reply = ask(&sidecar);
        assert_eq!(reply.status, 502, "{row} got {reply:?}");
        unavailable(&reply, &[UNREACHABLE, ERROR, INVALID]);
        assert_eq!(up.sockets(), 0, "{row}");
    }
}

#[test]
fn lives_that_are_cached() {
    // F-141: without `expires_in`, 300 s are assumed
    let silent = json!({"access_token": token(1), "token_type": "Bearer"});
    assert_eq!(calls_for(TokenAnswer::json(&silent), 3, "no expires_in"), 1);
    // F-142, F-143
    for life in [
        "3600",
        "3600.0",
        "3.6e3",
        "86400",
        "31536000",
        "1e308",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        r#""3600""#,
        r#""300""#,
        r#""18446744073709551615""#,
        r#""99999999999999999999999999""#,
        // F-246
        r#""3599.0""#,
        r#"" 3600 ""#,
        r#""3.6e3""#,
        "null",
    ] {
        assert_eq!(calls_for(lives(life), 3, life), 1, "{life}");
    }
    // F-142: a fraction is accepted. How it is rounded cannot be observed here.
    let calls = calls_for(lives("3.7"), 1, "3.7");
    assert_eq!(calls, 1);
}

#[test]
fn lives_that_are_over_at_once() {
    // F-142: only the requests that waited for such a token may use it.
    for life in [
        "0",
        "-1",
        "-3600",
        "0.0",
        "-0.5",
        "-9223372036854775808",
        "-1e308",
        r#""0""#,
        r#""-1""#,
    ] {
        assert_eq!(calls_for(lives(life), 3, life), 3, "{life}");
    }
}

#[test]
fn lives_that_are_not_json() {
    // F-142
    for life in ["NaN", "Infinity", "-Infinity", "0x10", "+5", "1_000"] {
        let body = format!(
            r#"{{"access_token": "planted-token-0123456789", "token_type": "Bearer", "expires_in": {life}}}"#
        );
        no_token_body(&body);
    }
}

#[test]
fn lives_that_cannot_be_read_are_assumed() {
    // F-246
    for life in [
        "true",
        "false",
        "[3600]",
        "{}",
        r#""""#,
        r#""abc""#,
        r#""3600s""#,
        r#""0x10""#,
        r#""٣٦٠٠""#,
    ] {
        assert_eq!(calls_for(lives(life), 3, life), 1, "{life}");
    }
}

/// Returns a token response with these bytes as `expires_in`.
fn lives(life: &str) -> TokenAnswer {
    let token = token(1);
    TokenAnswer::body(format!(
        r#"{{"access_token": "{token}", "token_type": "Bearer", "expires_in": {life}}}"#
    ))
}

#[test]
fn token_types() {
    // F-144, F-245: Apigee sends `BearerToken`, eBay `Application Access Token`.
    for kind in [
        json!("Bearer"),
        json!("bEaReR"),
        json!("BearerToken"),
        json!("Application Access Token"),
        json!("Bearer "),
        json!("bearer,mac"),
        json!(""),
        json!("JWT"),
        json!(null),
        json!(5),
        json!(["Bearer"]),
        json!(true),
    ] {
        let row = kind.to_string();
        let document = json!({"access_token": token(1), "token_type": kind, "expires_in": 3600});
        assert_eq!(calls_for(TokenAnswer::json(&document), 2, &row), 1, "{row}");
    }
    let absent = json!({"access_token": token(1), "expires_in": 3600});
    assert_eq!(calls_for(TokenAnswer::json(&absent), 2, "absent"), 1);
    for kind in ["mac", "MAC", "DPoP", "PoP", "N_A", "n_a"] {
        let document = json!({"access_token": "planted-token-0123456789", "token_type": kind, "expires_in": 3600});
        no_token(TokenAnswer::json(&document), &[INVALID], kind);
    }
}

#[test]
fn bytes_of_a_token() {
    // F-145
    let with =
        |token: &str| json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
    let (huge, over) = ("a".repeat(64 << 10), "a".repeat((16 << 10) + 1));
    for bad in [
        "",
        " ",
        "planted token",
        " planted",
        "planted ",
        "planted\r\nX-Evil: 1",
        "planted\n",
        "planted\r",
        "planted\0",
        "planted\u{7f}",
        "planted\t",
        "plänted",
        "planted\u{2028}",
        "🔑planted",
        &huge,
        &over,
    ] {
        no_token(
            TokenAnswer::json(&with(bad)),
            &[INVALID],
            &bad.chars().take(40).collect::<String>(),
        );
    }
    for good in [
        "a",
        "abc-._~+/==",
        &"a".repeat(8 << 10),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([TokenAnswer::json(&with(good))]);
        let sidecar = before(&up, &endpoint);
        ask(&sidecar).expect_status(200);
        assert_eq!(tokens(&up), [good]);
    }
}

#[test]
fn keys_that_come_twice() {
    // F-146
    let first = r#""access_token": "planted-first-0123456789""#;
    for twice in [
        format!(r#"{{{first}, "access_token": "planted-second-0123456789"}}"#),
        format!(r#"{{{first}, {first}}}"#),
        format!(r#"{{{first}, "access\u005ftoken": "planted-second-0123456789"}}"#),
        format!(r#"{{{first}, "expires_in": 5, "expires_in": 3600}}"#),
        format!(r#"{{{first}, "token_type": "bearer", "token_type": "mac"}}"#),
    ] {
        no_token_body(&twice);
    }
}

#[test]
fn other_fields_of_providers_are_ignored() {
    let document: Value = json!({
        "token_type": "Bearer", "expires_in": "3599", "ext_expires_in": "3599", "expires_on": "1700000000", "not_before": 1,
        "resource": "https://api", "access_token": token(1), "refresh_token": "r", "id_token": {"a": [1, 2, {}]}, "scope": "a b", "Access_Token": "x",
    });
    assert_eq!(calls_for(TokenAnswer::json(&document), 2, "more fields"), 1);
    let untyped = TokenAnswer::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{document}",
        document.to_string().len()
    ));
    assert_eq!(calls_for(untyped, 2, "no Content-Type"), 1);
    // F-139: an error code is used with any client error status.
    let teapot = TokenAnswer::error("418 I'm a teapot", "invalid_request");
    no_token(teapot, &[REFUSED, ERROR], "418");
}
