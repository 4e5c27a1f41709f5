//! Faults in definitions, each with its number in the catalogue: the text, and the code and field
//! of its only problem.

use super::world::{
    World, connection, loads, refuses, refuses_at, refuses_auth, refuses_http, with_top,
};

#[test]
fn urls() {
    for url in ["http://h", "ftp://h", "h", "//h"] {
        refuses_http("base_url", url, "invalid_url"); // F-1
    }
    for url in ["https:/h", "https:h", r"https:\\h", "https:///h"] {
        refuses_http("base_url", url, "invalid_url"); // F-2
    }
    refuses_http("base_url", "https://h?q", "invalid_url"); // F-3, F-249
    for url in ["https://u:p@h", "'https://h?q=%'", "'https://h/#f'"] {
        refuses_http("base_url", url, "invalid_url"); // F-3
        let oauth = format!("{{token_url: {url}, client_id: a, client_secret: b}}");
        refuses_auth(
            "oauth_client_credentials",
            &oauth,
            "invalid_url",
            "oauth_client_credentials.token_url",
        );
    }
    for url in [
        "https://0x7f.1",
        "https://2130706433",
        "https://①②⑦.0.0.1",
        "https://exa%6dple.com",
        "https://xn--zzzzzzz99999.example",
    ] {
        refuses_http("base_url", url, "invalid_url"); // F-4
    }
    for url in [
        "https://h.",
        "https://a..b",
        "https://-a.b",
        "https://h:0",
        "https://h:65536",
        "https://h/a/..",
        "https://h//",
        "https://h/%2F",
    ] {
        refuses_http("base_url", url, "invalid_url"); // F-5
    }
    refuses_http("base_url", "5", "wrong_type");
}

#[test]
fn unknown_fields() {
    // F-7
    let world = World::new().file(
        "a.yaml",
        connection(&[("allowed_route", "[GET /a]"), ("allowed_routes", "-")]),
    );
    let found = world.errors();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].code, found[0].remedy.as_str()),
        ("unknown_field", "write `allowed_routes`")
    );
    let world = World::new().file(
        "a.yaml",
        connection(&[("allowedRoute", "[GET /a]"), ("allowed_routes", "-")]),
    );
    assert_eq!(world.errors()[0].remedy, "write `allowedRoutes`");
    refuses(&with_top("descripton: x"), "unknown_field", "descripton");
    refuses_http("retries", "5", "unknown_field");
    refuses_auth("no_auth", "{allow: 1}", "unknown_field", "no_auth");
}

#[test]
fn routes() {
    refuses_http("allowed_routes", "[]", "empty"); // F-8
    refuses_http("allowed_routes", "-", "missing_field"); // F-8
    refuses_http("allowed_routes", "GET /a", "wrong_type");
    for route in [
        "get /a",
        "CONNECT /a",
        "TRACE /a",
        "GET h/a",
        "'GET /{id'",
        "'GET /{a}x'",
        "'GET /{x...}/y'",
        "'GET /{}'",
        "'GET /{1a}'",
        "'GET /{a}/{a}'",
    ] {
        let routes = format!("[GET /ok, {route}]");
        refuses_at(
            "allowed_routes",
            &routes,
            "invalid_route",
            "allowed_routes[1]",
        ); // F-9
    }
    refuses_at("allowed_routes", "[5]", "wrong_type", "allowed_routes[0]");
    // F-10
    let world = World::new().file(
        "a.yaml",
        connection(&[("allowed_routes", r"['GET /a\b', GET /ok]")]),
    );
    assert!(world.errors().is_empty());
    let warnings = world.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(
        (warnings[0].code, warnings[0].field.as_str()),
        ("dead_route", "connection_details.http.allowed_routes[0]")
    );
}

#[test]
fn overlapping_routes_are_a_warning_with_a_witness() {
    let routes = "['GET /a/{x}', 'GET /{y}/b', 'GET /a/{z}']";
    let world = World::new().file("a.yaml", connection(&[("allowed_routes", routes)]));
    let warnings = world.warnings();
    assert!(world.errors().is_empty());
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    let overlap = warnings
        .iter()
        .find(|w| w.message.contains("overlaps"))
        .unwrap();
    assert!(overlap.message.contains("`GET /a/{x}`") && overlap.message.contains("`GET /{y}/b`"));
    assert!(overlap.message.contains("`/a/b`"), "{}", overlap.message);
}

#[test]
fn ids() {
    // F-11
    for id in ["1a", "A", "a_b", "a-", "''"] {
        refuses(&with_top(&format!("id: {id}")), "invalid_id", "id");
        refuses(
            &with_top(&format!("name: connections/{id}")),
            "invalid_id",
            "name",
        );
    }
    refuses(&with_top("name: crm"), "invalid_id", "name");
    refuses(&with_top("name: connections/a\nid: b"), "id_mismatch", "id");
    refuses(&with_top("id: 12"), "wrong_type", "id");
    loads(&with_top("name: connections/a\nid: a"));
    let world = World::new().file("Bad_Stem.yaml", connection(&[]));
    assert_eq!(world.errors()[0].code, "invalid_id");
    let world = World::new()
        .file("a.yaml", connection(&[]))
        .file("b.yaml", with_top("id: a"));
    let found = world.errors();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code, found[0].line), ("duplicate_id", Some(1)));
    assert!(
        found[0].file.ends_with("b.yaml") && found[0].message.contains("a.yaml:1"),
        "{found:?}"
    );
    refuses(
        "connections: [{connection_details: {http: {base_url: https://h, allowed_routes: [/a], no_auth: {}}}}]",
        "missing_field",
        "connections[0]",
    );
}

#[test]
fn caps() {
    // F-12
    for bytes in [
        "0",
        "-1",
        "10485761",
        "5MB",
        "1.5",
        "1e3",
        "'5 '",
        "0x10",
        "99999999999999999999",
        "true",
        "[]",
    ] {
        refuses_http("max_response_size_bytes", bytes, "out_of_range");
    }
    for seconds in ["0", "301", "30.0", "-5", "30s"] {
        refuses_http("timeout_seconds", seconds, "out_of_range");
    }
    refuses_http("max_concurrent_requests", "4097", "out_of_range");
    let good = connection(&[
        ("max_response_size_bytes", "'10485760'"),
        ("timeout_seconds", "1"),
        ("max_concurrent_requests", "4096"),
    ]);
    loads(&good);
}

#[test]
fn headers() {
    // F-13
    for (value, code, field) in [
        (r#"{X-A: "a\r\nb"}"#, "invalid_header", "headers.X-A"),
        (r#"{X-A: "a\0"}"#, "invalid_header", "headers.X-A"),
        ("{X-A: ' a'}", "invalid_header", "headers.X-A"),
        ("{'X A': a}", "invalid_header", "headers"),
        ("{X-A: 5}", "wrong_type", "headers.X-A"),
        ("{X-A: a, x-a: b}", "duplicate_header", "headers.x-a"),
        ("{X-A: a, X-A: b}", "duplicate_key", "headers.X-A"),
        ("[X-A]", "wrong_type", "headers"),
    ] {
        refuses_at("headers", value, code, field);
    }
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "Authorization",
        "Cookie",
        "X-Webhook-Signature",
        "X-Egressd-Error",
        "X_Webhook_Signature",
        "Content_Length",
    ] {
        refuses_at(
            "headers",
            &format!("{{{name}: a}}"),
            "reserved_header",
            &format!("headers.{name}"),
        );
    }
    for name in ["x-key", "X_Key"] {
        let clash = connection(&[
            ("no_auth", "-"),
            ("static_headers", "{headers: {X-Key: {env: K}}}"),
            ("headers", &format!("{{{name}: a}}")),
        ]);
        let found = World::new()
            .file("a.yaml", clash)
            .variable("K", "v")
            .errors();
        assert_eq!(found.len(), 1, "{found:?}");
        let field = format!("connection_details.http.headers.{name}");
        assert_eq!(
            (found[0].code, &found[0].field),
            ("reserved_header", &field)
        );
    }
}

#[test]
fn headers_that_agents_may_send() {
    // F-241
    for (value, code, at) in [
        ("[Authorization]", "reserved_header", "[0]"),
        ("[X-API-Key, Host]", "reserved_header", "[1]"),
        ("[Cookie]", "reserved_header", "[0]"),
        ("[X-Forwarded-For]", "reserved_header", "[0]"),
        ("[X_Forwarded_For]", "reserved_header", "[0]"),
        ("[Connection]", "reserved_header", "[0]"),
        ("[X-Webhook-Signature]", "reserved_header", "[0]"),
        ("[Impersonate-User]", "reserved_header", "[0]"),
        ("['X-API-Key: k']", "invalid_header", "[0]"),
        ("['X-Api-*']", "invalid_header", "[0]"),
        ("['']", "invalid_header", "[0]"),
        ("[X-API-Key, x-api_key]", "duplicate_header", "[1]"),
    ] {
        refuses_at(
            "allow_agent_headers",
            value,
            code,
            &format!("allow_agent_headers{at}"),
        );
    }
    for (field, value) in [
        ("static_headers", "{headers: {X_API_Key: {env: K}}}"),
        ("headers", "{X-Api-Key: k}"),
    ] {
        let auth = if field == "headers" { "{}" } else { "-" };
        let clash = connection(&[
            ("no_auth", auth),
            (field, value),
            ("allow_agent_headers", "[X-API-Key]"),
        ]);
        let found = World::new()
            .file("a.yaml", clash)
            .variable("K", "v")
            .errors();
        assert_eq!(found.len(), 1, "{found:?}");
        let field = "connection_details.http.allow_agent_headers[0]";
        assert_eq!(
            (found[0].code, found[0].field.as_str()),
            ("reserved_header", field)
        );
        assert!(!found[0].remedy.is_empty());
    }
    let needless = connection(&[("allow_agent_headers", "[X-Tenant-ID, PRIVATE-TOKEN]")]);
    let world = World::new().file("a.yaml", needless);
    let warnings = world.warnings();
    let codes: Vec<&str> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["needless_header"]);
    let loaded = world.definitions().unwrap();
    assert_eq!(
        loaded.connections[0].allow_agent_headers,
        ["x-tenant-id", "private-token"]
    );
}

#[test]
fn addresses() {
    let literal =
        |url: &str, cidrs: &str| connection(&[("base_url", url), ("allowed_private_cidrs", cidrs)]);
    loads(&literal("https://10.1.2.3", "[10.0.0.0/8]"));
    loads(&literal("https://[fd00::1]", "['fd00::/8']"));
    refuses(
        &literal("https://10.1.2.3", "[10.2.0.0/16]"),
        "forbidden_address",
        "connection_details.http.base_url",
    );
    refuses(
        &literal("https://169.254.169.254", "[0.0.0.0/0]"),
        "forbidden_address",
        "connection_details.http.base_url",
    );
    for (cidr, code) in [
        ("169.254.0.0/16", "forbidden_cidr"),
        ("'fd00:ec2::254/128'", "forbidden_cidr"),
        ("10.0.0.1", "invalid_cidr"),
        ("10.0.0.1/8", "invalid_cidr"),
        ("x", "invalid_cidr"),
    ] {
        refuses_at(
            "allowed_private_cidrs",
            &format!("[{cidr}]"),
            code,
            "allowed_private_cidrs[0]",
        );
    }
}

#[test]
fn the_rest_of_a_definition() {
    refuses(
        &with_top("connection_type: CONNECTION_TYPE_POSTGRES"),
        "unknown_value",
        "connection_type",
    );
    refuses(
        &with_top("delete_time: yesterday"),
        "invalid_time",
        "delete_time",
    );
    refuses(
        &with_top("tool_configurations: [{tool: TOOL_SQL, enabled: true}]"),
        "unknown_value",
        "tool_configurations[0].tool",
    );
    refuses(
        &with_top("tool_configurations: [{tool: TOOL_HTTP_REQUEST}]"),
        "missing_field",
        "tool_configurations[0].enabled",
    );
    refuses_http("http2", "always", "unknown_value");
    refuses_http("allow_cookies", "'true'", "wrong_type");
    refuses_http("allow_agent_headers", "X-API-Key", "wrong_type");
    refuses_at(
        "allow_agent_headers",
        "[5]",
        "wrong_type",
        "allow_agent_headers[0]",
    );
    refuses(
        "connection_details: {}",
        "missing_field",
        "connection_details.http",
    );
    refuses("{}", "missing_field", "connection_details");
    refuses("[]", "wrong_type", "");
    let top = "delete_time: 2026-01-02T03:04:05Z\ntool_configurations: [{tool: TOOL_HTTP_REQUEST, enabled: false}]\nconnection_type: CONNECTION_TYPE_HTTP";
    let loaded = World::new()
        .file("a.yaml", with_top(top))
        .definitions()
        .unwrap_or_else(|found| panic!("{found:?}"));
    assert!(!loaded.connections[0].enabled && loaded.connections[0].delete_time.is_some());
}

#[test]
fn both_spellings() {
    let camel = "displayName: A\nconnectionType: CONNECTION_TYPE_HTTP\nconnectionDetails:\n  http:\n    baseUrl: https://h\n    allowedRoutes: [GET /a]\n    staticHeaders: {headers: {x_y: a, xY: b}}\n    maxResponseSizeBytes: '5'\n    timeoutSeconds: 5\n    allowCookies: true\n";
    let loaded = World::new()
        .file("a.yaml", camel)
        .definitions()
        .unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!(loaded.connections[0].caps.response.bytes(), 5);
    assert!(loaded.connections[0].allow_cookies);
    refuses(
        &connection(&[("baseUrl", "https://h")]),
        "duplicate_key",
        "connection_details.http.baseUrl",
    );
    refuses(
        &camel.replace("    baseUrl: https://h\n", "    baseUrl: http://h\n"),
        "invalid_url",
        "connectionDetails.http.baseUrl",
    );
}

#[test]
fn one_mistake_does_not_hide_another() {
    let text = "display_name: 5\nid: A\nconnection_details:\n  http:\n    base_url: http://h\n    allowed_routes: [get /, 'GET /{']\n    headers: {Host: a}\n    bearer_token: {tokn: a}\n    timeout_seconds: x\n    nonsense: 1\nfoo: 1\n";
    let world = World::new()
        .file("a.yaml", text)
        .file("b.yaml", "x: [")
        .file("c.yaml", "");
    let found = world.errors();
    assert_eq!(found.len(), 12, "{found:#?}");
}
