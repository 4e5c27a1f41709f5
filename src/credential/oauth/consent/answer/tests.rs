//! Answers of providers and their classes.

use std::time::Duration;

use http::StatusCode;

use super::{AnswerClass, AnswerRules, FailedAnswer, TokenAnswer};
use crate::credential::unavailable::{ErrorCode, InvalidTokenResponse, Reason};
use crate::domain::auth::JsonPointer;

fn read_at(path: &str, status: u16, body: &str) -> Result<TokenAnswer, FailedAnswer> {
    let rules = AnswerRules {
        token_path: &JsonPointer::parse(path).unwrap(),
        consent_ended_errors: &["BAD_REFRESH_TOKEN".into()],
    };
    rules.read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
}

fn class(status: u16, body: &str) -> (AnswerClass, Option<Reason>) {
    match read_at("", status, body) {
        Ok(_) => (AnswerClass::Success, None),
        Err(failed) => (failed.class, Some(failed.reason)),
    }
}

fn granted(body: &str) -> TokenAnswer {
    let answer = read_at("", 200, body);
    answer.unwrap_or_else(|failed| panic!("{body}: {failed:?}"))
}

#[test]
fn an_answer_with_a_token_is_a_success() {
    for (status, body) in [
        (200, r#"{"access_token": "t"}"#),
        (201, r#"{"access_token": "t", "status": "active"}"#),
        (200, r#"{"access_token": "t", "error": null}"#),
        (200, r#"{"access_token": "t", "error": ""}"#),
        (200, r#"{"access_token": "t", "error": {"code": 1}}"#),
    ] {
        assert_eq!(class(status, body).0, AnswerClass::Success, "{body}");
    }
}

#[test]
fn codes_that_end_a_consent_do_so_at_every_status_but_429() {
    // F-321
    for code in [
        "invalid_grant",
        "bad_refresh_token",
        "invalid_refresh_token",
        "token_revoked",
        "interaction_required",
        "login_required",
        "consent_required",
        "BAD_REFRESH_TOKEN",
    ] {
        for status in [200, 400, 401, 403, 500] {
            let body = format!(r#"{{"ok": false, "error": "{code}"}}"#);
            assert_eq!(class(status, &body).0, AnswerClass::ConsentEnded, "{body}");
        }
        let body = format!(r#"{{"error": "{code}"}}"#);
        assert_eq!(class(429, &body).0, AnswerClass::Limited);
        let body = format!(r#"{{"status": "{code}", "message": "missing"}}"#);
        assert_eq!(class(400, &body).0, AnswerClass::ConsentEnded, "{body}");
    }
}

#[test]
fn other_errors_are_refusals_or_ambiguous() {
    use AnswerClass::{Ambiguous, Limited, Refused};
    let refused = Reason::Refused;
    for (status, body, expected, reason) in [
        // F-322
        (
            400,
            r#"{"error": "invalid_client"}"#,
            Refused,
            refused(ErrorCode::InvalidClient),
        ),
        (
            200,
            r#"{"error": "invalid_scope"}"#,
            Refused,
            refused(ErrorCode::InvalidScope),
        ),
        (
            401,
            r#"{"error": "odd"}"#,
            Refused,
            refused(ErrorCode::OtherUnauthorized),
        ),
        (401, "", Refused, Reason::RefusedStatus(401)),
        (404, "<html>", Refused, Reason::RefusedStatus(404)),
        (429, "", Limited, Reason::Status(429)),
        // F-318
        (
            500,
            r#"{"error": "server_error"}"#,
            Ambiguous,
            Reason::Status(500),
        ),
        (502, "<html>", Ambiguous, Reason::Status(502)),
        (302, "", Ambiguous, Reason::Status(302)),
        (
            200,
            "<html>",
            Ambiguous,
            Reason::Invalid(InvalidTokenResponse::Json),
        ),
        (
            200,
            r#"{"access_token": "t""#,
            Ambiguous,
            Reason::Invalid(InvalidTokenResponse::Json),
        ),
        (
            200,
            "{}",
            Ambiguous,
            Reason::Invalid(InvalidTokenResponse::AccessToken),
        ),
    ] {
        assert_eq!(
            class(status, body),
            (expected, Some(reason)),
            "{status} {body}"
        );
    }
}

#[test]
fn tokens_have_the_form_of_header_values() {
    // F-307
    let long = "x".repeat(17 * 1024);
    for bad in ["", "a b", "a\\r\\n", "\\u00e9", "é", &long] {
        let body = format!(r#"{{"access_token": "{bad}"}}"#);
        let reason = Reason::Invalid(InvalidTokenResponse::AccessToken);
        assert_eq!(class(200, &body).1, Some(reason));
        let body = format!(r#"{{"access_token": "t", "refresh_token": "{bad}"}}"#);
        let reason = Reason::Invalid(InvalidTokenResponse::RefreshToken);
        let expected = (!bad.is_empty()).then_some(reason);
        assert_eq!(
            class(200, &body).1,
            expected,
            "an empty one keeps the old one"
        );
    }
    let number = r#"{"access_token": "t", "refresh_token": 1}"#;
    assert_eq!(class(200, number).0, AnswerClass::Ambiguous);
}

#[test]
fn token_types() {
    // F-361
    for kind in ["bearer", "Bearer", "bot", "user", ""] {
        granted(&format!(
            r#"{{"access_token": "t", "token_type": "{kind}"}}"#
        ));
    }
    for kind in ["mac", "DPoP", "pop", "N_A"] {
        let body = format!(r#"{{"access_token": "t", "token_type": "{kind}"}}"#);
        let reason = Reason::Invalid(InvalidTokenResponse::TokenType);
        assert_eq!(class(200, &body).1, Some(reason), "{kind}");
    }
}

#[test]
fn absent_refresh_tokens_and_lives() {
    // F-323, F-325
    for absent in ["", r#", "refresh_token": null"#, r#", "refresh_token": """#] {
        let answer = granted(&format!(r#"{{"access_token": "t"{absent}}}"#));
        assert!(answer.refresh_token.is_none() && answer.expires_in.is_none());
        assert!(!answer.is_life_assumed);
    }
    let seconds = |count| Some(Duration::from_secs(count));
    let answer = granted(
        r#"{"access_token": "t", "refresh_token": "r", "expires_in": "0",
            "refresh_token_expires_in": 15811200, "scope": "a,b", "id": "x", "id_token": "y"}"#,
    );
    assert_eq!(answer.refresh_token.unwrap().expose(), b"r");
    assert_eq!(answer.expires_in, seconds(0));
    assert_eq!(answer.refresh_token_expires_in, seconds(15_811_200));
    assert_eq!(answer.scopes.unwrap(), "a,b");
    assert_eq!(answer.members["id"], "x");
    assert!(!answer.members.contains_key("id_token"));
    let answer = granted(r#"{"access_token": "t", "expires_in": "soon"}"#);
    assert_eq!(
        (answer.expires_in, answer.is_life_assumed),
        (seconds(300), true)
    );
}

#[test]
fn tokens_are_at_the_pointer_or_at_the_top() {
    let nested = r#"{"ok": true, "authed_user": {"access_token": "inner", "expires_in": 1}}"#;
    let top = r#"{"ok": true, "access_token": "outer", "authed_user": "U1"}"#;
    for (body, token) in [(nested, "inner"), (top, "outer")] {
        let answer = read_at("/authed_user", 200, body).ok().unwrap();
        assert_eq!(answer.access_token.expose(), token.as_bytes());
    }
    let error = r#"{"error": "invalid_grant", "authed_user": {"access_token": "t"}}"#;
    assert!(read_at("/authed_user", 200, error).is_err());
}

#[test]
fn error_texts_are_cleaned_and_contain_no_secret() {
    // F-350
    let failed = |error: &str| {
        let body = format!(r#"{{"error": "{error}"}}"#);
        let failed = read_at("", 400, &body).err().unwrap();
        failed
            .without_secrets(body.as_bytes(), &[b"the-secret-0123456789"])
            .error_text
    };
    assert_eq!(failed("invalid_client").as_deref(), Some("invalid_client"));
    assert_eq!(failed("a\\u001b[31m\\u202eb").as_deref(), Some("a[31mb"));
    assert_eq!(failed(&"x".repeat(1000)).unwrap().len(), 256);
    assert_eq!(failed("wrong: the-secret-0123456789"), None);
    assert_eq!(failed("dGhlLXNlY3JldC0wMTIzNDU2Nzg5"), None);
}
