//! The end of a grant by a logout, agents that try to start a consent, and reloads with a mistake.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::world::{API, Site, World, consent_connection, stored_grant, used};
use crate::support::consent_provider::access_token;
use crate::support::{Agent, ConsentProvider, DEADLINE, Gate, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_logout_lets_requests_finish_and_refuses_new_ones() {
    // F-353
    let gate = Gate::new();
    let _opened = gate.open_on_drop();
    let held = gate.clone();
    let upstream = Upstream::answer(move |request| {
        if request.target == "/held" {
            held.wait();
        }
        OK
    });
    let world = World::with_upstream(&json!({}), upstream);
    let serving = world.serve(3600);
    let mut before = Agent::connect_to(serving.agents);
    before.send("GET /api/held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.upstream.wait_requests(1);
    let (exit, text) = world.site.run("logout", &[API]);
    assert_eq!(exit, Some(0), "{text}");
    let ended = Instant::now();
    serving.wait_until_consent_required("logged_out");
    // Without the watch, the content would be read every 5 s.
    assert!(ended.elapsed() < Duration::from_secs(DEADLINE));
    gate.open();
    before.reply().expect_status(200);
    serving.expect_consent_required("logged_out");
    let calls = world.provider.endpoint.calls();
    let targets = (0..calls).map(|n| world.provider.endpoint.call(n).target);
    assert_eq!(targets.collect::<Vec<_>>(), ["/revoke", "/revoke"]);
    serving.stop();
}

/// Requests that start, finish or change a consent in other programs.
const ATTEMPTS: &[(&str, &str)] = &[
    ("GET", "/callback?code=a&state=b"),
    ("POST", "/callback"),
    ("GET", "/start/x"),
    ("GET", "/done"),
    ("GET", "/v1/connections/api:startConsent"),
    ("POST", "/v1/connections/api:startConsent"),
    ("POST", "/v1/connections/api:revoke"),
    ("POST", "/v1/connections"),
    ("PUT", "/v1/connections"),
    ("PUT", "/v1/connections/api"),
    ("PATCH", "/v1/connections/api"),
    ("DELETE", "/v1/connections/api"),
    ("PUT", "/v1/connectors/github"),
    ("PUT", "/callback"),
    ("PUT", "/"),
];

#[test]
fn no_listener_starts_or_changes_a_consent() {
    // F-354
    let provider = ConsentProvider::strict();
    let upstream = Upstream::body("hello");
    let api = consent_connection(API, &provider, &upstream, &json!({}));
    let sockets = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}", sockets.path().join("agents").display());
    let settings = json!({"proxy": {
        "listen": ["127.0.0.1:0", unix],
        "listeners": [{"listen": ["127.0.0.1:0"], "connections": [API]}],
    }});
    let site = Site::with_settings(&[api], &settings);
    site.put(API, &stored_grant(&provider, API, 3600));
    let serving = site.start();
    serving.get().expect_status(200);
    let before = contents(&site.directory());
    let listeners = serving.events("listening");
    assert_eq!(listeners.len(), 4, "{listeners:?}");
    for listener in &listeners {
        for (method, target) in ATTEMPTS {
            let address = listener["address"].as_str().unwrap();
            let mut agent = match address.strip_prefix("unix:") {
                Some(path) => Agent::connect_unix(Path::new(path)),
                None => Agent::connect_to(address.parse().unwrap()),
            };
            let reply = agent.request(method, target, &[], b"");
            let is_refused = matches!(reply.status, 404 | 405);
            assert!(is_refused, "{listener} {method} {target}: {reply:?}");
        }
    }
    assert_eq!(contents(&site.directory()), before);
    assert_eq!(provider.endpoint.sockets(), 0);
    serving.get().expect_status(200);
    assert_eq!(
        used(&upstream),
        [1, 1].map(|number| access_token(API, number))
    );
    serving.stop();
}

/// Returns the names and contents of the files in a directory.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap();
    let files = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    files.collect()
}

#[test]
fn a_mistake_keeps_the_configuration_in_use() {
    // F-301
    let world = World::new();
    let serving = world.serve(3600);
    serving.get().expect_status(200);
    let mistake = json!({"pkce": "s512"});
    let broken = consent_connection(API, &world.provider, &world.upstream, &mistake);
    world.site.program.define(&broken);
    serving.wait_for_event("reload_failed");
    let problem = serving.wait_for_event("config_problem");
    assert!(
        problem["field"]
            .as_str()
            .unwrap()
            .ends_with("oauth_user_consent.pkce"),
        "{problem}"
    );
    assert!(problem["remedy"].is_string(), "{problem}");
    serving.get().expect_status(200);
    assert_eq!(world.used(), [1, 1].map(|number| access_token(API, number)));
    serving.stop();
}
