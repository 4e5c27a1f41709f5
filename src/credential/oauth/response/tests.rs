//! Responses of token endpoints that do and do not contain a token.

use std::time::Duration;

use super::{Life, MAX_ERROR_CHARS, MAX_TOKEN_BYTES, parse_error, parse_token};
use crate::credential::unavailable::{ErrorCode, InvalidTokenResponse};

fn read(body: &str) -> Result<(String, Life), InvalidTokenResponse> {
    parse_token(body.as_bytes()).map(|granted| {
        let token = String::from_utf8(granted.access_token.to_vec()).unwrap();
        (token, granted.life)
    })
}

fn life_of(expires_in: &str) -> Result<Life, InvalidTokenResponse> {
    let body = format!(r#"{{"access_token": "t", "expires_in": {expires_in}}}"#);
    read(&body).map(|(_, life)| life)
}

fn seconds(count: u64) -> Life {
    Life::For(Duration::from_secs(count))
}

#[test]
fn lives() {
    for (expires_in, life) in [
        // F-141
        ("null", seconds(300)),
        // F-142
        ("0", Life::Once),
        ("-0", Life::Once),
        ("-1", Life::Once),
        ("-1e308", Life::Once),
        ("-9223372036854775808", Life::Once),
        ("0.9", Life::Once),
        ("1", seconds(1)),
        ("3.7", seconds(3)),
        ("86399", seconds(86_399)),
        ("86401", seconds(86_400)),
        ("1e308", seconds(86_400)),
        ("1e999", seconds(86_400)),
        (&"9".repeat(400), seconds(86_400)),
        ("-1e999", Life::Once),
        ("1e-999", Life::Once),
        ("9223372036854775808", seconds(86_400)),
        ("18446744073709551615", seconds(86_400)),
        ("18446744073709551616", seconds(86_400)),
        // F-143
        (r#""3600""#, seconds(3600)),
        (r#""0""#, Life::Once),
        (r#""007""#, seconds(7)),
        // F-246
        (r#""3599.0""#, seconds(3599)),
        (r#"" 3600 ""#, seconds(3600)),
        (r#""3600\n""#, seconds(3600)),
        (r#""3.6e3""#, seconds(3600)),
        (r#""+5""#, seconds(5)),
        (r#""0.5""#, Life::Once),
        (r#""-1""#, Life::Once),
        (r#""1e999""#, seconds(86_400)),
    ] {
        assert_eq!(life_of(expires_in), Ok(life), "{expires_in}");
    }
    assert_eq!(read(r#"{"access_token": "t"}"#).unwrap().1, seconds(300)); // F-141
}

#[test]
fn a_life_that_cannot_be_read_is_assumed() {
    // F-246
    for expires_in in [
        r#""""#,
        r#"" ""#,
        r#""1h""#,
        r#""3600s""#,
        r#""0x10""#,
        r#""1_000""#,
        r#""NaN""#,
        r#""inf""#,
        r#""e""#,
        r#""--1""#,
        r#""٣٦٠٠""#,
        "true",
        "false",
        "[3600]",
        "{}",
    ] {
        let body = format!(r#"{{"access_token": "t", "expires_in": {expires_in}}}"#);
        let granted = parse_token(body.as_bytes()).unwrap();
        assert!(granted.is_life_assumed, "{expires_in}");
        assert_eq!(granted.life, seconds(300), "{expires_in}");
    }
    for body in [
        r#"{"access_token": "t"}"#,
        r#"{"access_token": "t", "expires_in": null}"#,
        r#"{"access_token": "t", "expires_in": 300}"#,
    ] {
        assert!(
            !parse_token(body.as_bytes()).unwrap().is_life_assumed,
            "{body}"
        );
    }
    // F-142: not JSON at all.
    for expires_in in ["NaN", "Infinity", "1e", "01", "+1"] {
        assert_eq!(
            life_of(expires_in),
            Err(InvalidTokenResponse::Json),
            "{expires_in}"
        );
    }
}

#[test]
fn token_types() {
    // F-144, F-245
    for kind in [
        r#""bearer""#,
        r#""BEARER""#,
        r#""bEaReR""#,
        r#""BearerToken""#,
        r#""Application Access Token""#,
        r#""""#,
        r#"" Bearer ""#,
        r#""JWT""#,
        r#""machine""#,
        "null",
        "1",
        "[]",
        "true",
    ] {
        let body = format!(r#"{{"access_token": "t", "token_type": {kind}}}"#);
        assert!(read(&body).is_ok(), "{kind}");
    }
    for kind in ["mac", "MAC", "DPoP", "dpop", "PoP", "N_A", "n_a", " mac "] {
        let body = format!(r#"{{"access_token": "t", "token_type": "{kind}"}}"#);
        assert_eq!(read(&body), Err(InvalidTokenResponse::TokenType), "{kind}");
    }
}

#[test]
fn tokens() {
    // F-145
    let longest = "x".repeat(MAX_TOKEN_BYTES);
    for token in ["a", "00D!AQ.x-_~+/==", r#"a:|,;"#, &longest] {
        let body = format!(r#"{{"access_token": "{token}"}}"#);
        assert_eq!(read(&body).unwrap().0, token);
    }
    assert_eq!(read(r#"{"access_token": "\u0041\/"}"#).unwrap().0, "A/");
    // F-254: read without the JSON library, which would leave unwiped copies.
    assert_eq!(
        read(r#"{"access_token": "a\/b\\c\"d\u002Fe\u002b"}"#)
            .unwrap()
            .0,
        r#"a/b\c"d/e+"#
    );
    let too_long = "x".repeat(MAX_TOKEN_BYTES + 1);
    for token in [
        "",
        " ",
        "a b",
        r"a\r\nX: y",
        r"a\n",
        r"a\u0000",
        r"a\u007f",
        "ä",
        r"\u00e4",
        r"a\t",
        &too_long,
    ] {
        let body = format!(r#"{{"access_token": "{token}"}}"#);
        assert_eq!(
            read(&body),
            Err(InvalidTokenResponse::AccessToken),
            "{token:.20}"
        );
    }
    for body in ["{}", r#"{"access_token": 1}"#, r#"{"access_token": null}"#] {
        assert_eq!(read(body), Err(InvalidTokenResponse::AccessToken), "{body}");
    }
}

#[test]
fn bodies_that_are_not_objects_with_distinct_keys_are_rejected() {
    // F-146
    for body in [
        r#"{"access_token": "t", "access_token": "t"}"#,
        r#"{"access_token": "t", "access\u005ftoken": "u"}"#,
        r#"{"access_token": "t", "expires_in": 1, "expires_in": 2}"#,
        r#"{"access_token": "t", "x": 1, "x": 1}"#,
        r#"{"access_token": "t", "error": "a", "error": "b"}"#,
    ] {
        assert_eq!(read(body), Err(InvalidTokenResponse::Json), "{body}");
    }
    // F-140
    for body in [
        "",
        "<html></html>",
        r#"[{"access_token": "t"}]"#,
        r#"[["access_token", "t"]]"#,
        r#"["t", "bearer", 3600]"#,
        r#""t""#,
        "null",
        r#"{"access_token": "t"#,
        r#"{"access_token": "t"} x"#,
        r#"{"access_token": "t"}{}"#,
        "{\"access_token\": \"t\n\"}",
        "\u{feff}",
        "\u{feff}\u{feff}{\"access_token\": \"t\"}",
        "{\u{feff}\"access_token\": \"t\"}",
        "access_token=t&token_type=bearer",
    ] {
        assert_eq!(read(body), Err(InvalidTokenResponse::Json), "{body}");
    }
    let not_text = b"{\"access_token\": \"t\", \"x\": \"\xff\"}";
    assert_eq!(
        parse_token(not_text).err(),
        Some(InvalidTokenResponse::Json)
    );
    let deep = format!(r#"{{"access_token": {}"#, "[".repeat(60_000));
    assert_eq!(read(&deep), Err(InvalidTokenResponse::Json));
    // F-247
    assert!(read("\u{feff}{\"access_token\": \"t\"}").is_ok());
    let ignored = r#" {"scope": {"a": [1], "a": 2}, "refresh_token": "r", "access_token": "t"} "#;
    assert!(read(ignored).is_ok(), "what is not read may be anything");
}

#[test]
fn errors() {
    // F-139
    for (name, code) in [
        ("invalid_request", ErrorCode::InvalidRequest),
        ("invalid_client", ErrorCode::InvalidClient),
        ("invalid_grant", ErrorCode::InvalidGrant),
        ("unauthorized_client", ErrorCode::UnauthorizedClient),
        ("unsupported_grant_type", ErrorCode::UnsupportedGrantType),
        ("invalid_scope", ErrorCode::InvalidScope),
        ("Invalid_Client", ErrorCode::Other),
        ("slow_down", ErrorCode::Other),
    ] {
        let body = format!(r#"{{"error": "{name}", "error_description": "the secret is s3cr3t"}}"#);
        assert_eq!(parse_error(body.as_bytes()), Some((code, name.into())));
        assert_eq!(
            read(&body),
            Err(InvalidTokenResponse::AccessToken),
            "no grant"
        );
    }
    // F-247
    let marked = "\u{feff}{\"error\": \"slow_down\"}";
    let code = parse_error(marked.as_bytes()).unwrap().0;
    assert_eq!(code, ErrorCode::Other);
    let empty = r#"{"error": ""}"#;
    for body in ["", "{}", empty, r#"{"error": 1}"#, r#"["error"]"#, "<html>"] {
        assert_eq!(parse_error(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn an_error_text_is_cleaned_and_cut() {
    // F-139
    let body = r#"{"error": "a\u001b[31m\r\nb\u0000\u202e\u0085c"}"#;
    let (code, told) = parse_error(body.as_bytes()).unwrap();
    assert_eq!((code, &*told), (ErrorCode::Other, "a[31mbc"));
    let long = format!(r#"{{"error": "{}"}}"#, "ä".repeat(1000));
    let (_, told) = parse_error(long.as_bytes()).unwrap();
    assert_eq!(told.chars().count(), MAX_ERROR_CHARS);
}
