//! Tests of the encodings of a secret.

use super::{encodings_of, wide_encodings_of};

fn encoding_texts(secret: &[u8]) -> Vec<String> {
    let encodings = encodings_of(secret);
    let text = |encoding: &super::Encoding| String::from_utf8_lossy(encoding).into_owned();
    encodings.iter().map(text).collect()
}

#[test]
fn a_short_secret_has_none() {
    assert!(encoding_texts(b"fifteen-bytes-1").is_empty());
    assert!(!encoding_texts(b"sixteen-bytes-12").is_empty());
}

#[test]
fn letters_and_digits_have_few() {
    let encodings = encoding_texts(b"abcdefghijklmnop1");
    assert_eq!(encodings.len(), 8, "{encodings:?}");
    for encoding in [
        "abcdefghijklmnop1",
        // The output of `base64` for the secret after 0, 1 and 2 other bytes, without the
        // characters at the edges.
        "YWJjZGVmZ2hpamtsbW5vcD",
        "FiY2RlZmdoaWprbG1ub3Ax",
        "hYmNkZWZnaGlqa2xtbm9wM",
        "%61%62%63%64%65%66%67%68%69%6a%6b%6c%6d%6e%6f%70%31",
        "%61%62%63%64%65%66%67%68%69%6A%6B%6C%6D%6E%6F%70%31",
        r"\u0061\u0062\u0063\u0064\u0065\u0066\u0067\u0068\u0069\u006a\u006b\u006c\u006d\u006e\u006f\u0070\u0031",
        r"\u0061\u0062\u0063\u0064\u0065\u0066\u0067\u0068\u0069\u006A\u006B\u006C\u006D\u006E\u006F\u0070\u0031",
    ] {
        assert!(
            encodings.iter().any(|found| found == encoding),
            "{encoding} of {encodings:?}"
        );
    }
}

#[test]
fn marks_are_escaped_as_encoders_do() {
    let secret = "a b/c+d=e\"f\\g&h<i'é\u{1f511}";
    let encodings = encoding_texts(secret.as_bytes());
    for encoding in [
        secret,
        // Percent: RFC 3986, Python's quote, lower case, form style, encodeURIComponent, encodeURI,
        // Go's PathEscape.
        "a%20b%2Fc%2Bd%3De%22f%5Cg%26h%3Ci%27%C3%A9%F0%9F%94%91",
        "a%20b/c%2Bd%3De%22f%5Cg%26h%3Ci%27%C3%A9%F0%9F%94%91",
        "a%20b%2fc%2bd%3de%22f%5cg%26h%3ci%27%c3%a9%f0%9f%94%91",
        "a+b%2Fc%2Bd%3De%22f%5Cg%26h%3Ci%27%C3%A9%F0%9F%94%91",
        "a%20b%2Fc%2Bd%3De%22f%5Cg%26h%3Ci'%C3%A9%F0%9F%94%91",
        "a%20b/c+d=e%22f%5Cg&h%3Ci'%C3%A9%F0%9F%94%91",
        "a%20b%2Fc+d=e%22f%5Cg&h%3Ci%27%C3%A9%F0%9F%94%91",
        // JSON: minimal, PHP, Go, Gson, Python, System.Text.Json.
        "a b/c+d=e\\\"f\\\\g&h<i'é\u{1f511}",
        r#"a b\/c+d=e\"f\\g&h<i'\u00e9\ud83d\udd11"#,
        "a b/c+d=e\\\"f\\\\g\\u0026h\\u003ci'é\u{1f511}",
        "a b/c+d\\u003de\\\"f\\\\g\\u0026h\\u003ci\\u0027é\u{1f511}",
        r#"a b/c+d=e\"f\\g&h<i'\u00e9\ud83d\udd11"#,
        r"a b/c\u002Bd=e\u0022f\\g\u0026h\u003Ci\u0027\u00E9\uD83D\uDD11",
        // serialize-javascript, Django's escapejs, Twig, Laminas.
        "a b\\u002Fc+d=e\\\"f\\\\g&h\\u003Ci'é\u{1f511}",
        "a b/c+d\\u003De\\u0022f\\u005Cg\\u0026h\\u003Ci\\u0027é\u{1f511}",
        r"a\u0020b\/c\u002Bd\u003De\u0022f\u005Cg\u0026h\u003Ci\u0027\u00E9\uD83D\uDD11",
        r"a\x20b\x2Fc\x2Bd\x3De\x22f\x5Cg\x26h\x3Ci\x27\u00E9\uD83D\uDD11",
        // Read as Latin-1.
        "a b/c+d=e\"f\\g&h<i'Ã©ð\u{9f}\u{94}\u{91}",
    ] {
        assert!(
            encodings.iter().any(|found| found == encoding),
            "{encoding} of {encodings:#?}"
        );
    }
}

#[test]
fn buffers_do_not_grow() {
    for secret in [
        "sixteen-bytes-12",
        "£££££££££££££££",
        "\u{1f511}\u{1f511}\u{1f511}\u{1f511}",
    ] {
        for encoding in encodings_of(secret.as_bytes()) {
            assert!(
                encoding.capacity() <= secret.len() * 2 * 6 * 3 / 2,
                "{}",
                encoding.capacity()
            );
        }
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_searched_for_unchanged_and_as_latin_1() {
    let secret = [b"0123456789abcde".as_slice(), &[0xe9]].concat();
    let encodings = encodings_of(&secret);
    let has = |bytes: &[u8]| {
        encodings
            .iter()
            .any(|encoding| encoding.as_slice() == bytes)
    };
    assert!(has(&secret));
    assert!(has("0123456789abcdeé".as_bytes()));
    assert!(has(br"0123456789abcde\u00e9"));
}

#[test]
fn hexadecimal_digits_and_uuids_have_two_cases_and_may_have_dashes() {
    // F-210
    let dashed = "0b5e2c1a-9f3d-4a77-8c21-d0e4f6a7b8c9";
    let bare = dashed.replace('-', "");
    let upper = dashed.to_uppercase();
    for secret in [dashed, &bare, &upper] {
        let encodings = encoding_texts(secret.as_bytes());
        for encoding in [dashed, &bare, &upper, &bare.to_uppercase()] {
            assert!(
                encodings.iter().any(|found| found == encoding),
                "{encoding}"
            );
        }
    }
    let key = encoding_texts(b"00ff00ff00ff00ffab");
    assert!(key.contains(&"00FF00FF00FF00FFAB".to_owned()), "{key:?}");
}

#[test]
fn only_what_is_not_ascii_has_wide_encodings() {
    // F-204
    assert!(wide_encodings_of(b"sixteen-bytes-12").is_empty());
    let secret = "0123456789abcdeé";
    let little: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide = wide_encodings_of(secret.as_bytes());
    assert_eq!(wide.len(), 4);
    assert!(wide.iter().any(|encoding| **encoding == little));
}
