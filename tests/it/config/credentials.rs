//! Faults in credentials, each with its number in the catalogue.

use super::world::{World, connection, loads, only_error, refuses, refuses_auth, refuses_http};

#[test]
fn one_auth_kind() {
    // F-6
    let both = connection(&[("bearer_token", "{token: {env: A}}")]);
    let world = World::new().file("a.yaml", both).variable("A", "t");
    let found = world.errors();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, "auth_several");
    assert!(
        found[0].message.contains("exactly one"),
        "{}",
        found[0].message
    );
    assert!(
        found[0].message.contains("`bearer_token` and `no_auth`"),
        "{}",
        found[0].message
    );
    refuses(
        &connection(&[("no_auth", "-")]),
        "auth_missing",
        "connection_details.http",
    );
    refuses_http("no_auth", "", "no_value");
    refuses_auth("bearer_tokn", "{token: x}", "unknown_field", "bearer_tokn");
    let world = World::new().file("a.yaml", connection(&[("no_auth", "-"), ("api_key", "{}")]));
    let codes: Vec<&str> = world.errors().iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["auth_missing", "unknown_field"]);
}

#[test]
fn static_headers() {
    refuses_auth(
        "static_headers",
        "{headers: {}}",
        "empty",
        "static_headers.headers",
    );
    refuses_auth(
        "static_headers",
        "{}",
        "missing_field",
        "static_headers.headers",
    );
    refuses_auth(
        "static_headers",
        "{headers: {Host: a}}",
        "reserved_header",
        "static_headers.headers.Host",
    );
    refuses_auth(
        "static_headers",
        "{headers: {X-A: a, x-a: b}}",
        "duplicate_header",
        "static_headers.headers.x-a",
    );
    refuses_auth(
        "static_headers",
        "{headers: {'X A': b}}",
        "invalid_header",
        "static_headers.headers",
    );
    loads(&connection(&[
        ("no_auth", "-"),
        (
            "static_headers",
            "{headers: {Authorization: Bearer a, Cookie: b}}",
        ),
    ]));
}

#[test]
fn secrets() {
    let file = |content: &[u8]| {
        let text = connection(&[("no_auth", "-"), ("bearer_token", "{token: {file: token}}")]);
        World::new().file("a.yaml", text).file("token", content)
    };
    // F-14
    for good in [&b"abc\n"[..], b"abc\r\n", b"abc\n\n"] {
        assert!(file(good).errors().is_empty(), "{good:?}");
    }
    for bad in [&b"a\0b"[..], b"a\nb\n", b"\n", b"\r\n", b" abc", b"abc "] {
        let found = file(bad).errors();
        assert_eq!(found.len(), 1, "{bad:?}: {found:?}");
        assert_eq!(found[0].code, "invalid_secret", "{bad:?}");
    }
    // F-15
    let basic = |name: &str| format!("{{username: {name}, password: p}}");
    refuses_auth(
        "basic_auth",
        &basic("'a:b'"),
        "invalid_username",
        "basic_auth.username",
    );
    refuses_auth(
        "basic_auth",
        &basic(r#""a\u0001""#),
        "invalid_secret",
        "basic_auth.username",
    );
    refuses_http("webhook_signing_secret", "''", "invalid_secret");
    let world = World::new().file("a.yaml", connection(&[("webhook_signing_secret", "short")]));
    assert!(world.errors().is_empty());
    let codes: Vec<&str> = world.warnings().iter().map(|w| w.code).collect();
    assert_eq!(codes, ["secret_inline", "short_secret"]);
}

#[test]
fn a_basic_password_may_be_empty_if_it_is_written_so() {
    // F-252
    let basic = |password: &str| {
        let pair = format!("{{username: {{env: KEY}}, password: {password}}}");
        let text = connection(&[("no_auth", "-"), ("basic_auth", &pair)]);
        let world = World::new().file("a.yaml", text).file("empty", "\n");
        world.variable("KEY", "sk_live").variable("EMPTY", "")
    };
    let world = basic("''");
    assert!(world.errors().is_empty(), "{:?}", world.errors());
    assert!(world.warnings().is_empty(), "{:?}", world.warnings());
    for forgotten in ["{env: EMPTY}", "{file: empty}"] {
        let found = basic(forgotten).errors();
        assert_eq!(found.len(), 1, "{forgotten}: {found:?}");
        assert_eq!(found[0].code, "invalid_secret", "{forgotten}");
    }
    assert_eq!(basic("").errors()[0].code, "no_value");
    let empty = |name: &str| format!("{{username: {name}, password: ''}}");
    refuses_auth(
        "basic_auth",
        &empty("''"),
        "invalid_secret",
        "basic_auth.username",
    );
}

#[test]
fn the_remedy_for_a_missing_secret_file_is_to_write_it() {
    let own = World::new().file("egressd.yaml", "").file(
        "connections/crm.yaml",
        connection(&[
            (
                "bearer_token",
                "{token: {file: ../secrets/crm-token-for-the-agents}}",
            ),
            ("no_auth", "-"),
        ]),
    );
    let problem = only_error(&own);
    assert!(
        problem
            .message
            .contains("secrets/crm-token-for-the-agents`"),
        "{}",
        problem.message
    );
    assert!(
        problem
            .remedy
            .starts_with("write the secret into this file; "),
        "{}",
        problem.remedy
    );
    let definition = "connector: openai\nconnection_details:\n  http:\n    allowed_routes: [GET /v1/models]\n    \
                      bearer_token: {token: {file: ../secrets/openai-token}}\n";
    let known = World::new()
        .file("egressd.yaml", "")
        .file("connections/openai.yaml", definition);
    let config = known.path("egressd.yaml");
    let remedy = format!(
        "write the secret into this file, or run `egressd login --config {} openai`",
        config.display()
    );
    assert_eq!(only_error(&known).remedy, remedy);
}

#[test]
fn secret_references() {
    // F-17
    let token = |reference: &str| {
        connection(&[
            ("no_auth", "-"),
            ("bearer_token", &format!("{{token: {reference}}}")),
        ])
    };
    let cases = [
        ("{file: nowhere}", "secret_missing", "token.file"),
        ("{file: .}", "secret_missing", "token.file"),
        ("{file: big}", "secret_missing", "token.file"),
        ("{file: empty}", "invalid_secret", "token.file"),
        ("{env: NOWHERE}", "secret_missing", "token.env"),
        ("{env: EMPTY}", "invalid_secret", "token.env"),
        ("{env: 'A B'}", "secret_reference", "token.env"),
        ("{env: A, file: b}", "secret_reference", "token"),
        ("{}", "secret_reference", "token"),
        ("{env: }", "no_value", "token.env"),
        ("{path: x, env: A}", "unknown_field", "token"),
        ("12345", "wrong_type", "token"),
        ("[a]", "wrong_type", "token"),
        ("", "no_value", "token"),
    ];
    for (reference, code, field) in cases {
        let world = World::new()
            .file("a.yaml", token(reference))
            .file("big", vec![b'a'; 65_537])
            .file("empty", "")
            .variable("A", "value")
            .variable("EMPTY", "");
        let found = world.errors();
        assert_eq!(found.len(), 1, "{reference}: {found:#?}");
        let field = format!("connection_details.http.bearer_token.{field}");
        assert_eq!(
            (found[0].code, &found[0].field),
            (code, &field),
            "{reference}"
        );
    }
}

#[test]
fn a_world_readable_secret_file_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let text = connection(&[("no_auth", "-"), ("bearer_token", "{token: {file: token}}")]);
    let world = World::new().file("a.yaml", text).file("token", "abc");
    for (mode, warnings) in [(0o604, 1), (0o640, 0)] {
        std::fs::set_permissions(world.path("token"), std::fs::Permissions::from_mode(mode))
            .unwrap();
        assert_eq!(world.warnings().len(), warnings, "{mode:o}"); // F-17
    }
}

#[test]
fn oauth() {
    // F-16
    for name in ["grant_type", "client_id", "client_secret", "scope"] {
        let oauth = format!(
            "{{token_url: https://h/t, client_id: a, client_secret: b, extra_params: {{{name}: x}}}}"
        );
        refuses_auth(
            "oauth_client_credentials",
            &oauth,
            "reserved_parameter",
            &format!("oauth_client_credentials.extra_params.{name}"),
        );
    }
    refuses_auth(
        "oauth_client_credentials",
        "{token_url: https://h/t, client_id: a, client_secret: b, client_auth: post}",
        "unknown_value",
        "oauth_client_credentials.client_auth",
    );
    let good = "{token_url: https://h/t, client_id: a, client_secret: b, scopes: a b, client_auth: basic, extra_params: {audience: https://a}}";
    let world = World::new().file(
        "a.yaml",
        connection(&[("no_auth", "-"), ("oauth_client_credentials", good)]),
    );
    assert!(world.errors().is_empty());
    let codes: Vec<&str> = world.warnings().iter().map(|w| w.code).collect();
    assert_eq!(codes, ["secret_inline"; 2]);
}

#[test]
fn grant_types_and_queries_of_token_urls() {
    // F-249
    let oauth = |url: &str, more: &str| {
        format!("{{token_url: '{url}', client_id: a, client_secret: b{more}}}")
    };
    for (url, grant) in [
        ("https://h/t?p=b2c_1_x", ""),
        (
            "https://h/t",
            ", grant_type: account_credentials, extra_params: {account_id: x}",
        ),
        (
            "https://h/t?account_id=x",
            ", grant_type: account_credentials",
        ),
        (
            "https://h/t",
            ", grantType: 'urn:ietf:params:oauth:grant-type:jwt-bearer'",
        ),
    ] {
        let oauth = oauth(url, grant);
        loads(&connection(&[
            ("no_auth", "-"),
            ("oauth_client_credentials", &oauth),
        ]));
    }
    for grant in [
        "''",
        "a b",
        "'ä'",
        "password",
        "refresh_token",
        "authorization_code",
        "implicit",
    ] {
        refuses_auth(
            "oauth_client_credentials",
            &oauth("https://h/t", &format!(", grant_type: {grant}")),
            "invalid_grant_type",
            "oauth_client_credentials.grant_type",
        );
    }
    for query in [
        "grant_type=x",
        "a=b&client%5fid=x",
        "client_secret=canary",
        "scope",
    ] {
        let oauth = oauth(&format!("https://h/t?{query}"), "");
        let auth = [("no_auth", "-"), ("oauth_client_credentials", &*oauth)];
        let errors = World::new().file("a.yaml", connection(&auth)).errors();
        let [error] = errors.as_slice() else {
            panic!("one error: {errors:?}")
        };
        assert_eq!(error.code, "reserved_parameter", "{query}");
        assert!(error.field.ends_with("token_url"), "{}", error.field);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn client_credentials_are_text() {
    let secret = "{token_url: https://h/t, client_id: a, client_secret: {file: secret}}";
    let world = World::new()
        .file(
            "a.yaml",
            connection(&[("no_auth", "-"), ("oauth_client_credentials", secret)]),
        )
        .file("secret", b"p\xffq");
    let errors = world.errors();
    let [error] = errors.as_slice() else {
        panic!("one error: {errors:?}")
    };
    assert_eq!(error.code, "invalid_secret");
    assert!(error.field.ends_with("client_secret"), "{}", error.field);
}

#[test]
fn token_urls_are_checked_too() {
    let oauth = "{token_url: https://10.1.2.3/t, client_id: a, client_secret: b}";
    let field = "oauth_client_credentials.token_url";
    refuses_auth(
        "oauth_client_credentials",
        oauth,
        "forbidden_address",
        field,
    );
    loads(&connection(&[
        ("no_auth", "-"),
        ("oauth_client_credentials", oauth),
        ("allowed_private_cidrs", "[10.0.0.0/8]"),
    ]));
}

#[test]
fn a_guessable_password_is_a_warning() {
    // F-215
    let warned = |fields: &[(&str, &str)]| {
        let fields = [&[("no_auth", "-")], fields].concat();
        let world = World::new().file("a.yaml", connection(&fields));
        let world = world.variable("SHORT", "123456");
        let world = world.variable("LONG", "correct-horse-battery");
        // agent:123456 and sk_live_0123456789:x
        let world = world.variable("PAIR", "Basic YWdlbnQ6MTIzNDU2");
        let world = world.variable("KEY", "Basic c2tfbGl2ZV8wMTIzNDU2Nzg5Ong=");
        let world = world.variable("NAME", "sk_live_0123456789");
        let world = world.variable("NAMED", "user-name-long:123456");
        let found = world.warnings();
        assert!(world.errors().is_empty());
        found
            .into_iter()
            .filter(|warning| warning.code == "guessable_password")
            .map(|warning| {
                assert!(!warning.message.contains("123456"), "{}", warning.message);
                warning.field
            })
            .collect::<Vec<_>>()
    };
    let http = "connection_details.http";
    let basic = |name: &str, password: &str| {
        let pair = format!("{{username: {{env: {name}}}, password: {{env: {password}}}}}");
        warned(&[("basic_auth", &pair)])
    };
    assert_eq!(basic("SHORT", "SHORT"), [format!("{http}.basic_auth")]);
    assert!(basic("SHORT", "LONG").is_empty());
    // Responses are searched for the user name, so every guess of the password is refused in the
    // same way.
    assert!(basic("NAME", "SHORT").is_empty());
    let fixed = |name: &str| {
        let headers = format!("{{headers: {{Authorization: {{env: {name}}}}}}}");
        warned(&[("static_headers", &headers)])
    };
    assert_eq!(fixed("PAIR"), [format!("{http}.static_headers")]);
    assert!(fixed("KEY").is_empty());
    assert_eq!(fixed("NAMED"), [format!("{http}.static_headers")]);
}

#[test]
fn the_warning_about_a_password_names_the_consequence() {
    // F-215: responses are not searched for a pair of fewer than 7 bytes.
    for (name, password, expected) in [
        ("a", "12345", "closes the connection"),
        ("a", "1234", "responses are not searched"),
    ] {
        let pair = format!("{{username: {name}, password: {password:?}}}");
        let fields = [("no_auth", "-"), ("basic_auth", pair.as_str())];
        let world = World::new().file("a.yaml", connection(&fields));
        let warnings = world.warnings();
        let warning = warnings.iter().find(|w| w.code == "guessable_password");
        let message = &warning.expect("a warning").message;
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_static_header_may_be_public() {
    // F-216
    let headers = |value: &str| {
        let headers = format!("{{headers: {{X-Org-Id: {value}}}}}");
        connection(&[("no_auth", "-"), ("static_headers", &headers)])
    };
    let warnings = |value: &str| {
        let world = World::new().file("a.yaml", headers(value));
        let world = world.variable("ORG", "org-0123456789");
        assert!(world.errors().is_empty(), "{value}");
        let codes = world.warnings().into_iter().map(|warning| warning.code);
        codes.collect::<Vec<_>>()
    };
    assert_eq!(warnings("org-0123456789"), ["secret_inline"]);
    assert_eq!(warnings("{value: org-0123456789}"), ["secret_inline"]);
    for value in [
        "{value: org-0123456789, secret: false}",
        "{value: {env: ORG}, secret: false}",
        "{value: {env: ORG}, secret: true}",
        "{env: ORG}",
    ] {
        assert!(warnings(value).is_empty(), "{value}");
    }
    let at = "connection_details.http.static_headers.headers.X-Org-Id";
    for (value, code, field) in [
        ("{secret: false}", "missing_field", format!("{at}.value")),
        (
            "{value: a, secret: 1}",
            "wrong_type",
            format!("{at}.secret"),
        ),
        (
            "{value: a, secrt: false}",
            "unknown_field",
            format!("{at}.secrt"),
        ),
    ] {
        refuses(&headers(value), code, &field);
    }
}
