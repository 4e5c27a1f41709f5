//! Tools, as an agent runtime uses them, and the requests that result.

use serde_json::json;

use super::connection_of;
use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn a_tool_describes_the_requests_of_its_route() {
    let up = Upstream::echo();
    let crm = connection("crm").upstream(&up);
    let crm = crm.allow("GET /users/{id}").allow("/files/{path...}");
    let sidecar = Sidecar::with(crm).start();
    let tools = connection_of(&sidecar, "crm")["tools"].take();
    assert_eq!(tools[0]["slug"], "crm_get_users_id");
    assert_eq!(tools[0]["displayName"], "GET /users/{id}");
    assert_eq!(tools[0]["method"], "GET");
    assert_eq!(tools[0]["path"], "/crm/users/{id}");
    assert_eq!(tools[1]["path"], "/crm/files/{+path}");
    assert_eq!(tools[1].get("method"), None);
    for tool in tools.as_array().unwrap() {
        let schema = &tool["inputSchema"];
        assert!(jsonschema::meta::is_valid(schema), "{schema}");
    }
    let input = json!({"id": "7", "query": {"a": "1"}});
    assert!(jsonschema::is_valid(&tools[0]["inputSchema"], &input));
    let path = tools[0]["path"].as_str().unwrap().replace("{id}", "7");
    Agent::connect(&sidecar)
        .get(&format!("{path}?a=1"))
        .expect_status(200);
    assert_eq!(up.requests()[0].target, "/users/7?a=1");
}

#[test]
fn ten_thousand_routes_are_answered_again_and_again() {
    let routes = (0..10_000).map(|n| format!("GET /api/{n}/{{id}}"));
    let many = routes.fold(
        connection("many").base_url("https://api.test"),
        |connection, route| connection.allow(&route),
    );
    let sidecar = Sidecar::with(many).start();
    let first = connection_of(&sidecar, "many")["tools"].take();
    assert_eq!(first.as_array().unwrap().len(), 10_000);
    assert_eq!(first[9_999]["slug"], "many_get_api_9999_id");
    assert_eq!(connection_of(&sidecar, "many")["tools"], first);
}

#[test]
fn a_described_route_is_a_tool_with_its_name_and_parameters() {
    let up = Upstream::echo();
    let crm = connection("crm").upstream(&up).allow("GET /plain");
    let crm = crm.allow_described(json!({
        "route": "GET /repos/{owner}",
        "name": "list_repos",
        "description": "Lists repositories.",
        "query": {"page": "integer", "q": {"type": "string", "description": "Search text."}},
    }));
    let sidecar = Sidecar::with(crm).start();
    let shown = connection_of(&sidecar, "crm");
    let patterns = &shown["connectionDetails"]["http"]["allowedRoutes"];
    assert_eq!(*patterns, json!(["GET /plain", "GET /repos/{owner}"]));
    let [plain, described] = shown["tools"].as_array().unwrap().as_slice() else {
        panic!("{shown}")
    };
    assert_eq!(plain.get("description"), None);
    assert_eq!(described["slug"], "crm_list_repos");
    assert_eq!(described["displayName"], "GET /repos/{owner}");
    assert_eq!(described["description"], "Lists repositories.");
    let schema = &described["inputSchema"];
    assert!(jsonschema::meta::is_valid(schema), "{schema}");
    assert_eq!(
        schema["properties"]["query"]["properties"],
        json!({"page": {"type": "integer"}, "q": {"type": "string", "description": "Search text."}})
    );
    let page = Agent::connect_to(sidecar.management()).get("/");
    let page = page.expect_status(200).text();
    assert!(page.contains("Lists repositories."), "{page}");
}
