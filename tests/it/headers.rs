//! Header fields of requests: those that are dropped, those that egressd adds, and those that pass
//! unchanged.

use egressd::domain::agent_headers::GROUPS;
use serde_json::json;

use crate::support::message::Fields;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// A bearer connection `crm`, a static-header connection `key`, and one that passes cookies.
fn world() -> (Upstream, Sidecar) {
    let up = Upstream::echo();
    let open = |id: &str| connection(id).allow("/").upstream(&up);
    let crm = open("crm").bearer("t").header("X-Tenant-ID", "acme");
    let key = open("key").static_header("X-API-Key", "k");
    let cookies = open("cookies").http("allow_cookies", json!(true));
    let sidecar = Sidecar::with(crm)
        .with_connection(key)
        .with_connection(cookies)
        .start();
    (up, sidecar)
}

/// Sends raw field lines. Returns the fields that reached the upstream.
fn sent(world: &(Upstream, Sidecar), id: &str, lines: &[u8]) -> Fields {
    let (up, sidecar) = world;
    let before = up.requests().len();
    let head = format!("POST /{id}/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n");
    let request = [head.as_bytes(), lines, b"\r\nabc"].concat();
    Agent::connect(sidecar).exchange(request).expect_status(200);
    let mut requests = up.requests().split_off(before);
    assert_eq!(requests.len(), 1);
    let arrived = requests.remove(0);
    assert_eq!(arrived.body.bytes, b"abc");
    assert_eq!(
        arrived.fields.single_value("content-length").as_deref(),
        Some("3")
    );
    let host = up.address().to_string();
    assert_eq!(arrived.fields.single_value("host"), Some(host));
    arrived.fields
}

#[test]
fn agents_cannot_set_the_credential() {
    // F-95
    let world = world();
    for lines in [
        "",
        "Authorization: Bearer evil\r\n",
        "authorization: a\r\nAUTHORIZATION: b\r\n",
        "Authorization: \r\n",
        // F-97
        "Connection: authorization, x-tenant-id, host, content-length\r\n",
        "Connection: close, authorization\r\nAuthorization: evil\r\n",
    ] {
        let fields = sent(&world, "crm", lines.as_bytes());
        assert_eq!(fields.all("authorization"), ["Bearer t"], "{lines:?}");
        // F-110
        assert_eq!(fields.all("x-tenant-id"), ["acme"], "{lines:?}");
    }
}

#[test]
fn agents_cannot_set_a_static_header() {
    // F-96
    let world = world();
    for name in [
        "X-API-Key",
        "x-api-key",
        "X_API_KEY",
        "x_Api-key",
        "X-API_Key",
    ] {
        let fields = sent(
            &world,
            "key",
            format!("{name}: evil\r\n{name}: evil2\r\n").as_bytes(),
        );
        assert_eq!(fields.all("x-api-key"), ["k"], "{name}");
        assert!(
            !fields.names().iter().any(|name| name.contains('_')),
            "{fields:?}"
        );
    }
    // A configured name with underscores also covers the same name with dashes.
    let up = Upstream::echo();
    let under = connection("under").allow("/").upstream(&up);
    let under = under
        .static_header("X_API_KEY", "k")
        .header("X_Tenant", "t");
    let dashed = (up, Sidecar::with(under).start());
    let evil = b"X-API-Key: evil\r\nX_API_KEY: evil\r\nX-Tenant: evil\r\n";
    let fields = sent(&dashed, "under", evil);
    for (name, value) in [("x_api_key", "k"), ("x_tenant", "t")] {
        assert_eq!(fields.all(name), [value], "{fields:?}");
        assert!(fields.all(&name.replace('_', "-")).is_empty(), "{fields:?}");
    }
    // F-97
    let fields = sent(&world, "key", b"Connection: x-api-key\r\n");
    assert_eq!(fields.all("x-api-key"), ["k"]);
    // A name that another connection lists has no effect here.
    assert_eq!(
        sent(&world, "crm", b"X-Key-Of-Another: mine\r\n").all("x-key-of-another"),
        ["mine"]
    );
}

#[test]
fn basic_auth_and_no_auth() {
    let up = Upstream::echo();
    let basic = json!({"username": "Aladdin", "password": "open sesame"});
    let basic = connection("basic")
        .allow("/")
        .upstream(&up)
        .auth("basic_auth", basic)
        .http("reflection_guard", json!(false));
    let none = connection("none").allow("/").upstream(&up);
    let world = (up, Sidecar::with(basic).with_connection(none).start());
    let evil = b"Authorization: Bearer evil\r\n";
    let fields = sent(&world, "basic", evil);
    assert_eq!(
        fields.all("authorization"),
        ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
    );
    assert!(sent(&world, "none", evil).all("authorization").is_empty());
}

#[test]
fn a_key_as_the_user_name_needs_no_password() {
    // F-252: Stripe, Ashby, EasyPost
    let up = Upstream::echo();
    let pair = json!({"username": "sk_live", "password": ""});
    let stripe = connection("stripe").allow("/").upstream(&up);
    let sidecar = Sidecar::with(stripe.auth("basic_auth", pair)).start();
    let world = (up, sidecar);
    let fields = sent(&world, "stripe", b"");
    assert_eq!(fields.all("authorization"), ["Basic c2tfbGl2ZTo="]);
}

#[test]
fn strange_connection_fields() {
    // F-98
    let world = world();
    let tokens: Vec<String> = (0..1000).map(|n| format!("x-hop-{n}")).collect();
    let lines = format!(
        "X-Hop-0: a\r\nX-Hop-999: b\r\nX-Stays: c\r\nConnection: {}\r\n",
        tokens.join(", ")
    );
    let fields = sent(&world, "crm", lines.as_bytes());
    for gone in ["connection", "x-hop-0", "x-hop-999"] {
        assert!(fields.all(gone).is_empty(), "{fields:?}");
    }
    assert_eq!(fields.all("x-stays"), ["c"]);
    let fields = sent(
        &world,
        "crm",
        b"Connection: \xff\xfe, x-hop\r\nX-Hop: a\r\n",
    );
    assert!(fields.all("connection").is_empty());
    for lines in [
        "Connection: ,,\r\n",
        "Connection: \"\r\n",
        "Connection: a b, @\r\n",
    ] {
        assert!(
            sent(&world, "crm", lines.as_bytes())
                .all("connection")
                .is_empty(),
            "{lines:?}"
        );
    }
}

#[test]
fn the_host_is_the_base_urls() {
    // F-99
    let (up, sidecar) = world();
    let request =
        "GET /crm/x HTTP/1.1\r\nHost: other-tenant.localhost\r\nX-Forwarded-Host: evil\r\n\r\n";
    Agent::connect(&sidecar)
        .exchange(request)
        .expect_status(200);
    let fields = up.only_request().fields;
    assert_eq!(fields.all("host"), [up.address().to_string()]);
}

/// Names that never reach the upstream, whatever their value.
const DROPPED: &[&str] = &[
    // F-100
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Proxy-Connection",
    "Proxy-Anything",
    "Keep-Alive",
    "TE",
    "Trailer",
    "HTTP2-Settings",
    "Upgrade",
    // F-101
    "X-Webhook-Signature",
    // F-104
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Anything",
    "Forwarded",
    "X-Real-IP",
    "Via",
    "CDN-Loop",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    // F-238
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "Client-IP",
    "X-Cluster-Client-IP",
    "X-Forwarded",
    "X-Envoy-External-Address",
    "X-True-IP",
    "Cluster-Client-IP",
    // F-239
    "X-Original-Host",
    "X-Host",
    "X-Original-URI",
    "X-Envoy-Original-Path",
    "X-Original-Method",
    "X-Override-URL",
    "X-Backend-Host",
    "Real-Method",
    "X-Amz-Copy-Source",
    "X-MS-Copy-Source",
    "X-Goog-Copy-Source",
    "X-Oss-Copy-Source",
    "X-Copy-From",
    "Destination",
    "X-Vault-Namespace",
    // F-240
    "Impersonate-User",
    "Impersonate-Group",
    "Impersonate-Extra-Scopes",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Forwarded-User",
    "Remote-User",
    "X-WEBAUTH-USER",
    "X-Auth-Request-Email",
    "X-Goog-Authenticated-User-Email",
    "X-Amzn-Oidc-Identity",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name",
    "X-SSL-Client-DN",
    "X-User",
    "X-Username",
    "X-JWT-Assertion",
    "On-Behalf-Of",
    "Stripe-Account",
    "X-Scope-OrgID",
    "X-Grafana-Org-Id",
    // F-241
    "X-API-Key",
    "Api-Key",
    "PRIVATE-TOKEN",
    "JOB-TOKEN",
    "X-Auth-Token",
    "X-Access-Token",
    "X-Amz-Security-Token",
    "X-Goog-Api-Key",
    "X-Vault-Token",
    "X-Shopify-Access-Token",
    "DD-API-KEY",
    "Ocp-Apim-Subscription-Key",
    "X-Figma-Token",
    "X-GitHub-Token",
    "X-Octopus-ApiKey",
    "X-Sonar-Passcode",
    "X-Auth",
    "X-App-Token",
    "X-Jwt-Token",
    "X-Id-Token",
    "X-Api-Secret",
    "X-User-Email",
    "X-Unheard-Of-API-Key",
    "Es-Secondary-Authorization",
    // F-105
    "Cookie",
    "Cookie2",
    // F-109
    "baggage",
    "Authorization",
    "X-Tenant-ID",
];

#[test]
fn names_that_never_reach_the_upstream() {
    let world = world();
    for name in DROPPED {
        for spelling in [
            (*name).to_owned(),
            name.to_uppercase(),
            name.replace('-', "_"),
            // lighttpd maps both to one CGI variable.
            name.replace('-', "."),
        ] {
            let fields = sent(
                &world,
                "crm",
                format!("{spelling}: evil\r\nX-Stays: a\r\n").as_bytes(),
            );
            let evil = fields.0.iter().any(|(_, value)| value == b"evil");
            assert!(!evil, "{spelling} reached the upstream: {fields:?}");
            assert_eq!(fields.all("x-stays"), ["a"], "{spelling}");
        }
    }
    // CGI maps `Proxy` to the variable HTTP_PROXY.
    assert!(
        sent(&world, "crm", b"Proxy: evil\r\n")
            .all("proxy")
            .is_empty()
    );
}

#[test]
fn agents_send_the_credential_headers_that_the_connection_lists() {
    // F-241
    let up = Upstream::echo();
    let open = |id: &str| connection(id).allow("/").upstream(&up).bearer("t");
    let listed = open("listed").http("allow_agent_headers", json!(["x-vault-token", "Api-Key"]));
    let camel = open("camel").http("allowAgentHeaders", json!(["X-Vault-Token"]));
    let resources = json!(["x-amz-copy-source", "Destination", "X-Our-Api-Key"]);
    let resources = open("resources").http("allow_agent_headers", resources);
    let sidecar = Sidecar::with(listed)
        .with_connection(camel)
        .with_connection(open("none"));
    let sidecar = sidecar.with_connection(resources).start();
    let world = (up, sidecar);
    let copies = b"X-Amz-Copy-Source: /b/k\r\nX-Our-Api-Key: mine\r\nX-Goog-Copy-Source: /b/k\r\n";
    let fields = sent(&world, "resources", copies);
    assert_eq!(fields.all("x-amz-copy-source"), ["/b/k"]);
    assert_eq!(fields.all("x-our-api-key"), ["mine"]);
    assert!(fields.all("x-goog-copy-source").is_empty());
    let lines =
        b"X-Vault-Token: mine\r\nX-API-Key: mine\r\nApi-Key: mine\r\nAuthorization: mine\r\n";
    for (id, vault, api) in [("listed", 1, 1), ("camel", 1, 0), ("none", 0, 0)] {
        let fields = sent(&world, id, lines);
        assert_eq!(fields.all("x-vault-token").len(), vault, "{id}");
        assert_eq!(fields.all("api-key").len(), api, "{id}");
        assert!(fields.all("x-api-key").is_empty(), "{id}");
        assert_eq!(fields.all("authorization"), ["Bearer t"], "{id}");
    }
}

#[test]
fn the_documentation_has_the_table_of_dropped_headers() {
    let page = include_str!("../../docs/agents.md");
    let rows: Vec<String> = GROUPS
        .iter()
        .map(|group| {
            let names: Vec<String> = group.names.iter().map(|name| format!("`{name}`")).collect();
            let (states, names) = (group.family.states(), names.join(", "));
            format!("| {states} | {names} | <{}> |", group.source)
        })
        .collect();
    let head = "| states | names | source |\n|---|---|---|\n";
    let (_, table) = page.split_once(head).expect("the table");
    let table = table.split("\n\n").next().expect("its rows");
    assert_eq!(table.lines().collect::<Vec<_>>(), rows);
}

#[test]
fn cookies_pass_if_they_are_allowed() {
    // F-105
    let world = world();
    assert_eq!(
        sent(&world, "cookies", b"Cookie: a=b\r\n").all("cookie"),
        ["a=b"]
    );
    assert!(
        sent(&world, "crm", b"Cookie: a=b\r\n")
            .all("cookie")
            .is_empty()
    );
}

#[test]
fn requests_from_web_pages() {
    // F-106
    let (up, sidecar) = world();
    for (name, value) in [
        ("Origin", "https://evil.com"),
        ("Origin", "null"),
        ("Origin", "http://localhost:8080"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "None"),
        ("sec-fetch-site", ""),
    ] {
        let reply = Agent::connect(&sidecar).request("GET", "/crm/x", &[(name, value)], b"");
        reply.refused(403, "browser_request_refused");
    }
    let both = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")];
    let reply = Agent::connect(&sidecar).request("GET", "/crm/x", &both, b"");
    reply.refused(403, "browser_request_refused");
    let preflight = [
        ("Origin", "https://evil.com"),
        ("Access-Control-Request-Method", "GET"),
    ];
    let reply = Agent::connect(&sidecar).request("OPTIONS", "/crm/x", &preflight, b"");
    reply.refused(403, "browser_request_refused");
    assert!(
        !reply
            .fields
            .names()
            .iter()
            .any(|name| name.starts_with("access-control"))
    );
    assert_eq!(up.sockets(), 0);
    for value in ["none", "same-origin"] {
        let fields = [
            ("Sec-Fetch-Site", value),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ];
        Agent::connect(&sidecar)
            .request("GET", "/crm/x", &fields, b"")
            .expect_status(200);
    }
    for arrived in up.requests() {
        assert!(
            !arrived
                .fields
                .names()
                .iter()
                .any(|name| name.starts_with("sec-fetch"))
        );
    }
}

#[test]
fn service_worker_scripts_are_refused() {
    // F-234
    let (up, sidecar) = world();
    let worker = [("Service-Worker", "script")];
    let reply = Agent::connect(&sidecar).request("GET", "/crm/sw.js", &worker, b"");
    reply.refused(403, "browser_request_refused");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn browsers_are_refused_under_allowed_host_names() {
    // F-236
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm).setting("proxy.allowed_hosts", json!(["box.internal"]));
    let sidecar = sidecar.start();
    let ask = |host: &str, line: &str| {
        let request = format!("GET /crm/x HTTP/1.1\r\nHost: {host}\r\n{line}\r\n");
        Agent::connect(&sidecar).exchange(request)
    };
    let browser = [
        "Upgrade-Insecure-Requests: 1\r\n",
        "Referer: http://evil.com/\r\n",
        "Referer: http://box.internal.evil.com/\r\n",
        "Referer: http://127.0.0.1:8080/x\r\n",
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
        "Accept: Text/HTML\r\n",
        "Accept: */*;q=0.8\r\nAccept: text/html\r\n",
    ];
    for line in browser {
        for host in ["box.internal", "BOX.internal:8080"] {
            let reply = ask(host, line);
            assert_eq!(reply.status, 403, "{host} {line}");
            reply.refused(403, "browser_request_refused");
        }
    }
    assert_eq!(up.sockets(), 0);
    // Browsers send Fetch Metadata to a loopback name, so these signs are not needed there.
    for line in browser {
        for host in ["localhost", "127.0.0.1:8080", "[::1]", "x.localhost"] {
            assert_eq!(ask(host, line).status, 200, "{host} {line}");
        }
    }
    for line in [
        "",
        "Accept: */*\r\n",
        "Accept: application/json, text/html\r\n",
        "Referer: http://box.internal:8080/crm/a\r\n",
        "Referer: /crm/a\r\n",
    ] {
        assert_eq!(ask("box.internal", line).status, 200, "{line}");
    }
}

#[test]
fn trace_context_passes() {
    // F-109
    let world = world();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let lines = format!("traceparent: {parent}\r\ntracestate: a=b\r\nbaggage: user=1\r\n");
    let fields = sent(&world, "crm", lines.as_bytes());
    assert_eq!(fields.all("traceparent"), [parent]);
    assert_eq!(fields.all("tracestate"), ["a=b"]);
    assert!(fields.all("baggage").is_empty());
}

#[test]
fn the_connections_headers_replace_the_agents() {
    // F-110
    let world = world();
    let fields = sent(
        &world,
        "crm",
        b"X-Tenant-ID: evil\r\nx-tenant-id: evil2\r\n",
    );
    assert_eq!(fields.all("x-tenant-id"), ["acme"]);
}

#[test]
fn a_full_head_still_takes_what_is_injected() {
    // F-111
    let world = world();
    // Host and Content-Length are the other two of 100 fields.
    let lines: String = (0..98).map(|n| format!("X-Agent-{n}: {n}\r\n")).collect();
    let fields = sent(&world, "crm", lines.as_bytes());
    for n in 0..98 {
        assert_eq!(fields.all(&format!("x-agent-{n}")), [n.to_string()]);
    }
    assert_eq!(fields.all("authorization"), ["Bearer t"]);
    assert_eq!(fields.all("x-tenant-id"), ["acme"]);
}

#[test]
fn the_rest_passes_unchanged_and_in_order() {
    let world = world();
    let lines = "X-B: 1\r\nAccept: */*\r\nX-A: 2\r\nX-B: 3\r\nAccept-Encoding: br, zstd\r\nX-Empty:\r\nRange: bytes=0-1\r\n";
    let fields = sent(&world, "cookies", lines.as_bytes());
    // Fields of one name are sent together: only the order among them has a meaning (RFC 9110
    // §5.3).
    let agents = [
        "x-b",
        "accept",
        "x-a",
        "accept-encoding",
        "x-empty",
        "range",
    ];
    let mut passed = fields.names();
    passed.retain(|name| agents.contains(&name.as_str()));
    passed.dedup();
    assert_eq!(passed, agents);
    assert_eq!(fields.all("x-b"), ["1", "3"]);
    assert_eq!(fields.all("accept-encoding"), ["br, zstd"]);
    assert_eq!(fields.all("x-empty"), [""]);
}

#[test]
fn a_user_agent_is_added_only_where_there_is_none() {
    let world = world();
    assert_eq!(
        sent(&world, "crm", b"User-Agent: mine\r\n").all("user-agent"),
        ["mine"]
    );
    let added = sent(&world, "crm", b"")
        .single_value("user-agent")
        .expect("a User-Agent");
    assert!(added.starts_with("egressd"), "{added}");
}

/// The values that an agent sends as its request id, and whether egressd uses them.
const REQUEST_IDS: [(&str, bool); 4] = [
    ("mine-1.A_b", true),
    ("two words", false),
    ("a\"b", false),
    ("", false),
];

#[test]
fn a_request_id_is_kept_or_made() {
    let up = Upstream::reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
    let long = "a".repeat(129);
    let legal = "a".repeat(128);
    for (given, kept) in REQUEST_IDS
        .into_iter()
        .chain([(legal.as_str(), true), (long.as_str(), false)])
    {
        let before = up.requests().len();
        // An agent cannot set the id in egressd's own header.
        let fields = [
            ("X-Request-Id", given),
            ("X-Egressd-Request-Id", "planted"),
            ("X_Egressd_Request_Id", "planted"),
        ];
        let reply = Agent::connect(&sidecar).request("GET", "/crm/x", &fields, b"");
        let sent = &up.requests()[before].fields;
        let id = sent.single_value("x-request-id").expect("an id");
        assert_eq!(sent.single_value("x-egressd-request-id"), Some(id.clone()));
        assert_eq!(sent.all("x_egressd_request_id"), [""; 0]);
        let answered = &reply.expect_status(200).fields;
        for name in ["x-request-id", "x-egressd-request-id"] {
            assert_eq!(answered.single_value(name), Some(id.clone()), "{name}");
        }
        assert_eq!(id == given, kept, "{given:?} became {id:?}");
        assert!(!id.is_empty() && id.len() <= 128);
    }
    let mut agent = Agent::connect(&sidecar);
    let ids: Vec<_> = (0..2)
        .map(|_| agent.get("/crm/x").fields.single_value("x-request-id"))
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn the_upstreams_request_id_reaches_the_agent() {
    for theirs in [
        &["req_011CSHoEeqs5C35K2UUqR7Fy"][..],
        &["not \"harmless\" \u{e9}"],
        &["one", "two"],
        &[""],
    ] {
        let lines = theirs.iter().map(|id| format!("X-Request-Id: {id}\r\n"));
        let up = Upstream::reply(format!(
            "HTTP/1.1 200 OK\r\n{}X-Egressd-Request-Id: planted\r\nContent-Length: 0\r\n\r\n",
            lines.collect::<String>()
        ));
        let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up)).start();
        let fields = [("X-Request-Id", "mine")];
        let reply = Agent::connect(&sidecar).request("GET", "/crm/x", &fields, b"");
        let answered = &reply.expect_status(200).fields;
        assert_eq!(answered.all("x-request-id"), theirs);
        assert_eq!(answered.all("x-egressd-request-id"), ["mine"]);
        let sent = up.only_request().fields;
        assert_eq!(sent.all("x-request-id"), ["mine"]);
    }
}

#[test]
fn the_list_of_connections_has_the_request_id() {
    let (_up, sidecar) = world();
    let fields = [("X-Request-Id", "mine")];
    let reply = Agent::connect(&sidecar).request("GET", "/", &fields, b"");
    let answered = &reply.expect_status(200).fields;
    assert_eq!(answered.all("x-request-id"), ["mine"]);
    assert_eq!(answered.all("x-egressd-request-id"), ["mine"]);
}
