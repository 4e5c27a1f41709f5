//! Connectors: what a definition takes from one, `egressd connectors`, and directories of
//! connectors.

use egressd::cli::Exit;
use egressd::config::Loaded;
use serde_json::Value;

use super::world::{World, consent_parameters, only_error};

const GITHUB: &str = "\
connector: github
connection_details:
  http:
    allowed_routes: [GET /user]
    oauth_user_consent:
      client_id: {env: CLIENT_ID}
      client_secret: {env: CLIENT_SECRET}
";

fn world(definition: &str) -> World {
    World::new()
        .file("egressd.yaml", "")
        .file("connections/api.yaml", definition)
        .file("tokens/api.json", "{}")
        .variable("CLIENT_ID", "the-client-id")
        .variable("CLIENT_SECRET", "the-client-secret")
}

#[track_caller]
fn loaded(world: &World) -> Loaded {
    let loaded = world.load().unwrap_or_else(|found| panic!("{found:#?}"));
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    loaded
}

#[test]
fn a_definition_takes_what_it_lacks() {
    let loaded = loaded(&world(GITHUB));
    let connection = &loaded.connections[0];
    assert_eq!(connection.connector.as_ref().unwrap().as_str(), "github");
    assert_eq!(connection.base_url.to_string(), "https://api.github.com");
    assert_eq!(connection.headers[0].name, "x-github-api-version");
    let parameters = consent_parameters(&loaded, 0);
    let token_url = parameters.endpoints.token_url.to_string();
    assert_eq!(token_url, "https://github.com/login/oauth/access_token");
    assert_eq!(
        parameters.provider.select_account_params,
        [("prompt".to_owned(), "select_account".to_owned())]
    );
    assert!(parameters.provider.revoke_page.is_some());
    // A connector supplies neither scopes nor routes.
    assert_eq!(parameters.scopes, None);
    assert_eq!(connection.routes.patterns().len(), 1);
    assert_eq!(connection.display_name, "api");
}

#[test]
fn a_field_of_the_definition_replaces_that_of_the_connector_as_a_whole() {
    let text = GITHUB.replace(
        "    allowed_routes",
        "    base_url: https://github.example.com/api/v3\n    headers: {X-A: b}\n    allowed_routes",
    ) + "      authorization_url: https://github.example.com/authorize\n      \
         refresh_token_rotation: reusable\n      identity: {answer: /login}\n";
    let loaded = loaded(&world(&text));
    let connection = &loaded.connections[0];
    assert_eq!(
        connection.base_url.to_string(),
        "https://github.example.com/api/v3"
    );
    let names: Vec<_> = connection.headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["x-a"]);
    let parameters = consent_parameters(&loaded, 0);
    let authorization = parameters.endpoints.authorization_url.as_ref().unwrap();
    assert_eq!(
        authorization.to_string(),
        "https://github.example.com/authorize"
    );
    assert_eq!(
        parameters.endpoints.token_url.to_string(),
        "https://github.com/login/oauth/access_token"
    );
    assert!(format!("{:?}", parameters.identity).contains("Answer"));
    assert!(format!("{:?}", parameters.rotation).contains("Reusable"));
}

#[test]
fn a_connector_is_used_with_another_credential_too() {
    let text = "connector: github\nconnection_details:\n  http:\n    allowed_routes: [GET /user]\n    bearer_token: {token: {env: CLIENT_SECRET}}\n";
    let loaded = loaded(&world(text));
    assert_eq!(loaded.connections[0].auth.kind(), "bearer_token");
    assert_eq!(loaded.connections[0].base_url.authority(), "api.github.com");
}

#[test]
fn the_method_of_a_connector_does_not_bind_a_public_client() {
    let text = GITHUB.replace("      client_secret: {env: CLIENT_SECRET}\n", "");
    let loaded = loaded(&world(&text));
    assert_eq!(
        consent_parameters(&loaded, 0).client_auth.unwrap().as_str(),
        "none"
    );
}

#[test]
fn an_unknown_connector_is_a_problem() {
    // F-301
    let problem = only_error(&world(&GITHUB.replace("github", "githb")));
    assert_eq!(
        (problem.code, &*problem.field),
        ("unknown_connector", "connector")
    );
    assert!(
        problem.message.contains("did you mean `github`?"),
        "{}",
        problem.message
    );
    let problem = only_error(&world(&GITHUB.replace("github", "{a: b}")));
    assert_eq!((problem.code, &*problem.field), ("wrong_type", "connector"));
}

#[test]
fn a_placeholder_without_a_value_is_a_problem() {
    // F-301
    let salesforce = GITHUB.replace("github", "salesforce");
    let problem = only_error(&world(&salesforce));
    assert_eq!(problem.code, "open_placeholder");
    assert_eq!(problem.field, "connection_details.http.base_url");
    assert!(
        problem.message.contains("{instance}"),
        "{}",
        problem.message
    );
    assert!(
        problem.remedy.contains("--set instance="),
        "{}",
        problem.remedy
    );
    assert_eq!(problem.line, Some(1));
    let own = salesforce.replace(
        "    allowed_routes",
        "    base_url: https://acme.my.salesforce.com\n    allowed_routes",
    );
    loaded(&world(&own));
    let slack = only_error(&world(&GITHUB.replace("github", "slack")));
    assert_eq!(
        slack.field,
        "connection_details.http.oauth_user_consent.redirect_uri"
    );
    // A placeholder with a default needs no value.
    let microsoft = loaded(&world(&GITHUB.replace("github", "microsoft")));
    let token_url = consent_parameters(&microsoft, 0)
        .endpoints
        .token_url
        .to_string();
    assert_eq!(
        token_url,
        "https://login.microsoftonline.com/common/oauth2/v2.0/token"
    );
}

/// A connector of the operator: the one of GitHub with this many routes and another base URL.
fn own_github(routes: &str) -> String {
    format!(
        "slug: github\ndisplay_name: Own\nauth_type: oauth\nchecked: 2026-11-30\n\
         docs: https://id.test/docs\nbase_url: https://own.test\noauth_user_consent:\n  \
         authorization_url: https://id.test/a\n  token_url: https://id.test/t\n  \
         refresh_url: https://elsewhere.test/t\nroutes: {{read: {routes}}}\n"
    )
}

#[test]
fn a_directory_replaces_a_built_in_connector() {
    let world = world(GITHUB)
        .file("egressd.yaml", "connectors: [catalogue]")
        .file("catalogue/github.yaml", own_github("[GET /user]"));
    let loaded = world.load().unwrap_or_else(|found| panic!("{found:#?}"));
    let codes: Vec<_> = loaded.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["connector_replaced"]);
    assert_eq!(loaded.connections[0].base_url.authority(), "own.test");
    // Unlike a definition, a connector may name a third host.
    let refresh_url = &consent_parameters(&loaded, 0).endpoints.refresh_url;
    assert_eq!(refresh_url.authority(), "elsewhere.test");
    let world = world.file("catalogue/github.yaml", "slug: github");
    let found = world.load().err().unwrap();
    // The definition is not blamed for the mistake of its connector.
    assert!(
        found.iter().all(|p| p.file.ends_with("github.yaml")),
        "{found:#?}"
    );
}

#[test]
fn a_directory_of_connectors_that_does_not_exist_is_a_problem() {
    let world = world(GITHUB).file("egressd.yaml", "connectors: [none]");
    assert_eq!(only_error(&world).code, "file_unreadable");
}

#[test]
fn a_reload_reads_the_files_again_and_keeps_the_directories() {
    let mut world = world(GITHUB)
        .file("egressd.yaml", "connectors: [catalogue]")
        .file("catalogue/github.yaml", own_github("[GET /user]"));
    let first = world.load().unwrap_or_else(|found| panic!("{found:#?}"));
    let startup = first.settings.startup_settings();
    world.overrides.connectors = Some(first.settings.connectors.clone());
    let changed = own_github("[GET /user]").replace("own.test", "moved.test");
    let world = world
        .file("egressd.yaml", "connectors: []")
        .file("catalogue/github.yaml", changed);
    assert_eq!(first.sources.has_changed(), Ok(true));
    let second = world.load().unwrap_or_else(|found| panic!("{found:#?}"));
    let fields = first.connections[0].changed_fields(&second.connections[0]);
    assert_eq!(fields, ["base_url"]);
    assert_eq!(second.connections[0].base_url.authority(), "moved.test");
    let different = startup.differences(&second.settings.startup_settings());
    assert_eq!(different, ["connectors"]);
}

/// Runs `egressd connectors` with these arguments, and with the settings file of the world.
fn run(world: &World, arguments: &[&str]) -> super::world::Ran {
    let settings = world.path("egressd.yaml");
    let settings = ["--config", settings.to_str().unwrap()];
    world.run(&[&["connectors"], arguments, &settings].concat())
}

/// Values for the placeholders of the built-in connectors that have no default.
const VALUES: &[(&str, &str)] = &[
    ("atlassian", "cloud_id=11111111-2222-3333"),
    ("databricks", "workspace=dbc-a1.cloud.databricks.com"),
    ("salesforce", "instance=acme.my.salesforce.com"),
    ("slack", "redirect_host=callback.example.com"),
];

/// Returns the paths of the secret files that a definition names.
fn secret_files(definition: &str) -> Vec<String> {
    let parts = definition.split("{file: ../").skip(1);
    let paths = parts.map(|part| part.split('}').next().unwrap().to_owned());
    paths.collect()
}

#[test]
fn each_printed_definition_passes_the_check() {
    let listed = run(&world(GITHUB), &["--format", "json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let connectors = listed["connectors"].as_array().unwrap();
    assert_eq!(connectors.len(), 19);
    for connector in connectors {
        let slug = connector["slug"].as_str().unwrap();
        let set = VALUES.iter().find(|(known, _)| *known == slug);
        let set = set.map_or(Vec::new(), |(_, value)| vec!["--set", value]);
        let printed = run(&world(GITHUB), &[&[slug], &set[..]].concat());
        assert_eq!(printed.exit, Exit::Success, "{slug}: {}", printed.err);
        assert!(printed.err.is_empty(), "{slug}");
        // With the routes in comments, too.
        let all = printed.out.replace("      # - ", "      - ");
        for text in [&printed.out, &all] {
            let file = format!("connections/{slug}.yaml");
            let token = format!("tokens/{slug}.json");
            let mut world = World::new()
                .file("egressd.yaml", "")
                .file(&file, text)
                .file(&token, "{}");
            for path in secret_files(text) {
                world = world.file(&path, "0123456789abcdef");
                std::fs::set_permissions(
                    world.path(&path),
                    std::os::unix::fs::PermissionsExt::from_mode(0o600),
                )
                .unwrap();
            }
            let loaded = loaded(&world);
            let connection = &loaded.connections[0];
            assert_eq!(connection.connector.as_ref().unwrap().as_str(), slug);
            assert!(!connection.routes.patterns().is_empty());
        }
    }
}

#[test]
fn a_printed_definition_keeps_its_routes_when_the_connector_has_more() {
    let world = world(GITHUB).file("egressd.yaml", "connectors: [catalogue]");
    let older = world.file("catalogue/github.yaml", own_github("[GET /user]"));
    let printed = run(&older, &["github"]).out;
    assert!(printed.contains("- GET /user\n"), "{printed}");
    let newer = older
        .file(
            "catalogue/github.yaml",
            own_github("[GET /user, GET /repos, GET /]"),
        )
        .file(
            "connections/api.yaml",
            printed
                .replace("file: ../secrets/github-client-id", "env: CLIENT_ID")
                .replace(
                    "file: ../secrets/github-client-secret",
                    "env: CLIENT_SECRET",
                ),
        );
    let loaded = newer.load().unwrap_or_else(|found| panic!("{found:#?}"));
    let routes: Vec<_> = loaded.connections[0]
        .routes
        .patterns()
        .iter()
        .map(|route| route.as_str().to_owned())
        .collect();
    assert_eq!(routes, ["GET /user"]);
}

#[test]
fn a_value_is_written_into_the_urls_that_need_it() {
    let set = ["gitlab", "--set", "host=gitlab.example.com"];
    let printed = run(&world(GITHUB), &set).out;
    for line in [
        "base_url: \"https://gitlab.example.com/api/v4\"",
        "authorization_url: \"https://gitlab.example.com/oauth/authorize\"",
        "token_url: \"https://gitlab.example.com/oauth/token\"",
        "\"url\": \"https://gitlab.example.com/api/v4/user\"",
        "\"pointer\": \"/username\"",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let printed = run(&world(GITHUB), &["gitlab"]).out;
    assert!(
        printed.contains("base_url: \"https://gitlab.com/api/v4\""),
        "{printed}"
    );
    assert!(!printed.contains("token_url"), "{printed}");
}

#[test]
fn values_that_cannot_be_used() {
    // F-360
    for (arguments, expected) in [
        (vec!["salesforce"], "instance"),
        (vec!["gitlab", "--set", "host=a/b"], "host"),
        (vec!["gitlab", "--set", "host=a@b"], "host"),
        (vec!["gitlab", "--set", "host="], "host"),
        (vec!["gitlab", "--set", "hots=a"], "did you mean `host`?"),
        (
            vec!["gitlab", "--set", "host=a", "--set", "host=b"],
            "two values",
        ),
        (vec!["gitlab", "--set", "host"], "NAME=VALUE"),
        (vec!["githb"], "did you mean `github`?"),
        (vec!["--set", "host=a"], "SLUG"),
    ] {
        let ran = run(&world(GITHUB), &arguments);
        assert_eq!(ran.exit, Exit::Usage, "{arguments:?}");
        assert!(ran.out.is_empty(), "{arguments:?}: {}", ran.out);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn the_list_states_what_is_configured() {
    let world = world(GITHUB);
    let listed = run(&world, &["--format", "json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["nextPageToken"], "");
    let find = |slug: &str| {
        let mut all = listed["connectors"].as_array().unwrap().iter();
        all.find(|connector| connector["slug"] == slug)
            .unwrap()
            .clone()
    };
    let github = find("github");
    assert_eq!(github["displayName"], "GitHub");
    assert_eq!(github["authType"], "oauth");
    assert_eq!(github["configured"], true);
    assert_eq!(
        github["connections"],
        serde_json::json!(["connections/api"])
    );
    assert_eq!(github["availability"], "available");
    assert_eq!(github["tools"][0]["name"], "api_get_user");
    assert_eq!(github["checkedDate"], "2026-11-30");
    let gitlab = find("gitlab");
    assert_eq!(gitlab["configured"], false);
    assert_eq!(gitlab["availability"], "needs_client");
    assert!(!gitlab["availabilityReason"].as_str().unwrap().is_empty());
    let pagerduty = find("pagerduty");
    assert_eq!(pagerduty["availability"], "needs_fields");
    assert_eq!(
        pagerduty["credentialFields"],
        serde_json::json!([{"key": "staticHeaders.Authorization", "label": "REST API key", "required": true, "secret": true}])
    );
    let text = run(&world, &[]);
    assert_eq!(text.exit, Exit::Success);
    let line = text.out.lines().find(|line| line.starts_with("github "));
    assert!(line.unwrap().contains("api"), "{}", text.out);
}

/// The shell creates the file of `egressd connectors github >config/connections/github.yaml` before
/// egressd runs.
#[test]
fn a_definition_is_printed_although_definitions_have_problems() {
    let world = world(GITHUB).file("connections/github.yaml", "");
    let ran = run(&world, &["github"]);
    assert_eq!(ran.exit, Exit::Success, "{}", ran.err);
    assert!(ran.out.contains("connector: github"), "{}", ran.out);
    assert_eq!(run(&world, &["--format", "json"]).exit, Exit::Success);
}
