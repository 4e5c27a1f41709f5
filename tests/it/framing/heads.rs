//! Request lines, targets, hosts and fields.

use super::{post, refused_and_closed, world};
use crate::support::message::text;
use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn a_host_that_is_not_one_host() {
    // F-20
    let (up, sidecar) = world();
    for hosts in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost, localhost\r\n",
        "Host: u@localhost\r\n",
        "Host: localhost/y\r\n",
        "Host: \r\n",
        "Host: local host\r\n",
        "Host: localhost:\u{66}oo\r\n",
    ] {
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.exchange(format!("GET /crm/x HTTP/1.1\r\n{hosts}\r\n"));
        assert_eq!(reply.status, 400, "{hosts:?} got {reply:?}");
        let problem = reply.refused(400, "malformed_request");
        assert_eq!(problem.connection, None);
        agent.expect_close();
        assert_eq!(up.sockets(), 0, "{hosts:?}");
    }
}

#[test]
fn a_host_that_is_not_allowed() {
    // F-21
    let up = Upstream::echo();
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm)
        .setting("proxy.allowed_hosts", vec!["egress.internal"])
        .start();
    let ask = |host: &str| {
        let request = format!("GET /crm/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Agent::connect(&sidecar).exchange(request)
    };
    for host in [
        "evil.com",
        "localhost.evil.com",
        "evillocalhost",
        "128.0.0.1",
        "[::2]",
        "10.0.0.1:8080",
        "egress.internal.evil.com",
    ] {
        ask(host).refused(421, "host_not_allowed");
    }
    assert_eq!(up.sockets(), 0);
    for host in [
        "localhost",
        "LocalHost:1",
        "a.b.localhost:65535",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]",
        "[::1]:99",
        "egress.internal",
        "Egress.Internal:5",
    ] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
}

#[test]
fn unsupported_versions() {
    // F-22
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.exchange("GET /crm/x HTTP/1.0\r\nHost: localhost\r\n\r\n");
    reply.refused(505, "http_version_refused");
    agent.expect_close();
    assert_eq!(up.sockets(), 0);
    // F-23
    refused_and_closed(&[
        ("GET /crm/x\r\n\r\n", 400),
        ("GET /crm/x HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
        ("GET /crm/x HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("GET /crm/x http/1.1\r\nHost: localhost\r\n\r\n", 505),
    ]);
}

#[test]
fn the_http2_preface_is_closed() {
    // F-23
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    agent.wait_close();
    let seen = text(agent.received());
    assert!(
        seen.is_empty() || seen.starts_with("HTTP/1.1 4"),
        "{seen:?}"
    );
    assert_eq!(up.sockets(), 0);
}

#[test]
fn an_offer_of_h2c_is_dropped_and_the_request_served() {
    // F-24
    let (up, sidecar) = world();
    let fields = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ];
    Agent::connect(&sidecar)
        .request("GET", "/crm/x", &fields, b"")
        .expect_status(200);
    let names = up.only_request().fields.names();
    for gone in ["connection", "upgrade", "http2-settings"] {
        assert!(!names.iter().any(|name| name == gone), "{names:?}");
    }
}

#[test]
fn a_websocket_is_refused_with_all_that_follows() {
    // F-25
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.exchange(concat!(
        "GET /crm/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET /crm/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ));
    reply.refused(501, "upgrade_refused");
    agent.expect_close();
    assert_eq!(up.sockets(), 0);
}

#[test]
fn connect_is_refused_and_closed() {
    // F-26
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    let reply = agent.exchange("CONNECT evil.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    reply.refused(405, "connect_refused");
    agent.expect_close();
    assert_eq!(up.sockets(), 0);
}

#[test]
fn methods_outside_the_seven() {
    // F-27
    let (up, sidecar) = world();
    let long = "M".repeat(8192);
    for method in ["TRACE", "get", "G!#ET", "PROPFIND", &long] {
        let request = format!("{method} /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = Agent::connect(&sidecar).exchange(request);
        if reply.status == 405 {
            reply.refused(405, "method_not_allowed");
            let allow = reply.fields.single_value("allow").expect("Allow");
            assert!(allow.contains("GET"), "{allow}");
        } else {
            assert_eq!(reply.status, 400, "{method} got {reply:?}");
        }
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn targets_that_are_not_origin_form() {
    let (up, sidecar) = world();
    // F-28
    for target in [
        "http://evil.com/crm/a",
        "https://u:p@evil.com:99/crm/a",
        "http://localhost/crm/a",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = Agent::connect(&sidecar).exchange(request);
        reply.refused(400, "forward_proxy_refused");
    }
    // F-29
    for line in ["GET evil.com:443", "OPTIONS *", "GET *", "GET crm/x"] {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = Agent::connect(&sidecar).exchange(request);
        assert_eq!(reply.status, 400, "{line} got {reply:?}");
        reply.problem();
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn names_with_underscores_cannot_replace_those_that_egressd_sets() {
    // F-33
    let (up, sidecar) = world();
    let fields = [
        ("Transfer_Encoding", "chunked"),
        ("Content_Length", "99"),
        ("content_Length", "99"),
        ("X_Tenant_ID", "evil"),
        ("x-tenant_id", "evil"),
        ("AUTHORIZATION_", "kept"),
        ("X_Forwarded_For", "1.2.3.4"),
        ("My_Own", "kept"),
    ];
    Agent::connect(&sidecar)
        .request("POST", "/crm/x", &fields, b"abc")
        .expect_status(200);
    let arrived = up.only_request();
    assert_eq!(arrived.fields.all("x-tenant-id"), ["acme"]);
    assert_eq!(arrived.fields.all("my_own"), ["kept"]);
    assert_eq!(arrived.fields.all("authorization_"), ["kept"]);
    let shadows = |name: &String| {
        name.contains('_') && !["my_own", "authorization_"].contains(&name.as_str())
    };
    assert!(
        !arrived.fields.names().iter().any(shadows),
        "{:?}",
        arrived.fields
    );
}

#[test]
fn bare_line_feeds_and_leading_empty_lines_are_normalised() {
    // F-40
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent
        .exchange("GET /crm/x HTTP/1.1\nHost: localhost\nX-A: b\n\n")
        .expect_status(200);
    agent
        .exchange("\r\n\r\nGET /crm/y HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect_status(200);
    for arrived in up.requests() {
        let lines = arrived.head.iter().filter(|byte| **byte == b'\n').count();
        let ends = arrived
            .head
            .windows(2)
            .filter(|pair| pair == b"\r\n")
            .count();
        assert_eq!(lines, ends, "{}", text(&arrived.head));
    }
    assert_eq!(
        up.requests()[0].fields.single_value("x-a").as_deref(),
        Some("b")
    );
}

#[test]
fn invalid_heads() {
    // F-41
    let head = |line: &str| format!("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n");
    let requests = [
        head("X-A: b\rc"),
        head("X-A: b\0c"),
        head("X-A: b\r\n folded"),
        head("X-A: b\r\n\tfolded"),
        head("no colon"),
        head(": empty"),
        head("X-Ä: b"),
        head("X A: b"),
        head("X-A : b"),
    ];
    let rows: Vec<(&str, u16)> = requests.iter().map(|r| (r.as_str(), 400)).collect();
    refused_and_closed(&rows);
}

#[test]
fn values_beyond_ascii_pass_as_bytes() {
    // F-42
    let (up, sidecar) = world();
    let mut request = b"GET /crm/x HTTP/1.1\r\nHost: localhost\r\nX-Bytes: \x80\xff\xfe".to_vec();
    request.extend(b"\r\nX-Text: \xc3\xa4\r\n\r\n");
    Agent::connect(&sidecar)
        .exchange(request)
        .expect_status(200);
    let fields = up.only_request().fields;
    let value = |name: &str| {
        let named = fields
            .0
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.clone())
    };
    assert_eq!(value("x-bytes").as_deref(), Some(&b"\x80\xff\xfe"[..]));
    assert_eq!(value("x-text").as_deref(), Some(&b"\xc3\xa4"[..]));
    for name in [
        "Connection",
        "Transfer-Encoding",
        "Expect",
        "X-Request-Id",
        "Origin",
    ] {
        let request = [
            b"GET /crm/x HTTP/1.1\r\nHost: localhost\r\n",
            name.as_bytes(),
            b": \xff\r\n\r\n",
        ];
        let reply = Agent::connect(&sidecar).exchange(request.concat());
        assert!(matches!(reply.status, 200 | 400 | 403), "{name}: {reply:?}");
    }
}

#[test]
fn heads_that_are_too_large() {
    // F-43
    let many: String = (0..101).map(|n| format!("X-{n}: v\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "v".repeat(70_000));
    for fields in [many, large] {
        let (up, sidecar) = world();
        let mut agent = Agent::connect(&sidecar);
        let request = format!("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let reply = agent.exchange(request);
        assert_eq!(reply.status, 431, "{reply:?}");
        reply.problem();
        assert_eq!(up.sockets(), 0);
    }
}

#[test]
fn targets_that_are_too_long() {
    // F-44
    let (up, sidecar) = world();
    let target = |length: usize| format!("/crm/{}", "a".repeat(length - 5));
    let mut agent = Agent::connect(&sidecar);
    agent.get(&target(8192)).expect_status(200);
    agent.get(&target(8193)).refused(414, "target_too_long");
    let query = format!("/crm/x?{}", "q".repeat(8192));
    agent.get(&query).refused(414, "target_too_long");
    assert_eq!(up.requests().len(), 1);
    let reply = Agent::connect(&sidecar).get(&target(65_600));
    assert!(matches!(reply.status, 414 | 431), "{reply:?}");
    assert_eq!(up.requests().len(), 1);
}

#[test]
fn expect_is_answered_by_the_final_status_of_a_refused_request() {
    // F-45
    let up = Upstream::echo();
    let crm = connection("crm").allow("POST /open").upstream(&up);
    let sidecar = Sidecar::with(crm).start();
    let ask = |path: &str, expect: &str, body: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: {expect}\r\nContent-Length: 3\r\n\r\n{body}"
        );
        Agent::connect(&sidecar).exchange(head)
    };
    let refused = ask("/crm/closed", "100-continue", "");
    refused.refused(403, "route_not_allowed");
    assert!(refused.informational.is_empty());
    assert_eq!(up.sockets(), 0);

    ask("/crm/open", "foo", "abc").expect_status(200);
    let arrived = up.only_request();
    assert!(arrived.fields.all("expect").is_empty());
    assert_eq!(arrived.body.bytes, b"abc");
}

#[test]
fn expect_100_continue_on_an_allowed_route_gets_a_100() {
    // F-45
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    agent.send(post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""));
    agent.wait_for("HTTP/1.1 100 Continue\r\n\r\n");
    agent.send("abc");
    let reply = agent.reply();
    reply.expect_status(200);
    assert_eq!(reply.informational, [100]);
    let arrived = up.only_request();
    assert!(arrived.fields.all("expect").is_empty());
    assert_eq!(arrived.body.bytes, b"abc");
}
