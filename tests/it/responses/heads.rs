//! Statuses and fields of responses.

use serde_json::json;

use super::{PROTOCOL, answer_to, assert_all_refused, before, ok};
use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn a_length_without_a_body() {
    // F-114
    let up = Upstream::reply(ok("Content-Length: 5000\r\nX-A: b\r\n", ""));
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for sockets in 1..=2 {
        let reply = agent.request("HEAD", "/crm/x", &[], b"");
        assert_eq!(
            reply
                .expect_status(200)
                .fields
                .single_value("content-length")
                .as_deref(),
            Some("5000")
        );
        // If a server sends the body anyway, it must not answer another request (F-219).
        assert_eq!(up.sockets(), sockets);
    }
}

#[test]
fn no_content_has_no_length() {
    // F-127
    let up = Upstream::reply("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..2 {
        let reply = agent.request("HEAD", "/crm/x", &[], b"");
        assert_eq!(
            reply
                .expect_status(204)
                .fields
                .single_value("content-length"),
            None
        );
    }
}

#[test]
fn a_head_reply_may_leave_the_length_out() {
    let up = Upstream::reply(ok("", ""));
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..2 {
        agent.request("HEAD", "/crm/x", &[], b"").expect_status(200);
    }
}

#[test]
fn heads_that_are_too_large_are_refused() {
    // F-116
    let many: String = (0..101).map(|n| format!("X-{n}: v\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "v".repeat(66_000));
    let rows = [ok(&many, ""), ok(&large, "")];
    let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
    assert_all_refused(&rows, PROTOCOL, "http_response_header_section_size");
}

#[test]
fn informational_responses_are_consumed_up_to_sixteen() {
    // F-118
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let whole = ok("Content-Length: 2\r\n", "hi");
    for n in [1, 16] {
        let reply = answer_to(format!("{}{whole}", early.repeat(n)));
        assert_eq!(reply.expect_status(200).text(), "hi");
        assert!(reply.informational.is_empty(), "{n}");
        assert!(reply.fields.all("link").is_empty());
    }
    let large = format!(
        "HTTP/1.1 103 Early Hints\r\nX-A: {}\r\n\r\n",
        "a".repeat(30_000)
    )
    .repeat(3);
    let rows = [early.repeat(17), early.repeat(50_000), large].map(|flood| flood + &whole);
    let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
    assert_all_refused(&rows, PROTOCOL, "http_protocol_error");
    let reply = answer_to(format!("HTTP/1.1 100 Continue\r\n\r\n{whole}"));
    assert_eq!(reply.expect_status(200).text(), "hi");
}

#[test]
fn switching_protocols_without_a_request_is_refused() {
    // F-119
    let up = Upstream::script(|wire| {
        wire.request();
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        wire.wait_for_end();
    });
    let sidecar = before(&up);
    let problem = Agent::connect(&sidecar)
        .get("/crm/x")
        .refused(502, PROTOCOL);
    assert_eq!(problem.error, "http_upgrade_failed");
    up.wait_closed(1);
}

#[test]
fn invalid_statuses() {
    // F-120
    let rows = ["099", "20", "abc", "600", "999", "-20", "2000", "", "+20"]
        .map(|status| format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nhi"));
    let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
    assert_all_refused(&rows, PROTOCOL, "http_protocol_error");
}

#[test]
fn invalid_heads() {
    // F-126
    let rows = [
        "just text\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03",
        "HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\0c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ];
    for row in rows {
        let reply = answer_to(row);
        assert_eq!(reply.status, 502, "{row:?} got {reply:?}");
        reply.refused(502, PROTOCOL);
    }
    for partial in ["", "HTTP/1.1 200 OK\r\nX-A: b\r\n"] {
        let problem = answer_to(partial).refused(502, PROTOCOL);
        assert_eq!(problem.error, "connection_terminated", "{partial:?}");
    }
}

#[test]
fn redirects_are_passed_on_and_resolved() {
    // F-128
    let up = Upstream::answer(|request| {
        let location = request
            .fields
            .single_value("x-location")
            .unwrap_or_default();
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Location: {location}\r\nContent-Length: 0\r\n\r\n"
        )
    });
    let crm = connection("crm").allow("/").upstream_at(&up, "/base");
    let sidecar = Sidecar::with(crm).start();
    let host = up.address();
    let outside = format!("https://{host}/other");
    let rows = [
        (
            "https://evil.com/x".to_owned(),
            "https://evil.com/x".to_owned(),
        ),
        (
            "http://evil.com/x".to_owned(),
            "http://evil.com/x".to_owned(),
        ),
        ("data:text/html,x".to_owned(), "data:text/html,x".to_owned()),
        ("//evil.com/x".to_owned(), "https://evil.com/x".to_owned()),
        (
            format!("https://{host}/base/y?q#f"),
            "/crm/y?q#f".to_owned(),
        ),
        ("/base/y".to_owned(), "/crm/y".to_owned()),
        ("y".to_owned(), "/crm/a/y".to_owned()),
        ("/other".to_owned(), outside.clone()),
        ("../../other".to_owned(), outside),
        (
            format!("https://{host}/basement"),
            format!("https://{host}/basement"),
        ),
    ];
    for (given, seen) in rows {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.request("GET", "/crm/a/b", &[("X-Location", &given)], b"");
        reply.expect_status(302);
        for name in ["location", "content-location"] {
            assert_eq!(
                reply.fields.single_value(name).as_deref(),
                Some(seen.as_str()),
                "{given}"
            );
        }
    }
    assert_eq!(up.requests().len(), 10);
}

/// Returns an upstream that redirects to the value of the request's `X-Location`, `/base/a` and
/// `/erp/x`.
fn redirecting() -> (Upstream, Sidecar) {
    let up = Upstream::answer(|request| {
        let location = request
            .fields
            .single_value("x-location")
            .unwrap_or_default();
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nLocation: /base/a\r\nLocation: /erp/x\r\nContent-Length: 0\r\n\r\n"
        )
    });
    let crm = connection("crm").allow("/").upstream_at(&up, "/base");
    let sidecar = Sidecar::with(crm).setting("proxy.allowed_hosts", json!(["box.internal"]));
    (up, sidecar.start())
}

/// Returns the references that an agent receives.
fn locations(sidecar: &Sidecar, given: &str) -> Vec<String> {
    let own = sidecar.address();
    let request = format!("GET /crm/a?q HTTP/1.1\r\nHost: {own}\r\nX-Location: {given}\r\n\r\n");
    let reply = Agent::connect(sidecar).exchange(request);
    reply.expect_status(302).fields.all("location")
}

#[test]
fn no_reference_leads_into_another_connection() {
    let (up, sidecar) = redirecting();
    let (host, own) = (up.address(), sidecar.address());
    let port = own.port();
    let second = ["/crm/a".to_owned(), format!("https://{host}/erp/x")];
    for given in [
        "http:/erp/x".to_owned(),
        "HTTP:erp/x".to_owned(),
        "http:\\erp".to_owned(),
        format!("http://{own}/erp/x"),
        format!("http:///{own}/erp/x"),
        format!("http://u@localhost:{port}/erp/x"),
        format!("http:\\\\[::1]:{port}\\erp"),
        format!("http://2130706433:{port}/erp"),
        format!("http://0.0.0.0:{port}/erp"),
        format!("http://erp.localhost.:{port}?x"),
        format!("http://BOX.internal:{port}/erp"),
    ] {
        assert_eq!(locations(&sidecar, &given), second, "{given}");
    }
    for given in [
        "https://example.com/a\\b".to_owned(),
        "https://example.com/?next=\\\\x@y".to_owned(),
        "http://example.com?mail=a@example.org".to_owned(),
        "https://user@example.com/x".to_owned(),
        format!("http://{host}/other"),
        "http://localhost/erp/x".to_owned(),
        format!("http://example.com:{port}/erp/x"),
        format!("http://10.1.2.3:{port}/erp/x"),
    ] {
        assert_eq!(locations(&sidecar, &given).first(), Some(&given));
    }
    // The upstream's own host without TLS.
    let given = format!("http://{host}/base/x");
    assert_eq!(locations(&sidecar, &given)[0], "/crm/x");
    // A `Host` field does not have to name the port.
    let given = format!("http://127.0.0.1:{port}/erp/x");
    let reply = Agent::connect(&sidecar).request("GET", "/crm/a", &[("X-Location", &given)], b"");
    assert_eq!(reply.expect_status(302).fields.all("location"), second);
    for (given, seen) in [("#f", "/crm/a?q#f"), ("?r", "/crm/a?r"), ("a", "/crm/a")] {
        assert_eq!(
            locations(&sidecar, given).first().map(String::as_str),
            Some(seen)
        );
    }
}

#[test]
fn references_whose_host_depends_on_the_parser_are_dropped() {
    // F-237
    let (up, sidecar) = redirecting();
    let (host, own) = (up.address(), sidecar.address());
    let port = own.port();
    let second = ["/crm/a".to_owned(), format!("https://{host}/erp/x")];
    for given in [
        format!("http://example.com\\@{own}/erp/x"),
        format!("http://example.com\\\\@{own}/erp/x"),
        format!("https://example.com\\@{own}/erp/x"),
        format!("//example.com\\@{own}/erp/x"),
        format!("\\\\{own}\\erp"),
        format!("/\\{own}/erp/x"),
        format!("https:\\\\{own}\\erp"),
        format!("https:/{own}/erp"),
        format!("https:{own}/erp"),
        format!("https:///{own}/erp"),
        format!("///{own}/erp"),
        format!("//\\{own}/erp"),
        format!("http://example.com@example.org@{own}/erp"),
        format!("http://{own}@example.org@example.com/erp"),
        format!("http://example.com?@{own}/erp"),
        format!("http://example.com#@{own}/erp"),
        format!("http://{own}%2f@example.com\\/erp"),
        format!("http://%31%32%37.0.0.1:{port}/erp"),
        format!("http://127.0.0.1%3a{port}/erp"),
        format!("ht\ttp://{own}/erp"),
        format!("/\t/{own}/erp"),
        "http://exam\tple.com/".to_owned(),
        "http:".to_owned(),
        "//".to_owned(),
    ] {
        assert_eq!(locations(&sidecar, &given), second, "{given}");
    }
}

#[test]
fn fields_that_never_reach_the_agent() {
    // F-129
    let names = [
        "Set-Cookie",
        "Set-Cookie2",
        "Clear-Site-Data",
        "Alt-Svc",
        "Strict-Transport-Security",
        "NEL",
        "Report-To",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Connection",
        "Proxy-Status",
        "Access-Control-Allow-Origin",
        "Access-Control-Allow-Credentials",
        "X-Egressd-Error",
        "X-Egressd-Anything",
        "X_Egressd_Error",
        "X-Egressd_Request-Id",
        "X.Egressd.Error",
        "Proxy_Status",
        // F-233: fields that change how a browser treats other connections.
        "Accept-CH",
        "Attribution-Reporting-Register-Source",
        "Origin-Agent-Cluster",
        "Public-Key-Pins",
        "Reporting-Endpoints",
        "Sec-Session-Registration",
        "Secure-Session-Registration",
        "Set-Login",
        "Speculation-Rules",
        "Timing-Allow-Origin",
        "Use-As-Dictionary",
        "Keep-Alive",
        "Upgrade",
        "Trailer",
        "X-Nominated",
    ];
    let fields: String = names
        .iter()
        .map(|name| format!("{name}: evil\r\n"))
        .collect();
    let rest = "X-A: 1\r\nConnection: keep-alive, x-nominated\r\nx-b: 2\r\nX-A: 3\r\nServer: s\r\nContent-Length: 2\r\n";
    let reply = answer_to(ok(&(fields + rest), "hi"));
    assert_eq!(reply.expect_status(200).text(), "hi");
    let evil = reply.fields.0.iter().find(|(_, value)| value == b"evil");
    assert_eq!(evil, None);
    assert_eq!(reply.fields.all("x-a"), ["1", "3"]);
    assert_eq!(
        (reply.fields.all("x-b"), reply.fields.all("server")),
        (vec!["2".to_owned()], vec!["s".to_owned()])
    );
}

#[test]
fn fields_about_retries_and_the_upstream_itself_reach_the_agent() {
    // F-129: SDKs read these headers, and the upstream decides their values.
    let fields = "X-Should-Retry: true\r\nRetry-After: 3\r\nX-Proxy-Cache: HIT\r\nNo-Vary-Search: key-order\r\nX-Egress: 1\r\nContent-Length: 2\r\n";
    let reply = answer_to(ok(fields, "hi"));
    let fields = &reply.expect_status(200).fields;
    for (name, value) in [
        ("x-should-retry", "true"),
        ("retry-after", "3"),
        ("x-proxy-cache", "HIT"),
        ("no-vary-search", "key-order"),
        ("x-egress", "1"),
    ] {
        assert_eq!(fields.all(name), [value], "{name}");
    }
}

#[test]
fn cookies_reach_the_agent_if_they_are_allowed() {
    // F-129
    let up = Upstream::reply(ok(
        "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n",
        "",
    ));
    let crm = connection("crm")
        .allow("/")
        .upstream(&up)
        .http("allow_cookies", json!(true));
    let sidecar = Sidecar::with(crm).start();
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(
        reply.expect_status(200).fields.all("set-cookie"),
        ["a=b", "c=d"]
    );
}

#[test]
fn a_cookie_stays_with_the_connection_that_set_it() {
    // F-235
    let cookies = "Set-Cookie: a=1; Domain=localhost; Path=/\r\nSet-Cookie: b=2; Path=/erp/x; HttpOnly\r\n\
                   Set-Cookie: c=3; Path=/base/deep; Secure\r\nSet-Cookie: __Host-d=4; Secure; Path=/\r\n\
                   Set-Cookie2: e=5; Path=/\r\nContent-Length: 0\r\n";
    let up = Upstream::reply(ok(cookies, ""));
    let with_cookies = |id: &str, base: &str| {
        let open = connection(id).allow("/").upstream_at(&up, base);
        open.http("allow_cookies", json!(true))
    };
    let sidecar = Sidecar::with(with_cookies("crm", ""))
        .with_connection(with_cookies("erp", "/base"))
        .start();
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(
        reply.expect_status(200).fields.all("set-cookie"),
        [
            "a=1; Path=/crm/",
            "b=2; Path=/crm/erp/x; HttpOnly",
            "c=3; Path=/crm/base/deep; Secure",
            "__Host-d=4; Secure; Path=/crm/",
        ]
    );
    assert!(reply.fields.all("set-cookie2").is_empty());
    let reply = Agent::connect(&sidecar).get("/erp/x");
    assert_eq!(
        reply.expect_status(200).fields.all("set-cookie"),
        [
            "a=1; Path=/erp/",
            "b=2; Path=/erp/; HttpOnly",
            "c=3; Path=/erp/deep; Secure",
            "__Host-d=4; Secure; Path=/erp/",
        ]
    );
}

#[test]
fn every_forwarded_answer_is_sandboxed() {
    // F-233, F-234
    let fields = "Content-Security-Policy: default-src *\r\nContent-Security-Policy: sandbox allow-scripts allow-same-origin\r\n\
                  Content-Security-Policy-Report-Only: default-src *\r\nX-Content-Type-Options: none\r\n\
                  Service-Worker-Allowed: /\r\nConnection: content-security-policy, x-content-type-options\r\n";
    let length = "Content-Length: 2\r\n";
    for status in ["200 OK", "404 Not Found", "304 Not Modified"] {
        for fields in ["", fields] {
            let body = if status.starts_with("304") { "" } else { "hi" };
            let reply = answer_to(format!("HTTP/1.1 {status}\r\n{fields}{length}\r\n{body}"));
            let one = |name: &str| reply.fields.all(name);
            assert_eq!(one("content-security-policy"), ["sandbox"], "{status}");
            assert_eq!(one("x-content-type-options"), ["nosniff"], "{status}");
            assert!(one("content-security-policy-report-only").is_empty());
            assert!(one("service-worker-allowed").is_empty());
        }
    }
}
