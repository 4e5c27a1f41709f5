//! The access policy of the management listener, over the wire.

use serde_json::json;

use crate::support::reply::Reply;
use crate::support::{Agent, PATIENCE, Sidecar, Upstream, connection};

const USER: &str = "ops";
const PASSWORD: &str = "planted-management-password-0123456789";
/// `ops:` and the password above.
const RIGHT: &str = "Basic b3BzOnBsYW50ZWQtbWFuYWdlbWVudC1wYXNzd29yZC0wMTIzNDU2Nzg5";
/// `ops:wrong`
const WRONG: &str = "Basic b3BzOndyb25n";
const OPEN: [&str; 2] = ["/livez", "/readyz"];
/// Paths that need a login, whether they exist or not.
const GUARDED: [&str; 7] = [
    "/",
    "/v1/nothing",
    "/v2",
    "/nothing",
    "/livez/",
    "//livez",
    "/%6civez",
];

fn open() -> Sidecar {
    let plan = Sidecar::with(connection("crm").allow("/").base_url("https://crm.example"));
    plan.setting("proxy.allowed_hosts", json!(["box.internal"]))
        .start()
}

fn locked() -> Sidecar {
    let plan = Sidecar::with(connection("crm").allow("/").base_url("https://crm.example"));
    let pair = json!({"username": USER, "password": PASSWORD});
    plan.setting("management.basic_auth", pair).start()
}

/// Checks that the reply is an error of the API (AIP-193) that must not be cached.
fn refused(reply: &Reply, code: u16, status: &str) {
    reply.expect_status(code);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], code, "{reply:?}");
    assert_eq!(error["status"], status, "{reply:?}");
    assert!(
        error["message"].is_string() && error["details"].is_array(),
        "{reply:?}"
    );
    let field = |name: &str| reply.fields.single_value(name);
    assert_eq!(field("content-type").as_deref(), Some("application/json"));
    assert_eq!(field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(field("x-content-type-options").as_deref(), Some("nosniff"));
    assert!(!reply.text().contains(PASSWORD), "{reply:?}");
}

fn unauthenticated(reply: &Reply) {
    refused(reply, 401, "UNAUTHENTICATED");
    let challenge = reply.fields.single_value("www-authenticate");
    let expected = "Basic realm=\"egressd\", charset=\"UTF-8\"";
    assert_eq!(challenge.as_deref(), Some(expected));
}

#[test]
fn only_a_login_gives_access() {
    // F-195
    let sidecar = locked();
    let mut agent = Agent::connect_to(sidecar.management());
    for path in OPEN {
        agent.get(path).expect_status(200);
    }
    for path in GUARDED {
        unauthenticated(&agent.get(path));
        let (expected, reply) = (
            if path == "/" { 200 } else { 404 },
            agent.request("GET", path, &[("Authorization", RIGHT)], b""),
        );
        assert_eq!(reply.status, expected, "{path}: {reply:?}");
        let reply = agent.request("GET", path, &[("X-API-Key", PASSWORD)], b"");
        assert_eq!(reply.status, expected, "{path}: {reply:?}");
    }
    // With the login, every `Host` is served.
    for host in ["box.example:8081", "10.1.2.3"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {RIGHT}\r\n\r\n");
        agent.exchange(head).expect_status(200);
    }
}

/// Sends one wrong login per row, fewer than the limit of a second.
#[test]
fn every_wrong_login_gets_the_same_error() {
    // F-195
    let rows: [&[(&str, &str)]; 9] = [
        &[("Authorization", WRONG)],
        // `root:` and the password
        &[(
            "Authorization",
            "Basic cm9vdDpwbGFudGVkLW1hbmFnZW1lbnQtcGFzc3dvcmQtMDEyMzQ1Njc4OQ==",
        )],
        // The user name alone, the pair without its end, and the pair with a byte that is not
        // base64.
        &[("Authorization", "Basic b3Bz")],
        &[("Authorization", RIGHT.trim_end_matches("Nzg5"))],
        &[(
            "Authorization",
            "Basic b3BzOnBsYW50ZWQtbWFuYWdlbWVudC1wYXNzd29yZC0wMTIzNDU2Nzg*",
        )],
        &[("X-API-Key", "planted-management-password-012345678")],
        // Ambiguous: two logins, one of them right.
        &[("Authorization", WRONG), ("Authorization", RIGHT)],
        &[("Authorization", RIGHT), ("X-API-Key", "wrong")],
        &[("Authorization", WRONG), ("X-API-Key", PASSWORD)],
    ];
    let sidecar = locked();
    let mut agent = Agent::connect_to(sidecar.management());
    let mut bodies = Vec::new();
    for fields in rows {
        let reply = agent.request("GET", "/", fields, b"");
        unauthenticated(&reply);
        bodies.push(reply.text());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let both = [("Authorization", RIGHT), ("X-API-Key", PASSWORD)];
    agent.request("GET", "/", &both, b"").expect_status(200);
}

#[test]
fn a_login_of_a_mebibyte_is_refused() {
    // F-195
    let sidecar = locked();
    let mut agent = Agent::connect_to(sidecar.management());
    let long = "A".repeat(1 << 20);
    agent.send(format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {long}\r\n\r\n"
    ));
    assert_eq!(agent.open_reply().status, 431);
    // A login that fits into a head is compared like any other.
    let long = format!("Basic {}", "A".repeat(32 << 10));
    let mut agent = Agent::connect_to(sidecar.management());
    unauthenticated(&agent.request("GET", "/", &[("Authorization", &long)], b""));
}

#[test]
fn a_flood_of_wrong_logins_does_not_lock_out_the_right_one() {
    // F-196
    let up = Upstream::echo();
    let pair = json!({"username": USER, "password": PASSWORD});
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("management.basic_auth", pair)
        .start();
    let mut agent = Agent::connect_to(sidecar.management());
    for _ in 0..10 {
        unauthenticated(&agent.request("GET", "/v1/connections", &[("Authorization", WRONG)], b""));
    }
    let flood = "GET / HTTP/1.1\r\nHost: localhost\r\nX-API-Key: wrong\r\n\r\n";
    agent.send(flood.repeat(1000));
    let replies: Vec<Reply> = (0..1000).map(|_| agent.reply()).collect();
    let full: Vec<&Reply> = replies.iter().filter(|reply| reply.status != 401).collect();
    assert!(!full.is_empty(), "no limit after a thousand wrong logins");
    for reply in full {
        refused(reply, 429, "RESOURCE_EXHAUSTED");
        assert_eq!(
            reply.fields.single_value("retry-after").as_deref(),
            Some("1")
        );
        assert_eq!(reply.fields.single_value("www-authenticate"), None);
    }
    agent
        .request("GET", "/", &[("Authorization", RIGHT)], b"")
        .expect_status(200);
    agent
        .request("GET", "/", &[("X-API-Key", PASSWORD)], b"")
        .expect_status(200);
    // A request without a login is not a wrong login, and gets a 401.
    unauthenticated(&agent.get("/"));
    agent.get("/livez").expect_status(200);
    Agent::connect(&sidecar).get("/crm/a").expect_status(200);
}

#[test]
fn requests_for_open_paths_do_not_delay_the_caller_with_the_login() {
    // F-196
    let sidecar = locked();
    let flood = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10);
    let connect = || Agent::connect_to(sidecar.management());
    let mut crowd: Vec<Agent> = std::iter::repeat_with(connect).take(40).collect();
    for agent in &mut crowd {
        agent.send(&flood);
    }
    // More requests than the limit lets through without delay.
    for agent in &mut crowd {
        for _ in 0..3 {
            agent.reply().expect_status(200);
        }
    }
    connect()
        .request("GET", "/v1/connections", &[("Authorization", RIGHT)], b"")
        .expect_status(200);
    for agent in &mut crowd {
        for _ in 3..10 {
            agent.reply().expect_status(200);
        }
    }
}

#[test]
fn without_a_login_only_local_and_allowed_hosts_are_served() {
    // F-197
    let sidecar = open();
    let mut agent = Agent::connect_to(sidecar.management());
    let mut ask =
        |path: &str, fields: &str| agent.exchange(format!("GET {path} HTTP/1.1\r\n{fields}\r\n"));
    for host in [
        "localhost",
        "127.0.0.1:8081",
        "[::1]:8081",
        "ui.localhost:1",
        "BOX.internal",
    ] {
        ask("/", &format!("Host: {host}\r\n")).expect_status(200);
        refused(&ask("/v2", &format!("Host: {host}\r\n")), 404, "NOT_FOUND");
    }
    for path in GUARDED {
        for host in ["evil.example", "127.0.0.1.nip.io:8081", "169.254.169.254"] {
            let reply = ask(path, &format!("Host: {host}\r\n"));
            refused(&reply, 421, "FAILED_PRECONDITION");
        }
        for host in [
            "",
            "Host: a, b\r\n",
            "Host: u@localhost\r\n",
            "Host: localhost\r\nHost: localhost\r\n",
        ] {
            refused(&ask(path, host), 400, "INVALID_ARGUMENT");
        }
    }
    for path in OPEN {
        ask(
            path,
            "Host: evil.example\r\nOrigin: https://evil.example\r\n",
        )
        .expect_status(200);
        ask(path, "").expect_status(200);
    }
}

#[test]
fn without_a_login_pages_of_other_sites_are_refused() {
    // F-197
    let sidecar = open();
    let mut agent = Agent::connect_to(sidecar.management());
    for path in GUARDED {
        for field in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Origin", "http://localhost:8081"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Sec-Fetch-Site", ""),
        ] {
            let reply = agent.request("GET", path, &[field], b"");
            refused(&reply, 403, "PERMISSION_DENIED");
        }
        let doubled = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")];
        refused(
            &agent.request("GET", path, &doubled, b""),
            403,
            "PERMISSION_DENIED",
        );
    }
    // An address that the user typed, and the page's own refresh.
    for site in ["none", "same-origin"] {
        agent
            .request("GET", "/", &[("Sec-Fetch-Site", site)], b"")
            .expect_status(200);
    }
}

#[test]
fn only_get_and_head_of_a_path_are_read() {
    // F-189
    let (open, locked) = (open(), locked());
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/", "/livez", "/v1/connections", "/nothing", "*"] {
            let mut agent = Agent::connect_to(open.management());
            let reply = agent.request(method, path, &[], b"");
            refused(&reply, 405, "UNIMPLEMENTED");
            assert_eq!(
                reply.fields.single_value("allow").as_deref(),
                Some("GET, HEAD")
            );
        }
        let mut agent = Agent::connect_to(locked.management());
        unauthenticated(&agent.request(method, "/v1/connections", &[], b""));
        refused(
            &agent.request(method, "/livez", &[], b""),
            405,
            "UNIMPLEMENTED",
        );
    }
    let mut agent = Agent::connect_to(open.management());
    refused(
        &agent.exchange("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n"),
        405,
        "UNIMPLEMENTED",
    );
    let mut agent = Agent::connect_to(open.management());
    let absolute = agent.exchange("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    refused(&absolute, 400, "INVALID_ARGUMENT");
    refused(&agent.get("*"), 404, "NOT_FOUND");
    let head = agent.request("HEAD", "/livez", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_unix_socket_has_the_same_policy() {
    // F-197
    use std::io::{Read as _, Write as _};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("management.sock");
    let plan = Sidecar::with(connection("crm").allow("/").base_url("https://crm.example"));
    let _sidecar = plan
        .setting(
            "management.listen",
            json!([format!("unix:{}", path.display())]),
        )
        .start();
    for (host, status) in [("localhost", "200"), ("evil.example", "421")] {
        let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}
