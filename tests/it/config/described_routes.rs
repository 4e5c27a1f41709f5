//! Routes with a name, a description and documented query parameters.

use super::world::{World, connection, loads, refuses, refuses_at};
use egressd::domain::route_description::{DescriptionText, ParameterType};

const ROUTE: &str = "GET /repos/{owner}";

/// Returns a list of one route with these further fields.
fn routes(fields: &str) -> String {
    format!("[{{route: '{ROUTE}', {fields}}}]")
}

#[test]
fn every_form_of_a_route_is_read() {
    let list = "\n      - GET /a\n      - route: GET /repos/{owner}\n        name: list_repos\n        \
                description: |\n          Lists the repositories.\n        query:\n          page: integer\n          \
                q: {type: string, description: Search text.}\n          $sort: array\n      - {route: /b}";
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", list)]));
    let loaded = world.definitions().ok().unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let only = &loaded.connections[0];
    let patterns = only.routes.patterns().iter().map(|p| p.as_str());
    assert_eq!(patterns.collect::<Vec<_>>(), ["GET /a", ROUTE, "/b"]);
    let described: Vec<_> = only.route_descriptions.iter().collect();
    let [(1, described)] = described[..] else {
        panic!("{described:?}")
    };
    let text = |text: &Option<DescriptionText>| text.as_ref().map(|text| text.as_str().to_owned());
    assert_eq!(described.name.as_ref().unwrap().as_str(), "list_repos");
    assert_eq!(
        text(&described.description).unwrap(),
        "Lists the repositories."
    );
    let query = described.query.iter();
    let query: Vec<_> = query
        .map(|one| (one.name.as_str(), one.kind, text(&one.description)))
        .collect();
    let q = Some("Search text.".to_owned());
    let expected = [
        ("page", ParameterType::Integer, None),
        ("q", ParameterType::String, q),
        ("$sort", ParameterType::Array, None),
    ];
    assert_eq!(query, expected);
    loads(&connection(&[("allowed_routes", &routes("query: {}"))]));
}

#[test]
fn a_mistake_in_a_description_is_named_with_its_place() {
    // F-280
    let long = "x ".repeat(513);
    for (fields, code, field) in [
        ("nam: a", "unknown_field", "nam"),
        ("name: ''", "invalid_route_name", "name"),
        ("name: List", "invalid_route_name", "name"),
        ("name: 5", "wrong_type", "name"),
        ("name: [a]", "wrong_type", "name"),
        ("name:", "no_value", "name"),
        ("description: ''", "invalid_description", "description"),
        ("description: ' '", "invalid_description", "description"),
        (
            &*format!("description: {long}x"),
            "invalid_description",
            "description",
        ),
        ("description: {a: b}", "wrong_type", "description"),
        ("query: [page]", "wrong_type", "query"),
        ("query: {page: int}", "unknown_value", "query.page"),
        ("query: {page: }", "wrong_type", "query.page"),
        ("query: {page: 5}", "wrong_type", "query.page"),
        ("query: {page: [integer]}", "wrong_type", "query.page"),
        ("query: {page: {}}", "missing_field", "query.page.type"),
        (
            "query: {page: {type: date}}",
            "unknown_value",
            "query.page.type",
        ),
        (
            "query: {page: {type: integer, min: 1}}",
            "unknown_field",
            "query.page.min",
        ),
        (
            "query: {page: {type: integer, description: ''}}",
            "invalid_description",
            "query.page.description",
        ),
        ("query: {'': integer}", "invalid_parameter", "query."),
        (
            "query: {page: integer, page: string}",
            "duplicate_key",
            "query.page",
        ),
    ] {
        let field = format!("allowed_routes[0].{field}");
        refuses_at("allowed_routes", &routes(fields), code, &field);
    }
}

#[test]
fn the_longest_name_of_a_parameter_is_stated() {
    // F-280
    let name = "a".repeat(65);
    let definition = connection(&[(
        "allowed_routes",
        &routes(&format!("query: {{{name}: integer}}")),
    )]);
    let found = World::new().file("a.yaml", definition).errors();
    assert_eq!(found[0].code, "invalid_parameter");
    assert!(
        found[0].remedy.contains("at most 64 characters"),
        "{found:?}"
    );
}

#[test]
fn a_mistake_in_a_route_is_named_with_its_place() {
    // F-280
    for (list, code, field) in [
        ("[5]", "wrong_type", "allowed_routes[0]"),
        ("[[GET /a]]", "wrong_type", "allowed_routes[0]"),
        ("[{name: a}]", "missing_field", "allowed_routes[0].route"),
        (
            "[{route: get /a}]",
            "invalid_route",
            "allowed_routes[0].route",
        ),
        ("[{route: 5}]", "wrong_type", "allowed_routes[0].route"),
        (
            "[GET /a, {route: GET /b, name: x}, {route: GET /c, name: x}]",
            "duplicate_route_name",
            "allowed_routes[2].name",
        ),
    ] {
        refuses_at("allowed_routes", list, code, field);
    }
}

#[test]
fn a_tool_has_at_most_64_characters() {
    // F-280
    let named = |id: usize, name: usize| {
        let (id, name) = ("a".repeat(id), "n".repeat(name));
        format!(
            "id: {id}\n{}",
            connection(&[("allowed_routes", &routes(&format!("name: {name}")))])
        )
    };
    loads(&named(3, 60));
    loads(&named(62, 1));
    let field = "connection_details.http.allowed_routes[0].name";
    refuses(&named(3, 61), "invalid_route_name", field);
    refuses(&named(62, 2), "invalid_route_name", field);
    refuses(&named(63, 1), "invalid_route_name", field);
}

#[test]
fn a_warning_about_a_described_pattern_names_its_place() {
    let list = "['GET /a/{x}', {route: 'GET /{y}/b', description: d}, {route: GET /*}]";
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", list)]));
    let found: Vec<_> = world
        .warnings()
        .into_iter()
        .map(|problem| (problem.code, problem.field))
        .collect();
    let at = |at: usize| format!("connection_details.http.allowed_routes[{at}].route");
    assert_eq!(
        found,
        [("overlapping_routes", at(1)), ("literal_wildcard", at(2))]
    );
}
