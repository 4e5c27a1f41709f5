//! The parts of a header that are searched for, and the parts that can be guessed.

use super::parts_of_header;

/// Returns the texts to search for. In a text that can be guessed, `?` marks the beginning of the
/// unknown part.
fn parts(value: &str) -> Vec<String> {
    let text = |part: super::SecretPart| {
        let mut text = String::from_utf8(part.text.to_vec()).unwrap();
        if let Some(known) = part.guessable_after {
            text.insert(known, '?');
        }
        text
    };
    parts_of_header(value.as_bytes())
        .into_iter()
        .map(text)
        .collect()
}

#[test]
fn parts_are_what_a_server_has_parsed() {
    // F-208, F-209
    for (value, expected) in [
        ("key-0123456789abcdef", &["key-0123456789abcdef"][..]),
        ("Token other-0123456789ab", &["other-0123456789ab"]),
        (
            "Token token=\"named-0123456789/abcdef==\"",
            &["named-0123456789/abcdef", "named-0123456789"],
        ),
        (
            "a=first-0123456789abc; b=second-0123456789ab; theme=dark",
            &["first-0123456789abc", "second-0123456789ab"],
        ),
        (
            "sid=s%3Azxcvbnm1asdfghjkl",
            &[
                "s%3Azxcvbnm1asdfghjkl",
                "s:zxcvbnm1asdfghjkl",
                "zxcvbnm1asdfghjkl",
            ],
        ),
        ("Token short-secret", &["Token ?short-secret"]),
        // user:123456
        (
            "Basic YWdlbnQ6MTIzNDU2Nw==",
            &["YWdlbnQ6?MTIzNDU2Nw", "agent:?1234567"],
        ),
        // sk_live_0123456789:x
        (
            "basic c2tfbGl2ZV8wMTIzNDU2Nzg5Ong=",
            &["sk_live_0123456789", "c2tfbGl2ZV8wMTIzNDU2Nzg5"],
        ),
        // Aladdin:open sesame
        (
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            &["QWxhZGRpbj?pvcGVuIHNlc2FtZQ", "Aladdin:?open sesame"],
        ),
    ] {
        assert_eq!(parts(value), expected, "{value}");
    }
}

#[test]
fn a_pair_too_short_to_be_found_alone_is_found_with_its_scheme() {
    // F-215
    assert_eq!(
        parts("Basic dXNlcjpwdzE="),
        ["dXNlcj?pwdzE", "user:?pw1", "Basic dXNlcj?pwdzE"]
    );
    // An empty password: the user name is the key.
    assert_eq!(parts("Basic a2V5MTI6"), ["?a2V5MTI6", "?key12:"]);
}

#[test]
fn a_value_is_split_where_servers_split_it() {
    // F-208
    let key = "SECRET0123456789abcdef";
    for (value, expected) in [
        (
            "key:SECRET0123456789abcdef",
            &["key:SECRET0123456789abcdef", key][..],
        ),
        (
            "id|SECRET0123456789abcdef",
            &["id|SECRET0123456789abcdef", key],
        ),
        (
            "Key key/SECRET0123456789abcdef==",
            &["key/SECRET0123456789abcdef", key],
        ),
        (
            "'SECRET0123456789abcdef'",
            &["'SECRET0123456789abcdef'", key],
        ),
        (
            r#"{"client_email_address":"SECRET0123456789abcdef","auth_uri":"https://accounts.example.com/o","n":[1,"x"]}"#,
            &[
                r#"{"client_email_address":"SECRET0123456789abcdef","auth_uri":"https://accounts.example.com/o","n":[1,"x"]}"#,
                key,
            ],
        ),
        // VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw
        (
            "ApiKey VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==",
            &[
                "VuaCfGcBCdbkQm-e5aOx",
                "ui2lp2axTNmsyakw9tvNnw",
                "VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw",
            ],
        ),
        // Public parts.
        ("service.example.com:8443", &["service.example.com:8443"]),
        (
            "role/application-administrator",
            &["role/application-administrator"],
        ),
        (
            "https://hooks.example.com/Services/0123456789abcdef",
            &["https://hooks.example.com/Services/0123456789abcdef"],
        ),
    ] {
        assert_eq!(parts(value), expected, "{value}");
    }
}

#[test]
fn a_short_key_behind_a_name_can_be_guessed() {
    // F-215
    for (value, expected) in [
        ("user-name-long:123456", "user-name-long:?123456"),
        ("Key user-name-long|123456", "user-name-long|?123456"),
    ] {
        assert_eq!(parts(value), [expected], "{value}");
    }
    // A key of the same length has no such parts.
    assert_eq!(parts("wJalrX/K7MDENG/bPxRfi"), ["wJalrX/K7MDENG/bPxRfi"]);
}
