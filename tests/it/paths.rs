//! Paths are refused and never rewritten. An accepted path arrives byte for byte, and a refused one
//! reaches no upstream.

mod law;
mod matching;

use serde_json::json;

use crate::support::reply::Reply;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// `crm` has three routes. `npm` has the same routes and allows encoded slashes.
fn world() -> (Upstream, Sidecar) {
    let up = Upstream::echo();
    let routed = |id: &str| {
        connection(id)
            .allow("GET /api/users/{id}")
            .allow("GET /api/public/")
            .allow("GET /files/{p...}")
            .upstream(&up)
    };
    let npm = routed("npm").http("allow_encoded_slash", json!(true));
    let sidecar = Sidecar::with(routed("crm")).with_connection(npm).start();
    (up, sidecar)
}

/// Sends a request line with these bytes as its target.
fn ask(sidecar: &Sidecar, target: &[u8]) -> Reply {
    let request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
    Agent::connect(sidecar).exchange(request)
}

/// Asserts that each of these paths below `/crm` gets a 400 and does not reach the upstream.
fn not_canonical(paths: &[&str]) {
    let (up, sidecar) = world();
    for path in paths {
        let reply = ask(&sidecar, format!("/crm{path}").as_bytes());
        assert_eq!(reply.status, 400, "{path:?} got {reply:?}");
        let problem = reply.refused(400, "path_not_canonical");
        assert_eq!(
            (problem.connection, problem.retryable),
            (None, false),
            "{path:?}"
        );
    }
    assert_eq!(up.sockets(), 0);
}

/// Asserts that each of these paths below `/crm` arrives unchanged.
fn passes(paths: &[&str]) {
    let (up, sidecar) = world();
    let mut agent = Agent::connect(&sidecar);
    for path in paths {
        let reply = agent.get(&format!("/crm{path}"));
        assert_eq!(reply.status, 200, "{path:?} got {reply:?}");
    }
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(arrived, paths);
}

#[test]
fn dot_segments_in_every_spelling() {
    // F-51
    not_canonical(&[
        "/api/public/../admin",
        "/api/public/..",
        "/api/public/./x",
        "/api/public/.",
        "/./api/public/x",
        "/..",
        "/.",
        "/../crm/api/public/x",
        "/api/public/%2e%2e/admin",
        "/api/public/%2E%2E/admin",
        "/api/public/.%2E/admin",
        "/api/public/%2E./admin",
        "/api/public/%2e/x",
        "/api/public/%2e",
        "/files/a/..",
    ]);
    passes(&[
        "/api/public/...",
        "/api/public/..a",
        "/api/public/.hidden",
        "/files/a./b..c",
    ]);
}

#[test]
fn encoded_slashes_are_the_connections_choice() {
    // F-52
    not_canonical(&[
        "/files/..%2f",
        "/files/..%2Fetc",
        "/files/%2f..%2f",
        "/files/%2f..",
    ]);
    let (up, sidecar) = world();
    for path in [
        "/crm/api/users/a%2Fb",
        "/crm/api/users/a%2fb",
        "/crm/files/a%2Fb",
    ] {
        let problem = ask(&sidecar, path.as_bytes()).refused(400, "path_not_canonical");
        assert_eq!(problem.status, 400);
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn an_allowed_encoded_slash_stays_inside_its_segment() {
    // F-52
    let (up, sidecar) = world();
    let allowed = [
        "/api/users/a%2Fb",
        "/api/users/@scope%2fname",
        "/files/a%2Fb/c",
    ];
    for path in allowed {
        ask(&sidecar, format!("/npm{path}").as_bytes()).expect_status(200);
    }
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(arrived, allowed);
    for path in [
        "/api/users/a%2F..%2Fb",
        "/api/users/a%2F..",
        "/api/users/..%2Fb",
        "/api/users/a%2F.%2Fb",
        "/api/users/a%2F%2e%2e",
        "/api/users/a%2F..;x",
    ] {
        let reply = ask(&sidecar, format!("/npm{path}").as_bytes());
        assert_eq!(reply.status, 400, "{path} got {reply:?}");
        reply.refused(400, "path_not_canonical");
    }
    // An encoded slash is not a separator: neither of these is a path of two segments.
    ask(&sidecar, b"/npm/api%2Fusers/1").refused(403, "route_not_allowed");
    ask(&sidecar, b"/npm/api/public%2Fx").refused(403, "route_not_allowed");
    // The connection that decides about it is known only after the lookup.
    ask(&sidecar, b"/nope/a%2Fb").refused(404, "connection_not_found");
    ask(&sidecar, b"/nope/../x").refused(400, "path_not_canonical");
    assert_eq!(up.requests().len(), allowed.len());
}

#[test]
fn backslashes() {
    // F-53
    not_canonical(&["/files/..%5cx", "/files/a%5Cb", "/files/%5c"]);
    let (up, sidecar) = world();
    for target in [
        "/crm/files/\\..\\",
        "/crm/files/a\\b",
        "/npm/api/users/a%5Cb",
    ] {
        assert_eq!(ask(&sidecar, target.as_bytes()).status, 400, "{target}");
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn double_encoding() {
    // F-54
    not_canonical(&[
        "/files/%252e%252e",
        "/files/%252f",
        "/files/%255c",
        "/files/%2500",
        "/files/%2525",
        "/files/..%253Bx",
        "/files/%25c0%25ae",
    ]);
    passes(&["/files/100%25", "/files/%25zz", "/files/a%25-b"]);
}

#[test]
fn percent_signs_before_letters_that_look_hexadecimal() {
    // F-244
    passes(&[
        "/files/50%25decline",
        "/files/100%25beef/x",
        "/api/users/%2541",
        "/files/5%25ad",
    ]);
}

#[test]
fn encoded_slashes_at_the_edges_of_a_segment() {
    // F-243
    let (up, sidecar) = world();
    let allowed = [
        "/files/folder%2F",
        "/files/%2Fa",
        "/api/users/folder%2fsub%2F",
        "/api/users/a%2F%2Fb",
        "/api/users/https%3A%2F%2Fexample.com%2F",
    ];
    for path in allowed {
        ask(&sidecar, format!("/npm{path}").as_bytes()).expect_status(200);
    }
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(arrived, allowed);
    for path in [
        "/api/users/a%2F..",
        "/api/users/..%2Fa",
        "/api/users/%2F.%2F",
        "/api/users/%2F..;x",
        "/api/users/..;x%2Fa",
        "/api/users/a%2F%2F%2e%2e",
        "/api/users/%2F",
        "/api/users/%2F%2F",
        "/api/users/a%2F;x",
    ] {
        let reply = ask(&sidecar, format!("/npm{path}").as_bytes());
        assert_eq!(reply.status, 400, "{path} got {reply:?}");
        reply.refused(400, "path_not_canonical");
    }
    // An encoded slash at an edge is not a separator either, and other connections do not allow it.
    ask(&sidecar, b"/npm/api/users%2F/1").refused(403, "route_not_allowed");
    ask(&sidecar, b"/crm/files/folder%2F").refused(400, "path_not_canonical");
    ask(&sidecar, b"/nope/folder%2F").refused(404, "connection_not_found");
    assert_eq!(up.requests().len(), allowed.len());
}

#[test]
fn text_behind_escapes() {
    // F-55
    not_canonical(&[
        "/files/%c0%ae",
        "/files/%ff",
        "/files/%c3",
        "/files/%ed%a0%80",
        "/files/a%80",
    ]);
    passes(&["/files/%ef%bc%8e", "/files/%C3%A4", "/files/%f0%9f%a6%80"]);
}

#[test]
fn empty_segments() {
    // F-56
    not_canonical(&[
        "/api//users/1",
        "/api/users//",
        "/files//",
        "//",
        "//files/x",
        "/files/a//b",
    ]);
    let (up, sidecar) = world();
    ask(&sidecar, b"//evil.com/x").refused(400, "path_not_canonical");
    ask(&sidecar, b"//crm/files/x").refused(400, "path_not_canonical");
    assert_eq!(up.sockets(), 0);
    passes(&["/files/", "/files/a/", "/api/public/"]);
}

#[test]
fn path_parameters() {
    // F-57
    not_canonical(&[
        "/api/public/..;/admin",
        "/api/public/..;x=1/admin",
        "/api/public/.;/x",
        "/api/public/%2e%2e;/admin",
        "/api/public/..%3B/admin",
        "/api/public/..%3bx/admin",
        "/api/public/;/x",
        "/api/public/;x",
        "/api/public/%3Bx",
    ]);
    passes(&[
        "/api/users/1;jsessionid=1",
        "/api/public/a;b/c",
        "/files/a%3Bb",
    ]);
}

#[test]
fn control_characters_and_bad_escapes() {
    // F-58
    let controls: Vec<String> = (0..=0x1f)
        .chain([0x7f])
        .flat_map(|byte: u8| {
            [
                format!("/files/a%{byte:02x}b"),
                format!("/files/%{byte:02X}"),
            ]
        })
        .collect();
    let controls: Vec<&str> = controls.iter().map(String::as_str).collect();
    not_canonical(&controls);
    not_canonical(&[
        "/files/%0d%0aX:y",
        "/files/%zz",
        "/files/%2",
        "/files/%",
        "/files/%2/x",
        "/files/%g0",
    ]);
}

#[test]
fn bytes_that_no_target_may_have() {
    // F-59
    let (up, sidecar) = world();
    let mut bytes: Vec<Vec<u8>> = "{}\"|^<>`".bytes().map(|byte| vec![byte]).collect();
    bytes.extend([
        b"\xc3\xa4".to_vec(),
        b"\xff".to_vec(),
        b"\x7f".to_vec(),
        b"\x01".to_vec(),
    ]);
    for part in bytes {
        let target = [b"/crm/files/a", part.as_slice(), b"b"].concat();
        let reply = ask(&sidecar, &target);
        // The parser does not keep heads with the last of these bytes.
        let is_known = part.is_ascii() && !matches!(part.as_slice(), [b'`' | 0x01 | 0x7f]);
        let is_text = part == "\u{e4}".as_bytes();
        let code = if is_known || is_text {
            "path_not_canonical"
        } else {
            "malformed_request"
        };
        reply.refused(400, code);
    }
    assert_eq!(up.sockets(), 0);
}

#[test]
fn a_fragment_never_leaves() {
    // F-60
    let (up, sidecar) = world();
    ask(&sidecar, b"/crm/api/public/x#/../admin").expect_status(200);
    ask(&sidecar, b"/crm/api/public/x?q=1#frag").expect_status(200);
    ask(&sidecar, b"/crm/admin#/../api/public/x").refused(403, "route_not_allowed");
    let arrived: Vec<String> = up.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(arrived, ["/api/public/x", "/api/public/x?q=1"]);
}

#[test]
fn escapes_match_decoded_and_leave_as_they_came() {
    // F-62
    passes(&[
        "/api/users/%31",
        "/%61pi/users/1",
        "/%66iles/%41%2d",
        "/api/users/%7Bid%7D",
    ]);
}

#[test]
fn a_refusal_shows_the_segment_as_sent_and_counts_from_the_id() {
    let (_up, sidecar) = world();
    for (path, part) in [
        ("/crm/files/../x", "segment 3 `..`"),
        ("/crm/files/a%2fb", "segment 3 `a%2fb`"),
        ("/crm/files/%2f", "segment 3 `%2f`"),
        (r"/crm/files/a\b", r"segment 3 `a\b`"),
    ] {
        let problem = ask(&sidecar, path.as_bytes()).refused(400, "path_not_canonical");
        assert!(problem.detail.contains(part), "{path}: {}", problem.detail);
    }
}

#[test]
fn a_segment_that_is_an_encoded_slash() {
    // F-63
    not_canonical(&["/files/%2F/.."]);
    let (up, sidecar) = world();
    for path in [
        "/crm/api/users/%2F",
        "/crm/api/public/%2F",
        "/crm/%2F",
        "/crm/files/%2f",
    ] {
        let problem = ask(&sidecar, path.as_bytes()).refused(400, "path_not_canonical");
        assert_eq!(problem.connection.as_deref(), Some("crm"), "{path}");
    }
    assert_eq!(up.sockets(), 0);
}
