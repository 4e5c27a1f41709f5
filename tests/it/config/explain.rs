//! The `explain` command: the very answers of the proxy, without a socket, and no secret among them.

use egressd::cli::Exit;

use super::world::World;

const DEFINITION: &str = r#"
name: connections/crm
connection_details:
  http:
    base_url: https://api.example.com/base
    allowed_routes: ["GET /users/{id}", "POST /users/"]
    headers: {X-Tenant: acme-canary}
    bearer_token: {token: {env: TOKEN}}
"#;

/// As the other, but its responses are searched for no secret.
const UNSEARCHED: &str = r#"
name: connections/unsearched
connection_details:
  http:
    base_url: https://api.example.com
    allowed_routes: ["GET /"]
    headers: {Accept-Encoding: gzip}
    allow_agent_headers: [X-Vault-Token]
    reflection_guard: false
    bearer_token: {token: {env: TOKEN}}
"#;

/// Method and target, how it ends, and what is said.
const ROWS: &[(&str, Exit, &str)] = &[
    (
        "GET /crm/users/1?q",
        Exit::Good,
        "GET https://api.example.com/base/users/1?q",
    ),
    (
        "HEAD /crm/users/1",
        Exit::Good,
        "pattern     GET /users/{id}",
    ),
    (
        "GET http://127.0.0.1:8080/crm/users/1",
        Exit::Good,
        "x-tenant, authorization",
    ),
    // F-108
    (
        "GET /crm/users/2",
        Exit::Good,
        "host, x-request-id, accept-encoding, x-tenant",
    ),
    (
        "GET /crm/users/3",
        Exit::Good,
        "dropped     *-access-token, *-api-key, ",
    ),
    (
        "GET /unsearched/",
        Exit::Good,
        "host, x-request-id, accept-encoding, authorization",
    ),
    // F-241
    (
        "GET /unsearched/",
        Exit::Good,
        "passed      x-vault-token (allow_agent_headers)",
    ),
    ("GET /crm/users/4", Exit::Good, " x-vault-token,"),
    ("GET /", Exit::Good, "list of connections"),
    (
        "GET http://localhost:8080",
        Exit::Good,
        "list of connections",
    ),
    ("POST /", Exit::No, "404 connection_not_found"),
    ("GET /crm", Exit::No, "403 route_not_allowed"),
    ("GET /crm/other", Exit::No, "403 route_not_allowed"),
    (
        "PUT /crm/users/1",
        Exit::No,
        "allowed methods: GET, HEAD, POST",
    ),
    ("GET /nope/a%2Fb", Exit::No, "404 connection_not_found"),
    ("GET /crm/users/a%2F", Exit::No, "400 path_not_canonical"),
    ("GET /nope/../x", Exit::No, "400 path_not_canonical"),
    (
        "GET http://evil.example/crm/users/1",
        Exit::No,
        "421 host_not_allowed",
    ),
    (
        "GET https://evil.example/crm/users/1",
        Exit::No,
        "400 forward_proxy_refused",
    ),
    ("CONNECT evil.example:443", Exit::No, "405 connect_refused"),
    ("OPTIONS *", Exit::No, "400 malformed_request"),
    // hyper's parser refuses this one, with an empty body.
    ("GET /crm/users/a<b?c", Exit::No, "400 path_not_canonical"),
    ("G(T /crm/users/1", Exit::Usage, ""),
    ("GET crm/users/1", Exit::Usage, ""),
];

#[test]
fn explain_says_what_the_proxy_would_say() {
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml, unsearched.yaml]")
        .file("crm.yaml", DEFINITION)
        .file("unsearched.yaml", UNSEARCHED)
        .variable("TOKEN", "token-canary-0123456789");
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    let long = format!("/crm/users/{}", "a".repeat(9000));
    let explained = |method: &str, target: &str| {
        let ran = world.run(&["explain", "--config", config, method, target]);
        let all = format!("{}{}", ran.out, ran.err);
        assert!(!all.contains("canary"), "{all}");
        ran
    };
    for (request, exit, says) in ROWS.iter().copied() {
        let (method, target) = request.split_once(' ').unwrap();
        let ran = explained(method, target);
        assert_eq!(ran.exit, exit, "{request}: {} {}", ran.out, ran.err);
        assert!(ran.out.contains(says), "{request}: {}", ran.out);
    }
    // More than 300 names are written in lines that people can read.
    let ran = explained("GET", "/crm/users/1");
    assert!(ran.out.lines().all(|line| line.len() <= 100), "{}", ran.out);
    let (_, dropped) = ran.out.split_once("  dropped     ").unwrap();
    let names: Vec<&str> = dropped.split(',').map(str::trim).collect();
    assert!(names.len() > 300 && names.is_sorted(), "{names:?}");
    for name in ["x-forwarded-*", "*-api-key", "x-vault-token"] {
        assert!(names.contains(&name), "{name}");
    }
    let ran = explained("GET", &long);
    assert!(ran.out.contains("414 target_too_long"), "{}", ran.out);
}

#[test]
fn definitions_are_given_as_arguments() {
    // F-260
    let world = World::new()
        .file("egressd.yaml", "connections: [listed.yaml]")
        .file("listed.yaml", DEFINITION.replace("crm", "listed"))
        .file("given/crm.yaml", DEFINITION)
        .variable("TOKEN", "token-canary-0123456789");
    let [config, given] = ["egressd.yaml", "given"].map(|name| world.path(name));
    let config = ["--config", config.to_str().unwrap()];
    let given = given.to_str().unwrap();
    for (target, exit) in [("/crm/users/1", Exit::Good), ("/listed/users/1", Exit::No)] {
        let ran = world.run(&[&["explain", "GET", target, given][..], &config].concat());
        assert_eq!(ran.exit, exit, "{target}: {}{}", ran.out, ran.err);
        // Without a settings file, too.
        let ran = world.run(&["explain", "GET", target, given]);
        assert_eq!(ran.exit, exit, "{target}: {}{}", ran.out, ran.err);
    }
    let ran = world.run(&[&["probe", "listed", given][..], &config].concat());
    assert_eq!(ran.exit, Exit::No, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("no connection `listed`"), "{}", ran.err);
}

#[test]
fn explain_names_the_signature() {
    let signed = format!("{DEFINITION}    webhook_signing_secret: {{env: KEY}}\n");
    let world = World::new()
        .file("egressd.yaml", "connections: [crm.yaml]")
        .file("crm.yaml", &signed)
        .variable("TOKEN", "token-canary")
        .variable("KEY", "signing-key-canary");
    let config = world.path("egressd.yaml");
    let config = config.to_str().unwrap();
    for (method, target) in [("POST", "/crm/users/"), ("GET", "/crm/users/1")] {
        let ran = world.run(&["explain", "--config", config, method, target]);
        let added = "authorization, x-webhook-signature (if there is a body)\n";
        assert!(ran.out.contains(added), "{}{}", ran.out, ran.err);
        assert!(!ran.out.contains("canary"), "{}", ran.out);
    }
}
