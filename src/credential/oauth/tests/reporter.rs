//! The events about tokens: one for each fetch, with the connections of the token, and without any
//! byte from the endpoint.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::advance;

use super::scripted::{ASSUMED, Grants, grant, refused, status};
use crate::credential::oauth::endpoint::TokenRequestError;
use crate::credential::oauth::reporter::TokenReporter;
use crate::credential::unavailable::{ConnectStep, ErrorCode, InvalidTokenResponse, Reason};
use crate::domain::ConnectionId;
use crate::telemetry::problem_log::TokenFault;
use crate::telemetry::{EventFormat, EventLevel, ProblemLog};

/// Longer than any step of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_is_reported_once_and_so_is_the_token_after_it() {
    let (mut said, out) = std::io::pipe().unwrap();
    let log = ProblemLog::start(EventLevel::Debug, EventFormat::Json, out).unwrap();
    let quoting = TokenRequestError {
        error_text: Some("a word of the endpoint".into()),
        ..TokenRequestError::from(Reason::Status(503))
    };
    let replies = [
        super::scripted::ScriptedReply::Failure(quoting),
        refused(ErrorCode::InvalidGrant),
        Grants("the-token", 300),
        status(500),
    ];
    let (mut grant, _script) = grant(replies);
    Arc::get_mut(&mut grant).unwrap().reporter = Arc::new(TokenReporter::new(log.clone()));
    for id in ["erp", "crm", "erp"] {
        grant.add_owner(&ConnectionId::parse(id).unwrap());
    }
    for _ in 0..2 {
        let held = grant.acquire_token().await.err().unwrap();
        for _ in 0..50 {
            assert!(grant.acquire_token().await.is_err());
        }
        advance(held.retry_after).await;
    }
    grant.acquire_token().await.unwrap();
    assert!(log.flush(PATIENCE));
    drop((grant, log));
    let mut lines = String::new();
    said.read_to_string(&mut lines).unwrap();
    assert!(
        !lines.contains("word of") && !lines.contains("the-token"),
        "{lines}"
    );
    let reported: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            assert_eq!(line["connections"], json!(["crm", "erp"]));
            json!([
                line["event"],
                line["reason"],
                line["status"],
                line["detail"],
                line["failures"]
            ])
        })
        .collect();
    assert_eq!(
        reported,
        [
            json!(["token_failed", "token_endpoint_error", 503, null, null]),
            json!(["token_failed", "token_refused", null, "invalid_grant", null]),
            json!(["token_recovered", null, null, null, 2]),
            json!(["token_obtained", null, null, null, null]),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_assumed_life_is_logged_once_however_often_the_token_is_fetched() {
    // F-246
    let (mut said, out) = std::io::pipe().unwrap();
    let log = ProblemLog::start(EventLevel::Warn, EventFormat::Json, out).unwrap();
    let (mut grant, script) = grant([Grants(ASSUMED, 300), Grants(ASSUMED, 300)]);
    Arc::get_mut(&mut grant).unwrap().reporter = Arc::new(TokenReporter::new(log.clone()));
    grant.add_owner(&ConnectionId::parse("crm").unwrap());
    for _ in 0..2 {
        grant.acquire_token().await.unwrap();
        advance(Duration::from_secs(300)).await;
    }
    assert_eq!(script.calls(), 2);
    assert!(log.flush(PATIENCE));
    drop((grant, log));
    let mut lines = String::new();
    said.read_to_string(&mut lines).unwrap();
    let [line] = lines.lines().collect::<Vec<_>>()[..] else {
        panic!("{lines}")
    };
    let line: Value = serde_json::from_str(line).unwrap();
    for (key, value) in [
        ("event", json!("token_life_assumed")),
        ("level", json!("warn")),
        ("connections", json!(["crm"])),
        ("field", json!("expires_in")),
        ("life_s", json!(300)),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
}

#[test]
fn every_reason_has_a_message() {
    for (reason, name, detail, status) in [
        (
            Reason::Unreachable(ConnectStep::Tls),
            "token_endpoint_unreachable",
            Some("tls"),
            None,
        ),
        (
            Reason::AddressRefused("private"),
            "token_endpoint_unreachable",
            Some("private"),
            None,
        ),
        (Reason::Timeout, "token_endpoint_timeout", None, None),
        (Reason::Status(500), "token_endpoint_error", None, Some(500)),
        (
            Reason::Refused(ErrorCode::Other),
            "token_refused",
            Some("another error"),
            None,
        ),
        (
            Reason::Invalid(InvalidTokenResponse::TooLarge),
            "token_response_invalid",
            Some("it is larger than 64 KiB"),
            None,
        ),
        (Reason::Internal, "internal_error", None, None),
    ] {
        assert_eq!(
            reason.fault(),
            TokenFault {
                reason: name,
                detail,
                status,
                remedy: None,
            }
        );
    }
    // F-250
    for reason in [
        Reason::Status(401),
        Reason::Refused(ErrorCode::InvalidClient),
        Reason::Refused(ErrorCode::InvalidRequest),
        Reason::Refused(ErrorCode::UnauthorizedClient),
        Reason::Refused(ErrorCode::OtherUnauthorized),
    ] {
        let names_it = |text: &str| text.contains("`client_auth: body`");
        assert!(names_it(reason.fault().remedy.unwrap()));
        assert!(names_it(&reason.to_string()), "{reason}");
    }
}
