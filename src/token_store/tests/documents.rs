//! The format of documents: what is valid, what is kept, and what errors name.

use serde_json::{Map, Value, json};

use super::{CLIENT, at, consent, document, github, json_of, new_consent, text_with, token};
use crate::domain::auth::ConsentClientAuth;
use crate::token_store::{
    InvalidDocument, MAX_DOCUMENT_BYTES, RefusalReason, StoredGrant, scalar_members,
};

fn parse(text: impl AsRef<[u8]>) -> Result<StoredGrant, InvalidDocument> {
    StoredGrant::parse(text.as_ref(), &github())
}

/// Returns the message of the error in a document.
fn error(text: impl AsRef<[u8]>) -> String {
    match parse(text.as_ref()) {
        Ok(_) => format!("valid: {}", String::from_utf8_lossy(text.as_ref())),
        Err(why) => why.to_string(),
    }
}

#[test]
fn the_example_of_the_contract_is_read_and_written_again() {
    let members = json!({
        "format": "egressd-token/1", "grant": "github", "client": "sha256:9f", "sequence": 7,
        "connected_at": "2026-11-28T10:00:00Z", "refreshed_at": "2026-11-28T17:20:11Z",
        "access_token": "a", "expires_at": "2026-11-29T01:20:11Z", "refresh_token": "r",
        "refresh_token_expires_at": "2027-05-28T17:20:11Z", "scopes": "read:user",
        "account": "octocat", "client_auth": "body", "seeds": ["sha256:1"],
        "answer": {"instance_url": "https://example.com"},
    });
    let document = parse(members.to_string()).ok().unwrap();
    assert_eq!(document.client(), Some("sha256:9f"));
    assert_eq!(document.version().sequence, 7);
    assert_eq!(document.connected_at(), "2026-11-28T10:00:00Z".parse().ok());
    assert_eq!(document.refreshed_at(), "2026-11-28T17:20:11Z".parse().ok());
    assert_eq!(document.access_token().unwrap().expose(), b"a");
    assert_eq!(document.expires_at(), "2026-11-29T01:20:11Z".parse().ok());
    assert_eq!(document.refresh_token().unwrap().expose(), b"r");
    let end = document.refresh_token_expires_at();
    assert_eq!(end, "2027-05-28T17:20:11Z".parse().ok());
    assert_eq!(document.scopes(), Some("read:user"));
    assert_eq!(document.account(), Some("octocat"));
    assert_eq!(document.client_auth(), Some(ConsentClientAuth::Body));
    assert!(document.has_seed("sha256:1") && !document.has_seed("sha256:2"));
    assert_eq!(json_of(&document), members);
    let again = parse(document.encode(&github()).unwrap()).ok().unwrap();
    assert!(again == document);
}

#[test]
fn a_refusal_and_a_logout_are_read_and_written_again() {
    let refused = consent().refused(RefusalReason::RotationLost, at(5));
    let written = json_of(&refused);
    assert_eq!(
        written["refused"],
        json!({"at": "2026-11-28T10:00:05Z", "reason": "rotation_lost"})
    );
    let again = parse(written.to_string()).ok().unwrap();
    assert_eq!(again.refusal(), refused.refusal());
    assert!(again.refusal().is_some());

    let seed = Some("sha256:1".to_owned());
    let revoked = StoredGrant::revoked(Some(&refused), CLIENT.to_owned(), seed, at(9));
    let written = json_of(&revoked);
    for absent in ["access_token", "refresh_token", "expires_at", "refused"] {
        assert_eq!(written.get(absent), None, "{absent}");
    }
    let again = parse(written.to_string()).ok().unwrap();
    assert_eq!(again.revoked_at(), Some(at(9)));
    assert!(again.has_seed("sha256:1"));
    assert!(again.version() > refused.version());
}

#[test]
fn a_reason_of_a_later_version_is_a_refusal() {
    let refused = json!({"refused": {"at": "2026-11-28T10:00:00Z", "reason": "new"}});
    let document = parse(text_with(&refused)).ok().unwrap();
    let reason = document.refusal().map(|refusal| refusal.reason);
    assert_eq!(reason, Some(RefusalReason::RefreshTokenRefused));
}

#[test]
fn format_and_access_token_are_the_least_document() {
    assert!(parse(text_with(&json!({}))).is_ok());
    assert_eq!(
        error(r#"{"format": "egressd-token/1"}"#),
        "has no `access_token`"
    );
    let without_client = json!({"refresh_token": "r"});
    assert_eq!(
        error(text_with(&without_client)),
        "has a `refresh_token` without `client`"
    );
}

#[test]
fn a_file_that_is_not_strict_json_is_unusable() {
    // F-305
    let whole = text_with(&json!({"client": CLIENT, "refresh_token": "r"}));
    for length in 1..whole.len() {
        let cut = whole.get(..length).unwrap();
        assert_eq!(parse(cut).err(), Some(InvalidDocument::Incomplete), "{cut}");
    }
    for (text, why) in [
        (&b""[..], InvalidDocument::Empty),
        (b"\0\0", InvalidDocument::Syntax { line: 1, column: 1 }),
        (b"{\"format\": \xff}", InvalidDocument::Encoding),
        (
            b"\xef\xbb\xbf{}",
            InvalidDocument::Syntax { line: 1, column: 1 },
        ),
        (b"[]", InvalidDocument::NotObject),
        (b"\"egressd-token/1\"", InvalidDocument::NotObject),
        (b"{} {}", InvalidDocument::Syntax { line: 1, column: 4 }),
        (
            b"{\n'a': 1}",
            InvalidDocument::Syntax { line: 2, column: 1 },
        ),
    ] {
        assert_eq!(parse(text).err(), Some(why), "{text:?}");
    }
}

#[test]
fn a_duplicate_key_is_refused_at_every_depth() {
    // F-305
    for members in [
        r#""access_token": "b""#,
        r#""\u0061ccess_token": "b""#,
        r#""unknown": {"a": 1, "a": 1}"#,
        r#""unknown": [[{"a": {"b": 1, "b": 2}}]]"#,
        r#""answer": {"a": 1, "\u0061": 1}"#,
    ] {
        let text = format!(r#"{{"format": "egressd-token/1", "access_token": "a", {members}}}"#);
        assert_eq!(
            parse(&text).err(),
            Some(InvalidDocument::DuplicateKey),
            "{text}"
        );
    }
    let nested = |depth| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"format": "egressd-token/1", "access_token": "a", "x": {open}{close}}}"#)
    };
    assert!(parse(nested(32)).is_ok());
    for depth in [33, 32_000] {
        assert_eq!(parse(nested(depth)).err(), Some(InvalidDocument::Depth));
    }
}

#[test]
fn a_wrong_grant_and_another_format_are_refused() {
    // F-305
    assert!(parse(text_with(&json!({"grant": "github"}))).is_ok());
    for grant in ["gitlab", "GitHub", ""] {
        let text = text_with(&json!({"grant": grant}));
        assert_eq!(parse(text).err(), Some(InvalidDocument::OtherGrant));
    }
    for format in ["egressd-token/2", "egressd-token/10"] {
        let text = text_with(&json!({"format": format, "sequence": "not of this format"}));
        assert_eq!(parse(text).err(), Some(InvalidDocument::NewerFormat));
    }
    for format in [
        json!("egressd-token/0"),
        json!("token/1"),
        json!(1),
        json!(null),
    ] {
        let text = text_with(&json!({"format": format}));
        assert_eq!(parse(text).err(), Some(InvalidDocument::Format));
    }
    assert_eq!(parse("{}").err(), Some(InvalidDocument::Format));
}

#[test]
fn a_token_that_a_header_cannot_carry_is_refused() {
    // F-307
    let expected = "must be a string of 1 to 16,384 visible ASCII characters without spaces";
    for bad in [
        "",
        "a b",
        "a\r\n",
        "a\n",
        "\t",
        "ä",
        "a\u{7f}",
        &"a".repeat(17 * 1024),
    ] {
        for member in ["access_token", "refresh_token"] {
            let text = text_with(&json!({"client": CLIENT, member: bad}));
            assert_eq!(error(text), format!("`{member}` {expected}"), "{bad:?}");
        }
    }
    let escaped = r#"{"format": "egressd-token/1", "access_token": "a\/\u0062\"\\"}"#;
    let document = parse(escaped).ok().unwrap();
    assert_eq!(document.access_token().unwrap().expose(), br#"a/b"\"#);
    let longest = "a".repeat(16 * 1024);
    assert!(parse(text_with(&json!({"access_token": longest}))).is_ok());
}

#[test]
fn a_member_with_a_wrong_value_is_named() {
    // F-308
    let time = "a time of RFC 3339, such as `2026-11-28T10:00:00Z`";
    for (member, value, expected) in [
        ("expires_at", json!("tomorrow"), time),
        ("expires_at", json!(1_795_860_000), time),
        ("expires_at", json!(null), time),
        ("connected_at", json!("2026-11-28"), time),
        ("refreshed_at", json!(""), time),
        ("refresh_token_expires_at", json!({}), time),
        ("revoked_at", json!(true), time),
        ("sequence", json!(0), "an integer from 1 to 2^53 - 1"),
        ("sequence", json!(-1), "an integer from 1 to 2^53 - 1"),
        ("sequence", json!(1.5), "an integer from 1 to 2^53 - 1"),
        (
            "sequence",
            json!(1_u64 << 53),
            "an integer from 1 to 2^53 - 1",
        ),
        ("client", json!(1), "a string"),
        ("grant", json!(null), "a string"),
        ("scopes", json!(["read:user"]), "a string"),
        ("account", json!({}), "a string"),
        ("client_auth", json!("post"), "`basic`, `body` or `none`"),
        ("seeds", json!("sha256:1"), "a list of strings"),
        ("answer", json!("none"), "an object"),
        (
            "refused",
            json!({"at": "now", "reason": "r"}),
            "an object with the time `at` and the string `reason`",
        ),
    ] {
        let text = text_with(&json!({member: value}));
        assert_eq!(
            error(text),
            format!("`{member}` must be {expected}"),
            "{value}"
        );
    }
}

#[test]
fn errors_contain_no_byte_of_a_value() {
    // F-355
    let secret = "gho_secretsecret";
    for text in [
        secret.to_owned(),
        format!("\"{secret}"),
        format!("\"{secret}\""),
        format!("{{\"{secret}\": {secret}}}"),
        format!("{{\"{secret}\": 1, \"{secret}\": 2}}"),
        format!("{{\"format\": \"{secret}\"}}"),
        text_with(&json!({"grant": secret})),
        text_with(&json!({"access_token": format!("{secret} ")})),
        text_with(&json!({"expires_at": secret, "sequence": secret})),
        text_with(&json!({"client_auth": secret})),
    ] {
        let why = parse(&text).err().unwrap();
        assert!(!format!("{why} {why:?}").contains("secret"), "{why:?}");
    }
}

#[test]
fn unknown_members_are_kept_byte_for_byte() {
    let unknown = r#""z": 1.00, "a": {"b" : [1e3, "\u00e4"]}, "": null"#;
    let text = format!(
        r#"{{"format": "egressd-token/1", {unknown}, "client": "{CLIENT}", "refresh_token": "r"}}"#
    );
    let document = parse(text).ok().unwrap();
    let refreshed = document.refreshed(super::tokens(2), at(0));
    let written = refreshed.encode(&github()).unwrap();
    let written = std::str::from_utf8(&written).unwrap();
    let tail = "  \"z\": 1.00,\n  \"a\": {\"b\" : [1e3, \"\\u00e4\"]},\n  \"\": null\n}\n";
    assert!(written.ends_with(tail), "{written}");
    assert!(parse(written).is_ok_and(|again| again == refreshed));
}

#[test]
fn members_for_people_are_left_out_if_they_do_not_fit() {
    let big = "x".repeat(40_000);
    let unknown = text_with(&json!({"unknown": &big, "client": CLIENT, "refresh_token": "r"}));
    let mut document = parse(unknown).ok().unwrap();
    assert!(document.encode(&github()).is_some());
    document.answer = Some(json!({"big": &big}).to_string().into());
    let written = json_of(&document);
    assert_eq!(written.get("answer"), None);
    assert!(written.get("unknown").is_some());
    // The largest tokens fit, and the unknown member no longer does.
    document.access_token = Some(token(&"a".repeat(16 * 1024)));
    document.refresh_token = Some(token(&"r".repeat(16 * 1024)));
    let written = json_of(&document);
    assert_eq!(written.get("unknown"), None);
    assert!(written.get("refresh_token").is_some());
    let bytes = document.encode(&github()).unwrap();
    assert!(bytes.len() <= MAX_DOCUMENT_BYTES);
    document.scopes = Some(big);
    assert!(document.encode(&github()).is_none());
}

#[test]
fn scalar_members_of_an_answer_are_kept_without_secrets() {
    let answer = json!({
        "instance_url": "https://example.com", "count": 3, "ok": true, "team": {"name": "t"},
        "list": [1], "none": null, "access_token": "a", "Refresh_Token": "r", "id_token": "i",
        "clientSecret": "s", "api_key": "k", "long": "x".repeat(1025),
    });
    let members = answer.as_object().unwrap();
    let kept = scalar_members(members.iter().map(|(name, value)| (name.as_str(), value)));
    let expected = json!({"instance_url": "https://example.com", "count": 3, "ok": true});
    assert_eq!(Value::Object(kept), expected);
    let many: Map<String, Value> = (0..40).map(|n| (format!("m{n}"), json!(n))).collect();
    let kept = scalar_members(many.iter().map(|(name, value)| (name.as_str(), value)));
    assert_eq!(kept.len(), 32);
    let mut consent = new_consent();
    consent.answer = kept;
    let written = json_of(&StoredGrant::from_consent(consent, None, at(0)));
    assert_eq!(written["answer"].as_object().map(Map::len), Some(32));
}

#[test]
fn an_ordinary_document_has_the_members_that_it_needs() {
    let members = json!({
        "format": "egressd-token/1", "grant": "github", "client": CLIENT, "sequence": 3,
        "connected_at": "2026-11-28T10:00:00Z", "refreshed_at": "2026-11-28T10:00:00Z",
        "access_token": "access-3", "expires_at": "2026-11-28T11:00:00Z",
        "refresh_token": "refresh-3", "scopes": "read:user", "account": "octocat",
    });
    assert_eq!(json_of(&document(3)), members);
}
