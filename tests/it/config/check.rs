//! The `check` command: the example of the documentation, files with mistakes, and both formats.

use egressd::cli::Exit;
use egressd::domain::Auth;

use super::world::{World, connection, with_top};

/// The example in the documentation of HTTP connections.
const DATABRICKS: &str = r#"{
  "display_name": "Databricks API",
  "description": "Databricks API for cluster management...",
  "connection_details": {
    "http": {
      "base_url": "https://api.databricks.com",
      "allowed_routes": [
        "GET /api/2.0/clusters/list",
        "GET /api/2.0/clusters/get",
        "POST /api/2.0/clusters/start"
      ],
      "bearer_token": {
        "token": "dapi123..."
      },
      "max_response_size_bytes": 5242880,
      "timeout_seconds": 30
    }
  }
}"#;

#[test]
fn the_documented_example_loads_unchanged() {
    let world = World::new().file("databricks.json", DATABRICKS);
    let loaded = world
        .definitions()
        .unwrap_or_else(|found| panic!("{found:?}"));
    let [connection] = loaded.connections.as_slice() else {
        panic!("one connection")
    };
    assert_eq!(connection.id.as_str(), "databricks");
    assert_eq!(connection.display_name, "Databricks API");
    assert_eq!(
        connection.base_url.to_string(),
        "https://api.databricks.com"
    );
    assert_eq!(connection.routes.patterns().len(), 3);
    assert_eq!(connection.caps.response.bytes(), 5_242_880);
    assert!(matches!(connection.auth, Auth::BearerToken(_)));
    assert!(connection.enabled && connection.delete_time.is_none());
    let ran = world.check(&[]);
    assert_eq!(ran.exit, Exit::Success);
    assert!(
        ran.out.ends_with("1 connection, 1 warning, no problem\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("secret_inline") && !ran.out.contains("dapi"),
        "{}",
        ran.out
    );
}

#[test]
fn json_with_tabs_is_json() {
    let tabs = DATABRICKS.replace("  ", "\t");
    let world = World::new().file("a.json", tabs).file(
        "b.json",
        DATABRICKS
            .replace("\n", "")
            .replace("  ", "")
            .replace("\": ", "\":"),
    );
    assert_eq!(
        world
            .definitions()
            .unwrap_or_else(|found| panic!("{found:?}"))
            .connections
            .len(),
        2
    );
}

/// Ten files, each with a different mistake.
fn ten_mistakes() -> World {
    World::new()
        .file(
            "one.yaml",
            connection(&[("base_url", "http://api.example.com")]),
        )
        .file(
            "two.yaml",
            connection(&[("allowed_routes", "[GET /a, FETCH /b]")]),
        )
        .file(
            "three.yaml",
            connection(&[("bearer_token", "{token: {env: T}}")]),
        )
        .file("four.yaml", connection(&[("no_auth", "-")]))
        .file("five.yaml", connection(&[("timeout_seconds", "301")]))
        .file("six.yaml", connection(&[("headers", "{Host: a}")]))
        .file(
            "seven.yaml",
            connection(&[("allowed_routs", "[GET /a]"), ("allowed_routes", "-")]),
        )
        .file("eight.yaml", with_top("name: connections/one"))
        .file("nine.yaml", "connection_details: {http: [}")
        .file("ten.json", connection(&[("base_url", "https://10.0.0.1")]))
        .variable("T", "some-token")
}

#[test]
fn ten_mistakes_are_ten_problems() {
    let world = ten_mistakes();
    let ran = world.check(&["--format", "json"]);
    assert_eq!(ran.exit, Exit::Failure);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let problems = report["problems"].as_array().unwrap();
    let codes: Vec<&str> = problems
        .iter()
        .map(|p| p["code"].as_str().unwrap())
        .collect();
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "auth_missing",
            "auth_several",
            "duplicate_id",
            "forbidden_address",
            "invalid_route",
            "invalid_url",
            "out_of_range",
            "reserved_header",
            "syntax",
            "unknown_field",
        ]
    );
    for problem in problems {
        assert_eq!(problem["severity"], "error", "{problem}");
        let keys: Vec<&String> = problem.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 8, "{problem}");
        assert!(problem["line"].as_u64().is_some_and(|n| n > 0), "{problem}");
        assert!(
            problem["column"].as_u64().is_some_and(|n| n > 0),
            "{problem}"
        );
        assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
        assert!(
            !problem["message"].as_str().unwrap().is_empty(),
            "{problem}"
        );
        assert!(problem["file"].as_str().unwrap().contains('/'), "{problem}");
    }
    let text = world.check(&[]);
    assert_eq!(text.exit, Exit::Failure);
    assert!(
        text.out.ends_with("no warning, 10 problems\n"),
        "{}",
        text.out
    );
}

#[test]
fn a_problem_is_shown_in_its_line() {
    let world = World::new().file(
        "a.yaml",
        connection(&[("base_url", "ftp://h"), ("no_auth", "[]")]),
    );
    let shown = world.check(&[]).out;
    assert!(shown.contains("a.yaml:4:15"), "{shown}");
    assert!(shown.contains("4 |     base_url: ftp://h"), "{shown}");
    assert!(shown.contains("  |               ^^^^^^^"), "{shown}");
}

#[test]
fn json_problems_have_exactly_the_promised_keys_in_order() {
    let world = World::new().file("a.yaml", connection(&[("timeout_seconds", "0")]));
    let shown = world.check(&["--format", "json"]).out;
    let names = [
        "severity", "file", "line", "column", "field", "code", "message", "remedy",
    ];
    let places: Vec<usize> = names
        .iter()
        .map(|n| shown.find(&format!("\"{n}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{shown}");
}

#[test]
fn usage_errors_exit_64_and_help_succeeds() {
    let world = World::new();
    for bad in [
        &["chek"][..],
        &[],
        &["check", "--format", "xml"],
        &["schema", "more"],
    ] {
        let ran = world.run(bad);
        assert_eq!(ran.exit, Exit::Usage, "{bad:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{bad:?}");
    }
    assert_eq!(world.run(&["--help"]).exit, Exit::Success);
    assert!(world.run(&["--version"]).out.contains("egressd"));
}

#[test]
fn an_empty_directory_is_a_warning() {
    let ran = World::new().check(&[]);
    assert_eq!(ran.exit, Exit::Success);
    assert!(ran.out.contains("no_connections"), "{}", ran.out);
}

#[test]
fn a_missing_path_is_a_problem() {
    let world = World::new();
    let ran = world.run(&["check", world.path("nowhere").to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Failure);
    let ran = world.run(&[
        "check",
        "--config",
        world.path("nowhere.yaml").to_str().unwrap(),
    ]);
    assert_eq!(ran.exit, Exit::Failure);
}

#[test]
fn files_are_read_in_order_and_hidden_or_other_files_are_not() {
    let world = World::new()
        .file("b.yml", connection(&[]))
        .file("a.json", r#"{"connections": [{"id": "z", "connectionDetails": {"http": {"baseUrl": "https://h", "allowedRoutes": ["/a"], "noAuth": {}}}}, {"name": "connections/y", "connection_details": {"http": {"base_url": "https://h", "allowed_routes": ["/a"], "no_auth": {}}}}]}"#)
        .file("..data/c.yaml", "broken: [")
        .file(".hidden.yaml", "broken: [")
        .file("nested/d.yaml", "broken: [")
        .file("notes.txt", "broken: [");
    std::os::unix::fs::symlink(world.path("b.yml"), world.path("linked.yaml")).unwrap();
    let loaded = world
        .definitions()
        .unwrap_or_else(|found| panic!("{found:?}"));
    let ids: Vec<&str> = loaded.connections.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["z", "y", "b", "linked"]);
    assert_eq!(loaded.sources.definitions.len(), 3);
}
