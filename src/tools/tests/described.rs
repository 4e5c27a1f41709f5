//! Tools of routes with a name, a description and documented query parameters.

use serde_json::json;

use super::{accepts, is_registrable, patterns};
use crate::domain::RouteDescription;
use crate::domain::route_description::{
    DescriptionText, ParameterName, ParameterType, QueryParameter, RouteName,
};
use crate::tools::{ConnectionRoutes, Tool};

fn described_tools(routes: &[(&str, RouteDescription)]) -> Vec<Tool> {
    let patterns = patterns(routes.iter().map(|(text, _)| *text));
    let descriptions = routes.iter().map(|(_, described)| described.clone());
    let descriptions = descriptions.enumerate().collect();
    let routes = ConnectionRoutes {
        connection: "crm",
        patterns: &patterns,
        descriptions: &descriptions,
        allow_slashes: false,
        is_enabled: true,
    };
    routes.build_tools()
}

fn named(name: &str) -> RouteDescription {
    RouteDescription {
        name: Some(RouteName::parse(name, 60).unwrap()),
        ..RouteDescription::default()
    }
}

fn plain() -> RouteDescription {
    RouteDescription::default()
}

#[test]
fn a_name_replaces_the_second_part_of_a_slug() {
    // F-280
    let longest = "n".repeat(60);
    let tools = described_tools(&[
        ("GET /users", named("list_users")),
        ("GET /{id}", named("any-one")),
        (&format!("GET /{}", "segment/".repeat(20)), named(&longest)),
        ("GET /plain", plain()),
    ]);
    let slugs: Vec<&str> = tools.iter().map(|tool| tool.slug.as_str()).collect();
    let longest = format!("crm_{longest}");
    let expected = ["crm_list_users", "crm_any-one", &longest, "crm_get_plain"];
    assert_eq!(slugs, expected);
    assert!(slugs.iter().all(|slug| is_registrable(slug)));
    assert_eq!(tools[0].display_name, "GET /users");
    assert_eq!(tools[0].path, "/crm/users");
}

#[test]
fn a_name_takes_precedence_over_a_slug_that_is_made_of_a_pattern() {
    // F-280
    let tools = described_tools(&[
        ("GET /users", plain()),
        ("POST /users", named("get_users")),
        ("GET /a/b", plain()),
        ("GET /a/{b}", named("second")),
    ]);
    assert!(
        tools[0].slug.starts_with("crm_get_users_"),
        "{}",
        tools[0].slug
    );
    assert_eq!(tools[1].slug, "crm_get_users");
    // The slug of a named route is not made of its pattern, so it makes no other ambiguous.
    assert_eq!(tools[2].slug, "crm_get_a_b");
    let alone = described_tools(&[("GET /users", plain()), ("GET /Users", plain())]);
    assert_eq!(
        tools[0].slug, alone[0].slug,
        "the hash depends on the pattern alone"
    );
    // A name that is the hashed slug of another route.
    let hashed = tools[0].slug.strip_prefix("crm_").unwrap();
    let tools = described_tools(&[
        ("GET /users", plain()),
        ("GET /Users", plain()),
        ("GET /x", named(hashed)),
    ]);
    let distinct: std::collections::HashSet<_> = tools.iter().map(|tool| &tool.slug).collect();
    assert_eq!(distinct.len(), 3);
}

#[test]
fn documented_parameters_have_types_and_others_stay_allowed() {
    let parameter = |name, kind, text| QueryParameter {
        name: ParameterName::parse(name).unwrap(),
        kind,
        description: DescriptionText::parse(text).ok(),
    };
    let described = RouteDescription {
        name: None,
        description: DescriptionText::parse("Lists users.").ok(),
        query: vec![
            parameter("page", ParameterType::Integer, ""),
            parameter("ratio", ParameterType::Number, ""),
            parameter("q", ParameterType::String, "Search text."),
            parameter("all", ParameterType::Boolean, ""),
            parameter("sort", ParameterType::Array, "Keys."),
        ],
    };
    let tools = described_tools(&[("GET /users", described), ("GET /plain", plain())]);
    let tool = &tools[0];
    assert_eq!(tool.description.as_deref(), Some("Lists users."));
    assert_eq!(tools[1].description, None);
    assert!(
        tools[1].input_schema["properties"]["query"]
            .get("properties")
            .is_none()
    );
    assert_eq!(
        tool.input_schema["properties"]["query"]["properties"],
        json!({
            "page": {"type": "integer"},
            "ratio": {"type": "number"},
            "q": {"type": "string", "description": "Search text."},
            "all": {"type": "boolean"},
            "sort": {"type": "array", "items": {"type": "string"}, "description": "Keys."},
        })
    );
    for (query, is_good) in [
        (json!({}), true),
        (
            json!({"page": 2, "ratio": 0.5, "q": "x", "all": true, "sort": ["a", "b"]}),
            true,
        ),
        (json!({"other": "x", "list": ["x"]}), true),
        (json!({"page": "two"}), false),
        (json!({"page": 1.5}), false),
        (json!({"q": 1}), false),
        (json!({"all": "yes"}), false),
        (json!({"sort": "a"}), false),
        (json!({"other": 1}), false),
    ] {
        assert_eq!(accepts(tool, &json!({"query": query})), is_good, "{query}");
    }
}
