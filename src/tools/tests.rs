//! Tests of tools from a runtime's point of view: the names are valid, the schema accepts and
//! rejects inputs, and the route allows the request that a call makes.

mod described;
mod laws;

use serde_json::{Value, json};

use super::{ConnectionRoutes, Tool};
use crate::domain::RouteDescriptions;
use crate::route::{CanonicalPath, Lookup, Method, Pattern, RouteTable};

fn patterns<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Pattern> {
    let parsed = texts.into_iter().map(Pattern::parse);
    parsed.collect::<Result<_, _>>().unwrap()
}

fn build_tools(connection: &str, patterns: &[Pattern], allow_slashes: bool) -> Vec<Tool> {
    let routes = ConnectionRoutes {
        connection,
        patterns,
        descriptions: &RouteDescriptions::default(),
        allow_slashes,
        is_enabled: true,
    };
    routes.build_tools()
}

fn tools(texts: &[&str]) -> Vec<Tool> {
    build_tools("crm", &patterns(texts.iter().copied()), false)
}

pub(super) fn tool(text: &str) -> Tool {
    let mut all = tools(&[text]);
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

fn accepts(tool: &Tool, input: &Value) -> bool {
    let is_valid = jsonschema::draft202012::is_valid(&tool.input_schema, input);
    if let Value::Object(arguments) = input {
        assert_eq!(tool.to_request(arguments).is_ok(), is_valid, "{input}");
    }
    is_valid
}

fn is_registrable(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(legal)
}

#[test]
fn names_and_paths() {
    for (pattern, slug, path) in [
        (
            "GET /api/2.0/clusters/list",
            "crm_get_api_2_0_clusters_list",
            "/crm/api/2.0/clusters/list",
        ),
        ("GET /users/{id}", "crm_get_users_id", "/crm/users/{id}"),
        ("POST /users/", "crm_post_users_rest", "/crm/users/{+rest}"),
        ("GET /f/{path...}", "crm_get_f_path", "/crm/f/{+path}"),
        ("/", "crm_any_rest", "/crm/{+rest}"),
        ("GET /{$}", "crm_get_root", "/crm/"),
        ("GET /a/{$}", "crm_get_a_slash", "/crm/a/"),
        ("GET /A--b_c", "crm_get_a_b_c", "/crm/A--b_c"),
        ("GET /100%25/a%20b", "crm_get_100_a_b", "/crm/100%25/a%20b"),
        ("GET /x%7By%7D", "crm_get_x_y", "/crm/x%7By%7D"),
        (
            "GET /v1:run,all;x=1@h",
            "crm_get_v1_run_all_x_1_h",
            "/crm/v1:run,all;x=1@h",
        ),
        (
            "PUT /{query}/{body}/{method}/{path_body}",
            "crm_put_query_body_method_path_body",
            "/crm/{path_query}/{path_path_body}/{path_method}/{path_body}",
        ),
        (
            "GET /{rest}/",
            "crm_get_rest_rest",
            "/crm/{rest}/{+path_rest}",
        ),
        (
            "GET /{id}/segment/{segment_1}",
            "crm_get_id_segment_segment_1",
            "/crm/{id}/segment/{segment_1}",
        ),
    ] {
        let tool = tool(pattern);
        assert_eq!((tool.slug.as_str(), tool.path.as_str()), (slug, path));
        assert_eq!(tool.display_name, pattern);
    }
}

#[test]
fn names_that_a_runtime_would_reject_are_replaced() {
    let long = "x".repeat(60);
    for (pattern, path) in [
        (
            "GET /{名前}/{segment_1}",
            "/crm/{path_segment_1}/{segment_1}".to_owned(),
        ),
        (
            &*format!("GET /a/{{{long}}}"),
            "/crm/a/{segment_2}".to_owned(),
        ),
        (
            &*format!("GET /{{{}}}", "x".repeat(59)),
            format!("/crm/{{{}}}", "x".repeat(59)),
        ),
        ("GET /{é...}", "/crm/{+segment_1}".to_owned()),
    ] {
        let tool = tool(pattern);
        assert_eq!(tool.path, path, "{pattern}");
        let properties = tool.input_schema["properties"].as_object().unwrap();
        for name in properties.keys() {
            assert!(is_registrable(name), "{name} of {pattern}");
        }
    }
}

#[test]
fn slugs_are_unique_and_independent_of_the_order() {
    let long = format!("GET /{}", "segment/".repeat(20));
    let mut texts = vec![
        "GET /users/{id}",
        "GET /users/id",
        "GET /People/ID",
        "GET /users/{$}",
        "GET /users/",
        "GET /users",
        "GET /名前",
        "GET /é",
        "GET /---",
        "/a",
        "GET /a",
        "HEAD /a",
        "GET /a/{x}",
        "GET /a/{y}",
        "GET  /a",
        &long,
    ];
    let by_route = |texts: &[&str]| {
        let of_all = tools(texts)
            .into_iter()
            .map(|tool| (tool.display_name, tool.slug));
        of_all.collect::<std::collections::BTreeMap<_, _>>()
    };
    let slugs = by_route(&texts);
    assert_eq!(slugs.len(), texts.len());
    let distinct: std::collections::BTreeSet<_> = slugs.values().collect();
    assert_eq!(distinct.len(), texts.len(), "{slugs:?}");
    for slug in slugs.values() {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        assert!(is_registrable(slug) && slug.bytes().all(legal), "{slug}");
    }
    assert_eq!(
        slugs["GET /users"], "crm_get_users",
        "unique, so without a hash"
    );
    // `GET /users/{id}` has the same slug without a hash, so both get one.
    assert!(slugs["GET /users/id"].starts_with("crm_get_users_id_"));
    texts.reverse();
    assert_eq!(by_route(&texts), slugs);
    // A pattern that spells out the slug of another one.
    let taken = slugs["GET /users/id"].replacen("crm_get_", "GET /", 1);
    texts.push(&taken);
    let again = by_route(&texts);
    let distinct: std::collections::BTreeSet<_> = again.values().collect();
    assert_eq!(distinct.len(), texts.len());
}

#[test]
fn a_repeated_route_is_one_tool_and_an_unmatchable_one_is_none() {
    assert_eq!(tools(&["GET /a", "GET /a", "/b"]).len(), 2);
    assert_eq!(tools(&["GET /a/%2E%2E/b", "/a%2Fb"]).len(), 0);
    assert_eq!(build_tools("crm", &patterns(["/a%2Fb"]), true).len(), 1);
}

#[test]
fn the_schema_accepts_and_rejects_inputs() {
    let one = tool("GET /users/{id}");
    assert_eq!(one.method, Some("GET"));
    for good in [
        json!({"id": "1"}),
        json!({"id": "ä b?#%"}),
        json!({"id": "1", "query": {}}),
        json!({"id": "1", "query": {"a": "1", "b": ["1", "2"], "c": []}}),
    ] {
        assert!(accepts(&one, &good), "{good}");
    }
    for bad in [
        json!({}),
        json!({"id": ""}),
        json!({"id": 1}),
        json!({"id": null}),
        json!({"id": "a/b"}),
        json!({"id": "a\\b"}),
        json!({"id": "a\nb"}),
        json!({"id": "1", "query": "a=1"}),
        json!({"id": "1", "query": {"a": 1}}),
        json!({"id": "1", "query": {"a": ["1", 2]}}),
        json!({"id": "1", "body": {}}),
        json!({"id": "1", "method": "GET"}),
        json!({"id": "1", "other": "x"}),
        json!([]),
    ] {
        assert!(!accepts(&one, &bad), "{bad}");
    }
}

#[test]
fn the_schema_checks_remainders_bodies_and_methods() {
    let rest = tool("POST /f/{path...}");
    for (path, is_good) in [
        ("", true),
        ("a", true),
        ("a/b/", true),
        ("a%20b", true),
        ("/a", false),
        ("a?b", false),
        ("a#b", false),
        ("a\\b", false),
        ("a\0", false),
    ] {
        assert_eq!(accepts(&rest, &json!({"path": path})), is_good, "{path:?}");
    }
    for (body, is_good) in [
        (json!({}), true),
        (json!([1]), true),
        (json!("text"), true),
        (json!(1), false),
        (json!(null), false),
    ] {
        assert_eq!(
            accepts(&rest, &json!({"path": "", "body": body})),
            is_good,
            "{body}"
        );
    }
    for (method, takes_body) in [
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("GET", false),
        ("DELETE", false),
        ("HEAD", false),
        ("OPTIONS", false),
    ] {
        let tool = tool(&format!("{method} /a"));
        assert_eq!(
            accepts(&tool, &json!({"body": "x"})),
            takes_body,
            "{method}"
        );
    }
    let any = tool("/a");
    assert_eq!(any.method, None);
    for method in Method::ALL {
        assert!(
            accepts(&any, &json!({"method": method.as_str(), "body": "x"})),
            "{method}"
        );
    }
    for bad in [
        json!({}),
        json!({"method": "TRACE"}),
        json!({"method": "get"}),
    ] {
        assert!(!accepts(&any, &bad), "{bad}");
    }
}

#[test]
fn a_segment_may_contain_a_slash_if_the_connection_allows_it() {
    let [npm] = &build_tools("npm", &patterns(["GET /{package}"]), true)[..] else {
        panic!("one tool")
    };
    let input = json!({"package": "@scope/name"});
    assert!(accepts(npm, &input));
    assert_eq!(expanded(npm, &input), "/npm/%40scope%2Fname");
    assert!(!accepts(&tool("GET /{package}"), &input));
}

/// Returns the target of a call.
fn expanded(tool: &Tool, input: &Value) -> String {
    tool.to_request(input.as_object().unwrap()).unwrap().target
}

#[test]
fn the_route_of_a_tool_allows_its_calls() {
    let texts = [
        "GET /users/{id}",
        "POST /users/{query}/{body}",
        "GET /f/{path...}",
        "/any/",
        "GET /{$}",
        "PUT /a%20b/{名前}/x%7By%7D",
        "DELETE /v1:run;x=1/{method}",
        "GET /end/{$}",
        "/100%25/{rest}/",
    ];
    let (table, _) = RouteTable::compile(patterns(texts));
    let fillings = ["1", "ä ö", "a?b#c", "{x}", "100%", "..x", "a;b=c", "~'()*!"];
    for (index, tool) in build_tools("crm", table.patterns(), false)
        .iter()
        .enumerate()
    {
        for filling in fillings {
            let mut input = serde_json::Map::new();
            for name in tool.input_schema["required"].as_array().unwrap() {
                let name = name.as_str().unwrap();
                let is_rest = tool.path.contains(&format!("{{+{name}}}"));
                let value = match name {
                    "method" => "PATCH",
                    _ if is_rest => "a/b%20c/",
                    _ => filling,
                };
                input.insert(name.to_owned(), value.into());
            }
            let input = Value::Object(input);
            assert!(accepts(tool, &input), "{}: {input}", tool.display_name);
            let called = expanded(tool, &input);
            let path = called.strip_prefix("/crm").unwrap();
            let canonical =
                CanonicalPath::parse(path.as_bytes()).unwrap_or_else(|why| panic!("{path}: {why}"));
            let method = tool.method.or(input["method"].as_str()).unwrap();
            let found = table.find(Method::parse(method.as_bytes()), &canonical);
            assert_eq!(found, Lookup::Found(index), "{method} {path}");
        }
    }
}

#[test]
fn ten_thousand_routes_are_ten_thousand_tools() {
    let texts: Vec<String> = (0..10_000)
        .map(|n| format!("GET /api/{}/{n}/{{id}}", "Ab".repeat(1 + n % 40)))
        .collect();
    let tools = build_tools("crm", &patterns(texts.iter().map(String::as_str)), false);
    let distinct: std::collections::HashSet<_> = tools.iter().map(|tool| &tool.slug).collect();
    assert_eq!(distinct.len(), 10_000);
}

/// Returns this schema and every schema in it.
fn subschemas(schema: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match schema {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let deeper = inner.into_iter().flat_map(subschemas);
    std::iter::once(schema).chain(deeper).collect()
}

#[test]
fn every_array_schema_has_items() {
    // OpenAI's API rejects a tool otherwise: "array schema missing items".
    for tool in tools(&["POST /a/{id}", "/b/", "GET /c"]) {
        let lists = subschemas(&tool.input_schema).into_iter().filter(|schema| {
            let kind = &schema["type"];
            let kinds = kind.as_array().map_or(std::slice::from_ref(kind), |v| v);
            kinds.iter().any(|kind| kind == "array")
        });
        let lists: Vec<_> = lists.collect();
        assert!(!lists.is_empty());
        for list in lists {
            assert!(list["items"].is_object(), "{list}");
        }
    }
}

#[test]
fn no_two_connections_share_a_slug() {
    let routes = patterns(["GET /any/x", "/x", "GET /\u{e9}", "GET /x", "GET /any_x"]);
    let (long, longer) = ("c".repeat(62), "c".repeat(63));
    let ids = ["a", "a-get", "a-get-any", "b", &long, &longer];
    let slugs = ids.map(|id| build_tools(id, &routes, false));
    let slugs: Vec<_> = slugs.iter().flatten().map(|tool| &tool.slug).collect();
    let distinct: std::collections::HashSet<_> = slugs.iter().collect();
    assert_eq!(distinct.len(), ids.len() * routes.len(), "{slugs:?}");
    assert!(slugs.iter().all(|slug| is_registrable(slug)), "{slugs:?}");
}
