//! A property test over generated arguments: the request of a call is on the route of its tool.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{build_tools, patterns};
use crate::route::{CanonicalPath, Lookup, Method, RouteTable};

const ROUTES: [&str; 9] = [
    "GET /users/{id}",
    "POST /users/{id}/{query}",
    "GET /users/{id}/posts/{post}",
    "GET /files/{path...}",
    "DELETE /files/keep/{name}",
    "/any/{method}/",
    "GET /{$}",
    "PUT /a%20b/{body}/x",
    "GET /users/admin",
];

fn argument() -> impl Strategy<Value = Value> {
    let piece = prop::sample::select(vec![
        "/", "//", ".", "..", "/../", "%", "%2e", "%2F", "%252F", "%00", "?", "#", "&", "=", ";",
        "\\", " ", "\r\n", "\0", "a", "users", "admin", "keep", "é", "{id}", "@", ":", "http://",
        "",
    ]);
    let text = prop::collection::vec(piece, 0..5).prop_map(|pieces| Value::from(pieces.concat()));
    prop_oneof![
        12 => text,
        2 => any::<String>().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(serde_json::json!({"a/..": ["?", "#", null], "x": "&y=1"})),
        1 => prop::sample::select(vec!["GET", "DELETE", "CONNECT", "get"]).prop_map(Value::from),
    ]
}

fn arguments() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop::sample::select(vec![
        "id",
        "post",
        "path",
        "name",
        "rest",
        "method",
        "query",
        "body",
        "path_query",
        "path_method",
        "path_body",
        "other",
    ]);
    prop::collection::vec((name, argument()), 0..5).prop_map(|pairs| {
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_call_is_on_the_route_of_its_tool_or_refused(
        given in arguments(),
        values in prop::collection::vec(argument(), 6),
        allows_slashes: bool,
    ) {
        let (table, _) = RouteTable::compile(patterns(ROUTES));
        for (index, tool) in build_tools("crm", table.patterns(), allows_slashes).iter().enumerate() {
            // Most calls have what the tool requires.
            let mut arguments = given.clone();
            let required = tool.input_schema["required"].as_array();
            for (name, value) in required.into_iter().flatten().zip(&values) {
                arguments.insert(name.as_str().unwrap().to_owned(), value.clone());
            }
            let Ok(request) = tool.to_request(&arguments) else {
                continue;
            };
            let target = request.target.strip_prefix("/crm").unwrap();
            let path = target.split(['?', '#']).next().unwrap();
            prop_assert!(target.starts_with('/') && !target.contains('#'), "{target}");
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target}");
            prop_assert_eq!(target.matches('?').count(), usize::from(path.len() < target.len()));
            // The stages refuse a path that is not canonical, and one that no pattern allows.
            let Ok(path) = CanonicalPath::parse(path.as_bytes()) else {
                continue;
            };
            let path = if allows_slashes { path.allowing_encoded_slash() } else { path };
            let found = table.find(Method::parse(request.method.as_bytes()), &path);
            let is_own = found == Lookup::Found(index);
            let is_refused = !matches!(found, Lookup::Found(_));
            // A more specific pattern decides what this route does not, whoever sends the request.
            let is_specific = matches!(found, Lookup::Found(other) if ROUTES[other] == "GET /users/admin");
            prop_assert!(is_own || is_refused || is_specific, "{}: {target}: {found:?}", tool.display_name);
        }
    }
}
