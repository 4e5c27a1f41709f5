//! The token step of a probe: the token is requested as for an API request, and only its lifetime
//! is reported.

use serde_json::{Value, json};

use super::{api, listening, names, steps};
use crate::support::Upstream;
use crate::support::connection::Connection;
use egressd::cli::Exit;

/// Starts a token endpoint with one response for all requests.
fn idp(status: &'static str, body: &'static str) -> Upstream {
    Upstream::answer(move |_request| {
        let length = body.len();
        let kind = "content-type: application/json";
        format!("HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}")
    })
}

fn behind(idp: &Upstream) -> Connection {
    let oauth = json!({
        "token_url": format!("https://{}/token", idp.address()),
        "client_id": {"env": "USER"},
        "client_secret": {"env": "TOKEN"},
    });
    api().auth("oauth_client_credentials", oauth)
}

fn token(steps: &[Value]) -> (String, String) {
    let last = steps.last().unwrap();
    assert_eq!(last["step"], "token", "{steps:?}");
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    (text("detail"), text("remedy"))
}

#[test]
fn a_token_is_obtained_and_its_lifetime_reported() {
    for (body, says) in [
        (
            r#"{"access_token": "access-canary", "token_type": "Bearer", "expires_in": 600}"#,
            "valid for 600 s",
        ),
        (
            r#"{"access_token": "access-canary", "expires_in": "7200"}"#,
            "valid for 7200 s",
        ),
        (r#"{"access_token": "access-canary"}"#, "valid for 300 s"),
    ] {
        let (up, idp) = (listening(), idp("200 OK", body));
        let (exit, steps) = steps(behind(&idp).upstream(&up));
        assert_eq!(exit, Exit::Success, "{steps:?}");
        let dial = ["resolve", "address", "connect", "handshake"];
        let all = [&dial[..], &["credential"], &dial[..], &["token"]].concat();
        assert_eq!(names(&steps), all);
        assert_eq!(token(&steps), (says.to_owned(), String::new()));
        let asked = idp.only_request();
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str()),
            ("POST", "/token")
        );
        up.wait_closed(1);
        assert_eq!(up.raw(), b"");
    }
}

#[test]
fn a_failure_is_reported_with_its_reason_and_a_remedy() {
    for (status, body, requests, says, remedy) in [
        (
            "401 Unauthorized",
            r#"{"error": "invalid_client", "error_description": "canary"}"#,
            2,
            "invalid_client",
            "`client_id` and `client_secret`",
        ),
        (
            "400 Bad Request",
            r#"{"error": "invalid_scope"}"#,
            1,
            "invalid_scope",
            "`scopes`",
        ),
        (
            "400 Bad Request",
            r#"{"error": "unauthorized_client"}"#,
            2,
            "unauthorized_client",
            "`client_credentials`",
        ),
        (
            "400 Bad Request",
            r#"{"error": "house_rule_7"}"#,
            1,
            "house_rule_7",
            "`extra_params`",
        ),
        ("404 Not Found", "canary", 1, "404", "`token_url`"),
        ("503 Unavailable", "canary", 1, "503", "later"),
        ("200 OK", "<canary>", 1, "not a JSON object", "`token_url`"),
    ] {
        let (up, idp) = (listening(), idp(status, body));
        let (exit, steps) = steps(behind(&idp).upstream(&up));
        assert_eq!(exit, Exit::Failure, "{steps:?}");
        let told = token(&steps);
        assert!(told.0.contains(says), "{status}: {told:?}");
        assert!(told.1.contains(remedy), "{status}: {told:?}");
        assert_eq!(idp.requests().len(), requests, "{status}");
        up.wait_closed(1);
        assert_eq!(up.raw(), b"");
    }
}

#[test]
fn a_client_accepted_only_in_the_body_gets_that_remedy() {
    let idp = Upstream::answer(|request| {
        let (status, body) = if request.fields.single_value("authorization").is_some() {
            ("401 Unauthorized", r#"{"error": "invalid_client"}"#)
        } else {
            (
                "200 OK",
                r#"{"access_token": "access-canary", "expires_in": 60}"#,
            )
        };
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let up = listening();
    let (exit, steps) = steps(behind(&idp).upstream(&up));
    assert_eq!(exit, Exit::Success, "{steps:?}");
    let (detail, _) = token(&steps);
    assert!(detail.starts_with("valid for 60 s; "), "{detail}");
    assert!(detail.contains("`client_auth: body`"), "{detail}");
}

#[test]
fn a_refusal_that_may_be_about_the_client_is_tried_in_the_other_place() {
    // F-250
    for (written, status, error) in [
        (
            "basic",
            "400 Bad Request",
            r#"{"error": "invalid_request"}"#,
        ),
        (
            "basic",
            "401 Unauthorized",
            r#"{"error": "unauthorized_client"}"#,
        ),
        ("basic", "401 Unauthorized", r#"{"error": "house_rule_7"}"#),
        ("basic", "401 Unauthorized", "<canary>"),
        ("body", "401 Unauthorized", r#"{"error": "invalid_client"}"#),
        ("body", "400 Bad Request", r#"{"error": "invalid_request"}"#),
    ] {
        let idp = Upstream::answer(move |request| {
            let in_header = request.fields.single_value("authorization").is_some();
            let (status, body) = if in_header == (written == "basic") {
                (status, error)
            } else {
                ("200 OK", r#"{"access_token": "access-canary"}"#)
            };
            let length = body.len();
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
        });
        let up = listening();
        let api = behind(&idp).grant("client_auth", written);
        let (exit, steps) = steps(api.upstream(&up));
        assert_eq!(
            exit,
            Exit::Failure,
            "as it is written, no request is served"
        );
        let (detail, remedy) = token(&steps);
        assert!(detail.contains("`client_auth: body`"), "{detail}");
        let other = if written == "basic" { "body" } else { "basic" };
        let works = format!("write `client_auth: {other}`: the token endpoint");
        assert!(remedy.starts_with(&works), "{error}: {remedy}");
        assert_eq!(idp.requests().len(), 2, "{error}");
    }
}

#[test]
fn a_client_refused_in_both_places_is_reported() {
    // F-250
    for (status, body) in [
        ("401 Unauthorized", r#"{"error": "invalid_client"}"#),
        ("400 Bad Request", r#"{"error": "invalid_request"}"#),
        ("401 Unauthorized", ""),
    ] {
        let (up, idp) = (listening(), idp(status, body));
        let (exit, steps) = steps(behind(&idp).upstream(&up));
        assert_eq!(exit, Exit::Failure, "{steps:?}");
        let (_, remedy) = token(&steps);
        assert!(
            remedy.ends_with("were both tried, and neither works"),
            "{remedy}"
        );
        assert_eq!(idp.requests().len(), 2, "{status} {body}");
    }
}

#[test]
fn the_status_of_a_consent_is_reported_and_nothing_is_sent() {
    let (up, idp) = (listening(), idp("200 OK", "{}"));
    let at = |path: &str| format!("https://{}{path}", idp.address());
    let consent = json!({
        "client_id": {"env": "USER"}, "client_secret": {"env": "TOKEN"},
        "token_url": at("/token"), "authorization_url": at("/authorize"),
    });
    let (exit, steps) = steps(api().upstream(&up).auth("oauth_user_consent", consent));
    assert_eq!(exit, Exit::Failure, "{steps:?}");
    assert_eq!(
        names(&steps),
        [
            "resolve",
            "address",
            "connect",
            "handshake",
            "credential",
            "consent"
        ]
    );
    let consent = steps.last().unwrap();
    assert_eq!(consent["target"], "grant api");
    assert_eq!(consent["detail"], "needs_consent (never_connected)");
    let remedy = consent["remedy"].as_str().unwrap();
    // With the settings file of this run.
    assert!(
        remedy.starts_with("run `egressd login --config "),
        "{remedy}"
    );
    assert!(remedy.ends_with(" api`"), "{remedy}");
    assert_eq!(idp.sockets(), 0);
}
