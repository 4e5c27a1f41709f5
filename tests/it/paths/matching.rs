//! The parts of a request target that are matched.

use serde_json::json;

use super::{ask, passes, world};
use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn near_misses_are_forbidden_and_not_redirected() {
    // F-61
    let (up, sidecar) = world();
    for path in [
        "/API/USERS/1",
        "/api/users/1/",
        "/api/users",
        "/api/users/",
        "/api/Public/x",
        "/api/public",
        "/files",
        "/",
        "/admin",
    ] {
        let problem =
            ask(&sidecar, format!("/crm{path}").as_bytes()).refused(403, "route_not_allowed");
        assert_eq!(problem.connection.as_deref(), Some("crm"), "{path}");
        let routes = json!([
            "GET /api/users/{id}",
            "GET /api/public/",
            "GET /files/{p...}"
        ]);
        assert_eq!(problem.document["allowed_routes"], routes, "{path}");
    }
    // The id alone is not a path of the connection.
    let problem = ask(&sidecar, b"/crm").refused(403, "route_not_allowed");
    assert!(problem.detail.contains("/crm/"), "{}", problem.detail);
    assert_eq!(up.sockets(), 0);
}

#[test]
fn methods_as_in_go() {
    // F-64
    let up = Upstream::echo();
    let crm = connection("crm")
        .allow("GET /both")
        .allow("HEAD /head")
        .allow("POST /post");
    let sidecar = Sidecar::with(crm.upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent
        .request("HEAD", "/crm/both", &[], b"")
        .expect_status(200);
    agent
        .request("HEAD", "/crm/head", &[], b"")
        .expect_status(200);
    assert_eq!(up.requests().len(), 2);
    for (method, path, allow) in [
        ("POST", "/crm/both", "GET, HEAD"),
        ("GET", "/crm/head", "HEAD"),
        ("OPTIONS", "/crm/post", "POST"),
    ] {
        let reply = agent.request(method, path, &[], b"");
        let problem = reply.refused(405, "method_not_allowed");
        assert_eq!(
            reply.fields.single_value("allow").as_deref(),
            Some(allow),
            "{method} {path}"
        );
        assert!(problem.document["allowed_routes"].is_array());
    }
    assert_eq!(up.requests().len(), 2);
}

#[test]
fn a_query_plays_no_part_and_is_passed_verbatim() {
    // F-65
    let long = format!("/files/x?{}", "q=%0d%0a&".repeat(750));
    passes(&[
        "/files/x?../",
        "/files/x??",
        "/files/x?",
        "/files/x?a=%0d%0a",
        "/files/x?a=//..;%2e%2e/%zz%",
        "/files/x?a={}|%5C",
        &long,
    ]);
    let (up, sidecar) = world();
    ask(&sidecar, b"/crm/admin?/../files/x").refused(403, "route_not_allowed");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn very_many_and_very_long_segments() {
    // F-66
    let (up, sidecar) = world();
    let many = format!("/crm{}", "/a".repeat(4000));
    ask(&sidecar, many.as_bytes()).refused(403, "route_not_allowed");
    let long = format!("/crm/api/users/{}", "a".repeat(8192));
    ask(&sidecar, long.as_bytes()).refused(414, "target_too_long");
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_base_path_is_put_in_front_and_does_not_double_a_slash() {
    let up = Upstream::echo();
    let based = |id: &str, base: &str| connection(id).allow("/").upstream_at(&up, base);
    let sidecar = Sidecar::with(based("bare", ""))
        .with_connection(based("slash", "/"))
        .with_connection(based("base", "/v1/base"))
        .with_connection(based("both", "/v1/base/"))
        .start();
    let mut agent = Agent::connect(&sidecar);
    for id in ["bare", "slash", "base", "both"] {
        agent.get(&format!("/{id}/a/b?c")).expect_status(200);
        agent.get(&format!("/{id}/")).expect_status(200);
    }
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    let based = ["/v1/base/a/b?c", "/v1/base/"];
    assert_eq!(
        arrived,
        [["/a/b?c", "/"], ["/a/b?c", "/"], based, based].concat()
    );
}
