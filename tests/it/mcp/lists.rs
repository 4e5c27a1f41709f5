//! Discovery, lists, and messages that are not valid.

use serde_json::{Value, json};

use super::client::{ACCEPT, Client, JSON, NEWEST, OLDER, meta, post};
use crate::support::connection::Connection;
use crate::support::{Agent, Sidecar, Upstream, connection};

fn crm() -> Connection {
    connection("crm")
        .allow("GET /users/{id}")
        .allow("POST /users")
        .allow("DELETE /users/{id}")
        .allow("/files/{path...}")
        .base_url("https://crm.test")
        .bearer("planted-bearer-token-0123456789abcdef")
        .with_field("display_name", json!("The CRM\n- injected"))
        .with_field("description", json!("Customers\nand users.\n\nMore."))
}

fn sidecar() -> Sidecar {
    let erp = connection("erp")
        .allow("GET /a")
        .base_url("https://erp.test");
    let off = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = connection("off")
        .allow("GET /a")
        .base_url("https://off.test")
        .with_field("tool_configurations", off);
    let gone = connection("gone")
        .allow("GET /a")
        .base_url("https://gone.test")
        .with_field("delete_time", json!("2026-01-02T03:04:05Z"));
    let plan = Sidecar::with(erp).with_connection(crm());
    plan.with_connection(off).with_connection(gone).start()
}

#[test]
fn both_kinds_of_revisions_begin() {
    let sidecar = sidecar();
    let found = Client::connect(&sidecar).result("server/discover", json!({}));
    let versions = found["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!(NEWEST)), "{found}");
    assert_eq!(found["capabilities"]["tools"]["listChanged"], true);

    let mut older = Client::with_revision(&sidecar, OLDER);
    let hello = json!({
        "protocolVersion": OLDER,
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    });
    let begun = older.result("initialize", hello);
    assert_eq!(begun["protocolVersion"], OLDER);
    assert_eq!(begun["serverInfo"]["name"], "egressd");
    // Announcements need a subscription of the newest revision.
    assert_eq!(begun["capabilities"], json!({"tools": {}}));
    for found in [&found, &begun] {
        let instructions = found["instructions"].as_str().unwrap();
        assert!(
            instructions.ends_with(":\n- crm: The CRM\n- erp\n"),
            "{instructions}"
        );
    }
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let fields = [ACCEPT, JSON, ("MCP-Protocol-Version", OLDER)];
    let reply = older.agent.exchange(post(&fields, &ready.to_string()));
    reply.expect_status(202);
    assert_eq!(older.tool_names().0.len(), 5);
}

#[test]
fn each_route_of_a_usable_connection_is_a_tool() {
    let sidecar = sidecar();
    let mut client = Client::connect(&sidecar);
    let list = client.result("tools/list", json!({}));
    assert_eq!(list["ttlMs"], 60_000);
    assert_eq!(list["cacheScope"], "private");
    let tools = list["tools"].as_array().unwrap();
    let facts: Vec<_> = tools
        .iter()
        .map(|tool| {
            let hint = |name: &str| tool["annotations"][name].as_bool();
            let hints = ["readOnlyHint", "destructiveHint", "idempotentHint"].map(hint);
            let text = |name: &str| tool[name].as_str().unwrap();
            (text("name"), text("title"), text("description"), hints)
        })
        .collect();
    let no = Some(false);
    let yes = Some(true);
    assert_eq!(
        facts,
        [
            (
                "crm_any_files_path",
                "/files/{path...}",
                "`/files/{path...}`: Customers\nand users.",
                [no, None, no]
            ),
            (
                "crm_delete_users_id",
                "DELETE /users/{id}",
                "`DELETE /users/{id}`: Customers\nand users.",
                [no, yes, yes]
            ),
            (
                "crm_get_users_id",
                "GET /users/{id}",
                "`GET /users/{id}`: Customers\nand users.",
                [yes, no, yes]
            ),
            (
                "crm_post_users",
                "POST /users",
                "`POST /users`: Customers\nand users.",
                [no, None, no]
            ),
            ("erp_get_a", "GET /a", "`GET /a` of erp", [yes, no, yes]),
        ]
    );
    assert_eq!(tools[2]["inputSchema"]["required"], json!(["id"]));
    assert!(!list.to_string().contains("crm.test"), "{list}");
}

#[test]
fn ten_thousand_routes_are_listed_in_pages() {
    let many = |id: &str, count: usize| {
        let mut many = connection(id).base_url("https://many.test");
        for number in 0..count {
            many = many.allow(&format!("GET /items/{number}/{{id}}"));
        }
        many
    };
    let sidecar = Sidecar::with(many("m-1", 9_850)).with_connection(many("m", 150));
    let sidecar = sidecar.start();
    let begun = std::time::Instant::now();
    let (names, pages) = Client::connect(&sidecar).tool_names();
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert_eq!(pages, 100);
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!((names.len(), distinct.len()), (10_000, 10_000));
    let first = names.iter().take_while(|name| name.starts_with("m_"));
    assert_eq!(first.count(), 150);
}

#[test]
fn a_cursor_stays_valid_after_a_reload() {
    let routes = |from: usize| {
        let mut many = connection("m").base_url("https://many.test");
        for number in from..from + 150 {
            many = many.allow(&format!("GET /items/{number:04}"));
        }
        many
    };
    let sidecar = Sidecar::with(routes(0)).start();
    let mut client = Client::connect(&sidecar);
    let page = client.result("tools/list", json!({}));
    let cursor = json!({"cursor": page["nextCursor"]});
    // The last tool of the page vanishes, and tools on both sides of it appear.
    sidecar.reload(&[routes(100)]).unwrap();
    let page = client.result("tools/list", cursor.clone());
    let names = page["tools"].as_array().unwrap();
    assert_eq!(names[0]["name"], "m_get_items_0100");
    assert_eq!(names.len(), 100);
    sidecar.reload(&[routes(0).rename("a")]).unwrap();
    let page = client.result("tools/list", cursor);
    assert_eq!(page["tools"], json!([]));
}

#[test]
fn messages_that_are_not_valid_get_errors() {
    let sidecar = sidecar();
    let mut client = Client::connect(&sidecar);
    // F-289
    for cursor in ["", "x", "crm", "!!!", "Y3Jt", &"Y3Jt".repeat(99)] {
        let error = client.error("tools/list", json!({"cursor": cursor}));
        assert_eq!(error, (200, -32602), "{cursor}");
    }
    // F-286
    for name in ["crm", "crm_", "crm_get_nothing", "off_get_a", "gone_get_a"] {
        let error = client.error("tools/call", json!({"name": name}));
        assert_eq!(error, (200, -32602), "{name}");
    }
    assert_eq!(
        client.error("prompts/get", json!({"name": "a"})),
        (404, -32601)
    );
    // F-285
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\u{0}", -32700),
        ("[]", -32600),
        (
            "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]",
            -32600,
        ),
        ("{}", -32600),
        ("1", -32600),
    ] {
        let reply = client.agent.exchange(post(&[ACCEPT, JSON], body));
        assert_eq!(
            reply.expect_status(400).json()["error"]["code"],
            code,
            "{body}"
        );
    }
    let deep = "[".repeat(30_000);
    let reply = client.agent.exchange(post(&[ACCEPT, JSON], &deep));
    assert_eq!(reply.expect_status(400).json()["error"]["code"], -32700);
}

#[test]
fn headers_that_contradict_the_message_are_refused() {
    // F-288
    let sidecar = sidecar();
    let mut agent = Agent::connect(&sidecar);
    let params = json!({"name": "crm_post_users", "arguments": {}, "_meta": meta()});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let version = ("MCP-Protocol-Version", NEWEST);
    let method = ("Mcp-Method", "tools/call");
    for fields in [
        vec![version],
        vec![version, method],
        vec![version, method, ("Mcp-Name", "erp_get_a")],
        vec![
            version,
            ("Mcp-Method", "tools/list"),
            ("Mcp-Name", "crm_post_users"),
        ],
        vec![
            ("MCP-Protocol-Version", OLDER),
            method,
            ("Mcp-Name", "crm_post_users"),
        ],
    ] {
        let fields = [fields.as_slice(), &[ACCEPT, JSON]].concat();
        let reply = agent.exchange(post(&fields, &message.to_string()));
        assert_eq!(
            reply.expect_status(400).json()["error"]["code"],
            -32020,
            "{fields:?}"
        );
    }
}

#[test]
fn other_methods_and_types_are_refused() {
    let sidecar = sidecar();
    let mut agent = Agent::connect(&sidecar);
    for method in ["GET", "DELETE", "PUT"] {
        let reply = agent.request(method, "/mcp", &[ACCEPT], b"");
        let allow = reply.expect_status(405).fields.single_value("allow");
        assert_eq!(allow.as_deref(), Some("POST"), "{method}");
    }
    let text = ("Content-Type", "text/plain");
    agent
        .exchange(post(&[ACCEPT, text], "{}"))
        .expect_status(415);
    agent.exchange(post(&[JSON], "{}")).expect_status(406);
    // Only this path is served.
    agent.get("/mcp/").refused(404, "connection_not_found");
    agent.get("/mcp/tools").refused(404, "connection_not_found");
}

#[test]
fn the_checks_of_every_request_apply() {
    let sidecar = sidecar();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
    let request = |fields: &[(&str, &str)]| {
        let fields = [&[ACCEPT, JSON], fields].concat();
        Agent::connect(&sidecar).exchange(post(&fields, &message.to_string()))
    };
    request(&[]).expect_status(200);
    request(&[("Origin", "http://localhost")]).refused(403, "browser_request_refused");
    request(&[("Sec-Fetch-Site", "cross-site")]).refused(403, "browser_request_refused");
    let foreign = post(&[ACCEPT, JSON], "{}").replace("localhost", "evil.test");
    let reply = Agent::connect(&sidecar).exchange(foreign);
    reply.refused(421, "host_not_allowed");
    // A connection that is mounted at the root owns the whole path.
    let mounted = post(&[ACCEPT, JSON], "{}").replace("localhost", "crm.localhost");
    let reply = Agent::connect(&sidecar).exchange(mounted);
    reply.refused(403, "route_not_allowed");
}

#[test]
fn a_listener_has_the_tools_of_its_connections() {
    let up = Upstream::echo();
    let plan = Sidecar::with(crm());
    let erp = connection("erp").allow("GET /a").upstream(&up);
    let only = json!([{"listen": ["127.0.0.1:0"], "connections": ["erp"]}]);
    let sidecar = plan.with_connection(erp).setting("proxy.listeners", only);
    let sidecar = sidecar.start();
    let mut client = Client::connect_to(sidecar.addresses()[1]);
    assert_eq!(client.tool_names().0, ["erp_get_a"]);
    let found = client.result("server/discover", json!({}));
    let instructions = found["instructions"].as_str().unwrap();
    assert!(instructions.ends_with(":\n- erp\n"), "{instructions}");
    let error = client.error("tools/call", json!({"name": "crm_post_users"}));
    assert_eq!(error, (200, -32602));
    let result = client.call("erp_get_a", &json!({}));
    assert_eq!(result["structuredContent"]["target"], "/a");
    assert_eq!(Client::connect(&sidecar).tool_names().0.len(), 5);
}

#[test]
fn messages_have_limits() {
    let plan = Sidecar::with(crm()).setting("proxy.max_request_body_bytes", 400_000);
    let sidecar = plan.start();
    let big = "x".repeat(400_001);
    let reply = Agent::connect(&sidecar).exchange(post(&[ACCEPT, JSON], &big));
    reply.refused(413, "request_too_large");
    let values = format!("[{}]", "0,".repeat(40_000));
    let reply = Agent::connect(&sidecar).exchange(post(&[ACCEPT, JSON], &values));
    reply.refused(413, "request_too_large");
    // The setting is higher than what is held for a message.
    let plan = Sidecar::with(crm()).setting("proxy.max_request_body_bytes", 1_u64 << 30);
    let sidecar = plan.start();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 33554433\r\n\r\n";
    let refused = Agent::connect(&sidecar).exchange(head);
    let refused = refused.refused(413, "request_too_large");
    let cap = "but a message to `/mcp` may have at most 33554432.";
    assert!(refused.detail.ends_with(cap), "{}", refused.detail);
    assert_eq!(refused.document["limit"], 33_554_432);
}

#[test]
fn a_request_id_is_on_every_response() {
    let sidecar = sidecar();
    let mut agent = Agent::connect(&sidecar);
    let fields = [ACCEPT, JSON, ("X-Request-Id", "r-7")];
    let reply = agent.exchange(post(&fields, "{"));
    let id = reply.fields.single_value("x-egressd-request-id");
    assert_eq!(id.as_deref(), Some("r-7"));
}

#[test]
fn mcp_can_be_turned_off() {
    let sidecar = Sidecar::with(crm()).setting("mcp.enabled", false).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/mcp").refused(404, "connection_not_found");
}

#[test]
fn the_id_mcp_is_reserved() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(crm()).start();
    let taken = connection("mcp").allow("GET /a").upstream(&up);
    let problems = sidecar.reload(&[taken]).err().unwrap();
    let problem = problems.iter().find(|problem| problem.code == "invalid_id");
    assert!(problem.unwrap().message.contains("itself serves `/mcp`"));
    let _: Value = Client::connect(&sidecar).result("tools/list", json!({}));
}
