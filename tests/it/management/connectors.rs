//! `/v1/connectors`: the catalogue, and the connections that refer to its connectors.

use serde_json::{Value, json};

use super::{ask, read, refused};
use crate::support::connection::Connection;
use crate::support::{Agent, Program, Sidecar, connection};

/// Returns a connection to the API of the connector `github`.
fn github(id: &str) -> Connection {
    connection(id)
        .base_url("https://api.github.com")
        .with_field("connector", "github".into())
        .auth(
            "oauth_user_consent",
            json!({"client_id": "the-client", "client_secret": "0123456789abcdef"}),
        )
}

fn slugs(listing: &Value) -> Vec<&str> {
    let connectors = listing["connectors"].as_array().expect("a list").iter();
    connectors
        .map(|one| one["slug"].as_str().unwrap())
        .collect()
}

#[test]
fn a_connector_shows_its_connections_and_their_tools() {
    let described = json!({"route": "GET /user", "name": "me", "description": "The account"});
    let sidecar = Sidecar::with(github("work").allow("GET /user/repos"))
        .with_connection(github("home").allow_described(described).allow("GET /zen"))
        .with_connection(
            github("gone")
                .allow("GET /gone")
                .with_field("delete_time", "2026-01-02T03:04:05Z".into()),
        )
        .start();
    let mut connector = read(&sidecar, "/v1/connectors/github")["connector"].take();
    let description = connector["description"].take();
    assert!(description.as_str().unwrap().len() > 5, "{description}");
    let checked: jiff::civil::Date = connector["checkedDate"]
        .take()
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(checked.year() >= 2026, "{checked}");
    assert_eq!(
        connector,
        json!({
            "slug": "github", "displayName": "GitHub", "description": null, "authType": "oauth",
            "configured": true, "connections": ["connections/home", "connections/work"],
            "availability": "available", "availabilityReason": "",
            "tools": [
                {"name": "home_me", "description": "The account"},
                {"name": "home_get_zen", "description": "GET /zen"},
                {"name": "work_get_user_repos", "description": "GET /user/repos"},
            ],
            "credentialFields": [], "checkedDate": null,
        })
    );
    // The names are those of the tools that a runtime registers.
    let home = read(&sidecar, "/v1/connections/home");
    assert_eq!(home["connection"]["tools"][0]["slug"], "home_me");
}

#[test]
fn a_connector_without_a_connection_states_what_is_missing() {
    let sidecar = Sidecar::with(connection("crm").base_url("https://h.test").allow("/")).start();
    let stripe = read(&sidecar, "/v1/connectors/stripe")["connector"].take();
    assert_eq!(stripe["configured"], false);
    assert_eq!(stripe["connections"], json!([]));
    assert_eq!(stripe["tools"], json!([]));
    assert_eq!(stripe["authType"], "api_key");
    assert_eq!(stripe["availability"], "needs_fields");
    let field = &stripe["credentialFields"][0];
    assert_eq!(field["key"], "bearerToken.token");
    assert_eq!(field["secret"], true);
    assert_eq!(field["required"], true);
    let github = read(&sidecar, "/v1/connectors/github")["connector"].take();
    assert_eq!(github["availability"], "needs_client");
    for connector in [stripe, github] {
        let reason = connector["availabilityReason"].as_str().unwrap();
        assert!(reason.ends_with('.'), "{reason}");
    }
}

#[test]
fn the_list_is_filtered_ordered_and_paged_like_other_lists() {
    let sidecar = Sidecar::with(github("work").allow("GET /user")).start();
    let listed = |query: &str| read(&sidecar, &format!("/v1/connectors?{query}"));
    let all = listed("");
    assert_eq!(slugs(&all).len(), 19);
    assert!(slugs(&all).is_sorted());
    assert_eq!(all.get("nextPageToken"), None);
    assert_eq!(slugs(&listed("filter=configured%3Dtrue")), ["github"]);
    assert_eq!(
        slugs(&listed("filter=displayName%3Dgithub*%20OR%20slug%3Dgithub")),
        ["github"]
    );
    let keys = listed("filter=auth_type%3Dapi_key&order_by=slug%20desc");
    assert_eq!(slugs(&keys).first(), Some(&"stripe"));
    assert_eq!(slugs(&keys).last(), Some(&"anthropic"));
    let keys_of_all = listed("filter=availability%3Dneeds_fields");
    assert_eq!(slugs(&keys_of_all).len(), slugs(&keys).len());
    assert_eq!(
        slugs(&listed("filter=checked_date%3C2020")),
        Vec::<&str>::new()
    );
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..19 {
        let page = listed(&format!("page_size=4&page_token={token}"));
        seen.extend(slugs(&page).into_iter().map(str::to_owned));
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, slugs(&all));
    let of_connectors = format!("/v1/connection-types?page_token={token}");
    refused(&ask(&sidecar, &of_connectors), 400, "INVALID_ARGUMENT");
    for query in [
        "filter=client_id%3D1",
        "order_by=tools",
        "page_size=-1",
        "show_deleted=true",
        "nope=1",
    ] {
        let reply = ask(&sidecar, &format!("/v1/connectors?{query}"));
        refused(&reply, 400, "INVALID_ARGUMENT");
    }
}

#[test]
fn other_slugs_and_paths_are_refused() {
    let sidecar = Sidecar::with(connection("crm").base_url("https://h.test").allow("/")).start();
    let unknown = refused(&ask(&sidecar, "/v1/connectors/none"), 404, "NOT_FOUND");
    assert_eq!(unknown, "connector `none` not found");
    let invalid = refused(
        &ask(&sidecar, "/v1/connectors/GitHub"),
        400,
        "INVALID_ARGUMENT",
    );
    assert!(
        invalid.starts_with("invalid slug of a connector: "),
        "{invalid}"
    );
    for path in ["/v1/connectors/", "/v1/connectors/github/start"] {
        refused(&ask(&sidecar, path), 404, "NOT_FOUND");
    }
    for path in ["/v1/connectors", "/v1/connectors/github"] {
        let mut agent = Agent::connect_to(sidecar.management());
        refused(
            &agent.request("POST", path, &[], b"{}"),
            405,
            "UNIMPLEMENTED",
        );
    }
}

#[test]
fn a_reload_replaces_the_catalogue() {
    let crm = connection("crm")
        .base_url("https://h.test")
        .allow("GET /a")
        .with_field("connector", "acme".into());
    let program = Program::new(&[crm], &json!({"connectors": ["own"]}));
    let write = |name: &str| {
        let connector = json!({
            "slug": "acme", "display_name": name, "auth_type": "none", "checked": "2026-11-28",
            "docs": "https://docs.test/", "base_url": "https://h.test",
            "routes": {"read": ["GET /a"]},
        });
        let next = program.path("acme.next");
        std::fs::write(&next, connector.to_string()).unwrap();
        std::fs::rename(next, program.path("own/acme.json")).unwrap();
    };
    std::fs::create_dir(program.path("own")).unwrap();
    write("Acme");
    let mut running = program.start(&[]);
    let (_, management) = running.addresses();
    let mut operator = Agent::connect_to(management);
    let mut acme = || {
        let reply = operator.get("/v1/connectors/acme");
        reply.expect_status(200).json()["connector"].take()
    };
    let before = acme();
    assert_eq!(before["displayName"], "Acme");
    assert_eq!(before["connections"], json!(["connections/crm"]));
    assert_eq!(before["availability"], "available");
    write("Acme Corporation");
    running.hang_up();
    running.wait_for_line("configuration reloaded");
    let after = acme();
    assert_eq!(after["displayName"], "Acme Corporation");
    assert_eq!(after["tools"], before["tools"]);
}
