//! `oauth_user_consent`: the rules of its fields, and grants that connections share.

use egressd::cli::Exit;
use egressd::config::Loaded;
use egressd::domain::auth::{ConsentClientAuth, RedirectUri, Rotation};
use serde_json::Value;

use super::world::{World, consent_parameters, only_error};

const BLOCK: &[(&str, &str)] = &[
    ("client_id", "{env: CLIENT_ID}"),
    ("client_secret", "{env: CLIENT_SECRET}"),
    ("authorization_url", "https://id.test/authorize"),
    ("token_url", "https://id.test/token"),
];

/// Returns a definition. `fields` adds or replaces fields of the block; the value `-` removes one.
fn definition(fields: &[(&str, &str)]) -> String {
    let mut block = BLOCK.to_vec();
    for (name, value) in fields {
        block.retain(|(known, _)| known != name);
        if *value != "-" {
            block.push((name, value));
        }
    }
    let mut text = "connection_details:\n  http:\n    base_url: https://api.test\n    \
                    allowed_routes: [GET /user]\n    oauth_user_consent:\n"
        .to_owned();
    for (name, value) in block {
        text.push_str(&format!("      {name}: {value}\n"));
    }
    text
}

fn world(definitions: &[(&str, String)]) -> World {
    let world = World::new()
        .file("egressd.yaml", "")
        .variable("CLIENT_ID", "the-client-id")
        .variable("CLIENT_SECRET", "the-client-secret")
        .variable("SEED", "the-refresh-token");
    definitions.iter().fold(world, |world, (id, text)| {
        world.file(&format!("connections/{id}.yaml"), text)
    })
}

fn one(fields: &[(&str, &str)]) -> World {
    world(&[("github", definition(fields))])
}

#[track_caller]
fn loaded(world: &World) -> Loaded {
    world.load().unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn defaults() {
    let loaded = loaded(&one(&[]));
    let parameters = consent_parameters(&loaded, 0);
    assert_eq!(parameters.grant.as_str(), "github");
    assert_eq!(parameters.client_auth, None);
    assert_eq!(parameters.scopes, None);
    assert_eq!(parameters.scope_separator, ' ');
    assert_eq!(
        parameters.endpoints.refresh_url,
        parameters.endpoints.token_url
    );
    assert_eq!(parameters.redirect_uri, RedirectUri::default());
    assert!(parameters.has_pkce);
    assert_eq!(parameters.rotation, Rotation::SingleUse);
    assert_eq!(parameters.token_path.as_str(), "");
}

#[test]
fn every_field_is_read_in_both_spellings() {
    let fields = [
        ("client_auth", "body"),
        ("scopes", "'  read:user   repo '"),
        ("scope_separator", "','"),
        ("grant", "shared"),
        ("refresh_token", "{env: SEED}"),
        (
            "device_authorization_url",
            "https://id.test/device?tenant=a",
        ),
        ("refresh_url", "https://api.test/refresh"),
        ("revocation_url", "https://api.test/revoke"),
        ("issuer", "https://id.test/"),
        ("redirect_uri", "http://localhost:8765/callback"),
        ("pkce", "off"),
        ("token_request", "json"),
        ("authorization_params", "{prompt: consent}"),
        ("token_params", "{audience: a}"),
        ("refresh_params", "{redirect_uri: 'http://localhost'}"),
        ("token_path", "/authed_user"),
        ("refresh_token_rotation", "reusable"),
        ("identity", "{url: https://api.test/user, pointer: /login}"),
    ];
    let text = definition(&fields);
    let camel: String = text
        .lines()
        .map(|line| match line.split_once(':') {
            Some((name, value)) => format!("{}:{value}\n", super::world::camel_case(name)),
            None => format!("{line}\n"),
        })
        .collect();
    let loaded = loaded(&world(&[("a", text), ("b", camel)]));
    let (one, other) = (
        consent_parameters(&loaded, 0),
        consent_parameters(&loaded, 1),
    );
    assert_eq!(one.differing_fields(other), [""; 0]);
    assert_eq!(one.client_auth, Some(ConsentClientAuth::Body));
    assert_eq!(one.scopes.as_deref(), Some("read:user repo"));
    assert_eq!(
        one.redirect_uri.to_string(),
        "http://localhost:8765/callback"
    );
    // Both connections share a grant that starts without a login.
    let codes: Vec<_> = loaded.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["pkce_off", "pkce_off"]);
}

/// Fields of the block, and the code and the field of the only problem.
type Broken = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

const BROKEN: &[Broken] = &[
    (&[("client_id", "-")], "missing_field", "client_id"),
    (&[("token_url", "-")], "missing_field", "token_url"),
    (
        &[("authorization_url", "-")],
        "missing_field",
        "authorization_url",
    ),
    (
        &[("authorization_url", "http://id.test/")],
        "invalid_url",
        "authorization_url",
    ),
    (
        &[("token_url", "'https://id.test/#a'")],
        "invalid_url",
        "token_url",
    ),
    (
        &[("token_url", "https://10.0.0.1/")],
        "forbidden_address",
        "token_url",
    ),
    (
        &[("token_url", "https://id.test/{tenant}/token")],
        "open_placeholder",
        "token_url",
    ),
    (
        &[("authorization_url", "https://id.test/?client%5Fid=a")],
        "reserved_parameter",
        "authorization_url",
    ),
    (&[("scopes", "'a,b'")], "invalid_scopes", "scopes"),
    (&[("scopes", "' '")], "invalid_scopes", "scopes"),
    (
        &[("scope_separator", "';'")],
        "unknown_value",
        "scope_separator",
    ),
    (&[("grant", "Shared")], "invalid_id", "grant"),
    (&[("grant", "a/b")], "invalid_id", "grant"),
    (
        &[("refresh_token", "'a b'")],
        "invalid_secret",
        "refresh_token",
    ),
    (
        &[("refresh_url", "https://evil.test/")],
        "foreign_host",
        "refresh_url",
    ),
    (
        &[("revocation_url", "https://evil.test/")],
        "foreign_host",
        "revocation_url",
    ),
    (
        &[("identity", "{url: https://evil.test/, pointer: /a}")],
        "foreign_host",
        "identity.url",
    ),
    (
        &[("identity", "{url: https://api.test/}")],
        "missing_field",
        "identity",
    ),
    (
        &[("identity", "{answer: /a, pointer: /b}")],
        "identity_several",
        "identity",
    ),
    (
        &[("identity", "{answer: a}")],
        "invalid_pointer",
        "identity.answer",
    ),
    (&[("issuer", "id.test")], "invalid_issuer", "issuer"),
    (
        &[("redirect_uri", "http://id.test/")],
        "invalid_redirect_uri",
        "redirect_uri",
    ),
    (
        &[("redirect_uri", "http://localhost/done")],
        "invalid_redirect_uri",
        "redirect_uri",
    ),
    (
        &[("client_auth", "none")],
        "client_auth_with_secret",
        "client_auth",
    ),
    (
        &[("client_secret", "-"), ("client_auth", "basic")],
        "client_auth_without_secret",
        "client_auth",
    ),
    (
        &[("client_secret", "-"), ("pkce", "off")],
        "pkce_off",
        "pkce",
    ),
    (
        &[("token_request", "xml")],
        "unknown_value",
        "token_request",
    ),
    (
        &[("authorization_params", "{code_challenge: a}")],
        "reserved_parameter",
        "authorization_params.code_challenge",
    ),
    (
        &[("token_params", "{redirect_uri: a}")],
        "reserved_parameter",
        "token_params.redirect_uri",
    ),
    (
        &[("refresh_params", "{scope: a}")],
        "reserved_parameter",
        "refresh_params.scope",
    ),
    (
        &[("token_path", "/a/b/c/d")],
        "invalid_pointer",
        "token_path",
    ),
    (
        &[("refresh_token_rotation", "once")],
        "unknown_value",
        "refresh_token_rotation",
    ),
    (&[("scopess", "a")], "unknown_field", "scopess"),
];

#[test]
fn a_broken_rule_is_a_problem_of_its_field() {
    // F-301
    for (fields, code, field) in BROKEN {
        let problem = only_error(&one(fields));
        let path = format!("connection_details.http.oauth_user_consent.{field}");
        assert_eq!((problem.code, problem.field), (*code, path), "{fields:?}");
    }
}

#[test]
fn a_client_without_a_secret_is_public() {
    let loaded = loaded(&one(&[("client_secret", "-")]));
    let parameters = consent_parameters(&loaded, 0);
    assert!(parameters.client_secret.is_none());
    assert_eq!(parameters.client_auth, Some(ConsentClientAuth::None));
}

#[test]
fn a_refresh_token_alone_is_a_way_to_a_grant() {
    let loaded = loaded(&one(&[
        ("authorization_url", "-"),
        ("refresh_token", "{env: SEED}"),
    ]));
    // F-304
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
}

#[test]
fn a_grant_without_a_file_is_a_warning() {
    // F-304
    let world = one(&[("grant", "shared")]);
    let warnings = loaded(&world).warnings;
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:#?}")
    };
    assert_eq!(warning.code, "consent_missing");
    assert!(
        warning.message.contains("tokens/shared.json"),
        "{}",
        warning.message
    );
    // The command has to find the same settings.
    let config = world.path("egressd.yaml");
    let command = format!("egressd login --config {} github", config.display());
    assert_eq!(warning.remedy, format!("run `{command}`"));
    let world = world.file("tokens/shared.json", "{}");
    assert!(loaded(&world).warnings.is_empty());
}

#[test]
fn a_file_of_the_token_store_is_not_a_secret() {
    // F-256
    let files = ["../tokens/github.json", "../tokens/not-there"];
    for file in files {
        let secret = format!("{{file: {file}}}");
        let world = one(&[("client_secret", &secret)]).file("tokens/github.json", "{}");
        let problem = only_error(&world);
        assert_eq!(problem.code, "secret_not_allowed", "{file}");
        assert!(
            problem.message.contains("token store"),
            "{}",
            problem.message
        );
    }
}

/// Returns a definition of the grant `shared`.
fn shared(more: &[(&'static str, &'static str)]) -> String {
    definition(&[&[("grant", "shared")], more].concat())
}

#[test]
fn a_store_that_cannot_keep_single_use_tokens_is_a_warning_of_the_check() {
    // F-301
    let check = |world: &World| {
        let settings = world.path("egressd.yaml");
        let settings = settings.to_str().unwrap();
        let ran = world.run(&["check", "--format", "json", "--config", settings]);
        assert_eq!(ran.exit, Exit::Success, "{}", ran.out);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let problems = report["problems"].as_array().unwrap().iter();
        let codes = problems.map(|problem| problem["code"].as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>()
    };
    let world = one(&[("refresh_token", "{env: SEED}")]);
    assert_eq!(check(&world), ["token_store_missing"]);
    let world = world.file("tokens", "a file");
    assert_eq!(check(&world), ["token_store_unusable"]);
    let reusable = one(&[
        ("refresh_token", "{env: SEED}"),
        ("refresh_token_rotation", "reusable"),
    ]);
    assert!(check(&reusable).is_empty());
}

#[test]
fn connections_that_share_a_grant_must_be_equal() {
    // F-302
    let equal = world(&[("a", shared(&[])), ("b", shared(&[]))]);
    assert_eq!(loaded(&equal).connections.len(), 2);
    let other = world(&[
        ("a", shared(&[])),
        ("b", shared(&[("client_id", "other"), ("scopes", "repo")])),
    ]);
    let problem = only_error(&other);
    assert_eq!(problem.code, "grant_differs");
    assert_eq!(problem.field, "connection_details.http.oauth_user_consent");
    assert_eq!(
        problem.message,
        "the connections `a` and `b` share the grant `shared`, but differ in `client_id` and `scopes`"
    );
    assert!(problem.file.ends_with("b.yaml") && problem.line == Some(6));
    let ranges = definition(&[("grant", "shared")]).replace(
        "    oauth_user_consent",
        "    allowed_private_cidrs: [10.0.0.0/8]\n    oauth_user_consent",
    );
    let problem = only_error(&world(&[("a", shared(&[])), ("b", ranges)]));
    assert!(
        problem
            .message
            .ends_with("differ in `allowed_private_cidrs`")
    );
}

#[test]
fn a_token_store_among_the_definitions_is_a_problem() {
    // F-301
    for directory in [
        "connections",
        "connections/tokens",
        "./tokens/../connections",
    ] {
        let settings = format!("token_store: {{directory: {directory}}}");
        let world = one(&[]).file("egressd.yaml", settings);
        let problem = only_error(&world);
        assert_eq!(problem.code, "token_store_in_definitions");
        assert_eq!(problem.field, "token_store.directory");
    }
    let settings = "token_store: {directory: connections}";
    let without = World::new()
        .file("egressd.yaml", settings)
        .file("connections/a.yaml", super::world::connection(&[]));
    assert!(loaded(&without).warnings.is_empty());
}
