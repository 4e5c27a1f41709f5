//! Definitions with problems beside the one that a command is about.

use std::fs;

use serde_json::json;

use super::world::LoginWorld;
use crate::support::connection;

/// Adds definitions with problems, which `check` reports.
fn break_others(world: &LoginWorld) {
    let other = connection("other")
        .allow("GET /")
        .base_url("https://api.test");
    let missing = json!({"token": {"file": "missing"}});
    world
        .program
        .define(&other.clone().auth("bearer_token", missing));
    world
        .program
        .define(&other.rename("wrong").http("base_url", json!(7)));
    fs::write(world.program.path("connections/broken.yaml"), "a: [").unwrap();
    assert_eq!(world.run("check", &[]).exit, Some(1));
}

#[test]
fn problems_of_other_definitions_stop_neither_login_nor_logout() {
    let world = LoginWorld::new(&json!({}));
    break_others(&world);
    let ended = world.login_yes(&[]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let ended = world.run("logout", &["api"]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(world.stored()["revoked_at"].is_string());
}

#[test]
fn problems_of_the_own_definition_are_reported_alone() {
    let world = LoginWorld::new(&json!({"client_secret": {"file": "own-secret"}}));
    break_others(&world);
    for command in ["login", "logout"] {
        let ended = world.run(command, &["api"]);
        assert_eq!(ended.exit, Some(64), "{ended:?}");
        assert!(ended.err.contains("own-secret"), "{ended:?}");
        assert!(!ended.err.contains("broken.yaml"), "{ended:?}");
    }
    // A second definition of the same id.
    world.program.define(
        &world
            .api
            .clone()
            .rename("copy")
            .with_field("id", json!("api")),
    );
    let definition = fs::read(world.program.path("connections/api.json")).unwrap();
    fs::write(world.program.path("connections/copy.json"), definition).unwrap();
    let ended = world.run("login", &["--yes", "api"]);
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    assert!(ended.err.contains("already defined"), "{ended:?}");
}

#[test]
fn a_connection_that_shares_the_grant_and_differs_stops_the_login() {
    // F-302
    let world = LoginWorld::new(&json!({}));
    let mut other = world.api.definition();
    other["name"] = json!("connections/other");
    let consent = &mut other["connection_details"]["http"]["oauth_user_consent"];
    consent["grant"] = json!("api");
    consent["client_id"] = json!("another-client");
    fs::write(
        world.program.path("connections/other.json"),
        other.to_string(),
    )
    .unwrap();
    let ended = world.run("login", &["--yes", "api"]);
    assert_eq!(ended.exit, Some(64), "{ended:?}");
    assert!(ended.err.contains("share the grant"), "{ended:?}");
}
