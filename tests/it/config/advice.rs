//! Mistakes that load and then refuse every request. Each is a warning with its own code and a
//! remedy, or an error if it cannot have any meaning.

use egressd::cli::Exit;
use egressd::config::Problem;

use super::world::{World, connection, refuses_at};

/// Returns the warnings of a valid definition.
#[track_caller]
fn warnings(fields: &[(&str, &str)]) -> Vec<Problem> {
    let world = World::new().file("a.yaml", connection(fields));
    assert!(world.errors().is_empty(), "{:?}", world.errors());
    world.warnings()
}

#[test]
fn wildcards_of_other_languages() {
    // F-257
    for (route, remedy) in [
        ("GET /users/*", "{path...}"),
        ("GET /users/**", "{path...}"),
        ("GET /users/*/orders", "{name}"),
        ("GET /users/:id", "{id}"),
        ("GET /users/<id>", "{id}"),
        ("GET /users/<int:id>", "{id}"),
        ("GET /users/$id/orders", "{id}"),
        ("/*", "{path...}"),
    ] {
        let found = warnings(&[("allowed_routes", &format!("['{route}']"))]);
        let [warning] = found.as_slice() else {
            panic!("one warning for {route}: {found:?}")
        };
        assert_eq!(warning.code, "literal_wildcard", "{route}");
        assert_eq!(warning.field, "connection_details.http.allowed_routes[0]");
        assert!(
            warning.remedy.contains(remedy),
            "{route}: {}",
            warning.remedy
        );
    }
    for route in [
        "GET /{id}",
        "GET /files/{path...}",
        "GET /v1/users:batchGet",
        "GET /a*b",
        "GET /$metadata",
        "GET /Patient/$everything",
        "GET /%3Aid",
        "GET /{$}",
    ] {
        let found = warnings(&[("allowed_routes", &format!("['{route}']"))]);
        assert!(found.is_empty(), "{route}: {found:?}");
    }
}

#[test]
fn queries_fragments_and_methods_in_another_case() {
    // F-257
    for route in [
        "GET /a?b=c",
        "/a?",
        "GET /a#b",
        "GET /a/{x}#",
        "get /a",
        "Get /a",
        "get/a",
    ] {
        let routes = format!("['{route}']");
        refuses_at(
            "allowed_routes",
            &routes,
            "invalid_route",
            "allowed_routes[0]",
        );
    }
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", "[get /a]")]));
    assert!(world.errors()[0].remedy.contains("`GET`"));
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", "['/a?b']")]));
    assert!(world.errors()[0].remedy.contains("%3F"));
}

/// Returns the codes of the warnings about a token that is given as text, in a file or in a
/// variable.
fn token_warnings(content: &[u8]) -> Vec<&'static str> {
    use std::os::unix::fs::PermissionsExt as _;
    let text = |reference| connection(&[("no_auth", "-"), ("bearer_token", reference)]);
    let world = World::new()
        .file("a.yaml", text("{token: {file: token}}"))
        .file("token", content);
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(world.path("token"), private).unwrap();
    assert!(world.errors().is_empty(), "{:?}", world.errors());
    let of_file: Vec<_> = world
        .warnings()
        .iter()
        .map(|warning| warning.code)
        .collect();
    let content = std::str::from_utf8(content).unwrap().trim_end_matches('\n');
    let world = World::new()
        .file("a.yaml", text("{token: {env: TOKEN}}"))
        .variable("TOKEN", content);
    let of_variable: Vec<_> = world
        .warnings()
        .iter()
        .map(|warning| warning.code)
        .collect();
    assert!(
        of_variable.iter().all(|code| of_file.contains(code)),
        "{of_variable:?}"
    );
    of_file
}

#[test]
fn mistakes_in_secrets() {
    // F-258
    for (content, codes) in [
        (&b"planted-token\n"[..], &[][..]),
        (b"planted-token\r\n", &["secret_line_end"]),
        (b"planted-token\n\n\n", &["secret_line_end"]),
        (b"\xef\xbb\xbfplanted-token\n", &["secret_byte_order_mark"]),
        (b"Bearer planted-token", &["token_with_scheme"]),
        (b"bearer planted-token", &["token_with_scheme"]),
        (b"Basic planted-token", &["token_with_scheme"]),
        (b"${TOKEN}", &["unexpanded_variable"]),
        (b"a-${TOKEN:-none}", &["unexpanded_variable"]),
        (b"$API_TOKEN", &["unexpanded_variable"]),
        (b"$api_token", &[]),
        (b"$API_TOKEN-and-more", &[]),
        (b"$5_and_more", &[]),
        (b"planted-$TOKEN", &[]),
        (b"bearers-of-$5-and-{x}-${", &[]),
    ] {
        assert_eq!(token_warnings(content), codes, "{content:?}");
    }
    // A scheme that is part of the value is not warned about.
    let whole = "{headers: {Authorization: Bearer planted-token}}";
    let found = warnings(&[("no_auth", "-"), ("static_headers", whole)]);
    let codes: Vec<&str> = found.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["secret_inline"]);
}

#[test]
fn warnings_about_secrets_describe_what_was_found() {
    let warning = |content: &str| {
        let token = "{token: {env: TOKEN}}";
        let definition = connection(&[("no_auth", "-"), ("bearer_token", token)]);
        let world = World::new().file("a.yaml", definition);
        world
            .variable("TOKEN", content)
            .warnings()
            .remove(0)
            .message
    };
    let variable = "the environment variable `TOKEN`";
    for (content, message) in [
        (
            "$API_TOKEN",
            "contains text like `$NAME`, which is sent unchanged",
        ),
        (
            "${API_TOKEN}",
            "contains text like `${NAME}`, which is sent unchanged",
        ),
        (
            "planted-token\n",
            "ends with a carriage return or several line feeds, which are removed",
        ),
        (
            "\u{feff}planted-token",
            "begins with a byte order mark, which is removed",
        ),
    ] {
        assert_eq!(warning(content), format!("{variable} {message}"));
    }
}

#[test]
fn credentials_among_the_plain_headers() {
    // F-258
    for name in [
        "X-Api-Key",
        "x_api_key",
        "PRIVATE-TOKEN",
        "X-Our-Access-Token",
    ] {
        let found = warnings(&[("headers", &format!("{{{name}: planted-key}}"))]);
        let [warning] = found.as_slice() else {
            panic!("one warning for {name}: {found:?}")
        };
        assert_eq!(warning.code, "credential_in_headers", "{name}");
        assert!(warning.remedy.contains("static_headers"));
        assert!(!format!("{warning:?}").contains("planted"), "{warning:?}");
    }
    for name in ["X-Tenant-ID", "X-Auth-Email", "X-User-Id", "Accept"] {
        let found = warnings(&[("headers", &format!("{{{name}: a}}"))]);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    let whole = "{headers: {X-Api-Key: {env: KEY}}}";
    let world = World::new()
        .file(
            "a.yaml",
            connection(&[("no_auth", "-"), ("static_headers", whole)]),
        )
        .variable("KEY", "planted-key-0123456789");
    assert!(world.warnings().is_empty(), "{:?}", world.warnings());
}

#[test]
fn names_of_this_machine() {
    // F-259
    for name in [
        "localhost",
        "api.localhost",
        "localhost:8443",
        "ip6-localhost",
    ] {
        let url = format!("https://{name}");
        let found = warnings(&[("base_url", &url)]);
        let [warning] = found.as_slice() else {
            panic!("one warning for {name}: {found:?}")
        };
        assert_eq!(warning.code, "loopback_name");
        assert!(warning.remedy.contains("allowed_private_cidrs"));
        for cidr in ["127.0.0.0/8", "'::1/128'"] {
            let cidrs = format!("[{cidr}]");
            let found = warnings(&[("base_url", &url), ("allowed_private_cidrs", &cidrs)]);
            assert!(found.is_empty(), "{found:?}");
        }
    }
    assert!(warnings(&[("base_url", "https://localhost.example.com")]).is_empty());
}

#[test]
fn a_warning_is_shown_and_does_not_fail_the_check() {
    // F-257
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", "['GET /:id']")]));
    let ran = world.check(&["--format", "json"]);
    assert_eq!(ran.exit, Exit::Success);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let warning = &report["problems"][0];
    assert_eq!(
        (&warning["severity"], &warning["code"], &warning["line"]),
        (&"warning".into(), &"literal_wildcard".into(), &5.into())
    );
}
