//! Faults in the settings: each is one problem, reported for the file or variable that it is in.

use std::path::Path;

use super::settings::{ca, loaded, refuses, world};
use super::world::{World, connection};

#[test]
fn unknown_variables() {
    let problem = refuses(
        &world("").variable("EGRESSD_PROXY_LISTN", "x"),
        "unknown_field",
        "EGRESSD_PROXY_LISTN",
    );
    assert!(
        problem.remedy.contains("EGRESSD_PROXY_LISTEN"),
        "{}",
        problem.remedy
    );
    // A definition may name a listed variable, and Kubernetes sets some of its own.
    let text = connection(&[
        ("no_auth", "-"),
        ("bearer_token", "{token: {env: EGRESSD_CRM_TOKEN}}"),
    ]);
    let world = World::new()
        .file("egressd.yaml", "secrets: {allow_env: [EGRESSD_CRM_TOKEN]}")
        .file("connections/a.yaml", text)
        .variable("EGRESSD_CRM_TOKEN", "t")
        .variable("EGRESSD_SERVICE_HOST", "10.0.0.1")
        .variable("EGRESSD_PORT_8080_TCP", "tcp://10.0.0.1:8080");
    assert!(loaded(&world).warnings.is_empty());
}

/// The content of the file, and the code and field of its only problem.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("proxy: {listn: []}", "unknown_field", "proxy.listn"),
    ("proxi: {}", "unknown_field", "proxi"),
    ("proxy: []", "wrong_type", "proxy"),
    ("proxy: {listen: 127.0.0.1:1}", "wrong_type", "proxy.listen"),
    (
        "proxy: {listen: [localhost:1]}",
        "invalid_address",
        "proxy.listen[0]",
    ),
    (
        "proxy: {listen: ['unix:']}",
        "invalid_address",
        "proxy.listen[0]",
    ),
    ("proxy: {listen: []}", "empty", "proxy.listen"),
    (
        "proxy: {listen: [0.0.0.0:8080]}",
        "non_loopback",
        "proxy.listen[0]",
    ),
    (
        "proxy: {listen: ['[::]:8080']}",
        "non_loopback",
        "proxy.listen[0]",
    ),
    (
        "proxy: {allowed_hosts: ['http://h']}",
        "invalid_host",
        "proxy.allowed_hosts[0]",
    ),
    ("proxy: {workers: -1}", "out_of_range", "proxy.workers"),
    (
        "proxy: {max_connections: 0}",
        "out_of_range",
        "proxy.max_connections",
    ),
    (
        "proxy: {idle_timeout_seconds: 0}",
        "out_of_range",
        "proxy.idle_timeout_seconds",
    ),
    (
        "proxy: {idle_timeout_seconds: 75s}",
        "out_of_range",
        "proxy.idle_timeout_seconds",
    ),
    (
        "management: {listen: [0.0.0.0:8081]}",
        "non_loopback",
        "management.listen[0]",
    ),
    (
        "management: {basic_auth: {username: u}}",
        "missing_field",
        "management.basic_auth",
    ),
    (
        "egress: {connect_timeout_seconds: 301}",
        "out_of_range",
        "egress.connect_timeout_seconds",
    ),
    ("log: {format: xml}", "unknown_value", "log.format"),
    ("log: {level: 5}", "wrong_type", "log.level"),
    ("connections: connections", "wrong_type", "connections"),
    ("connections: [nowhere]", "file_unreadable", ""),
    ("[]", "wrong_type", ""),
];

#[test]
fn mistakes_in_the_file() {
    for (text, code, field) in MISTAKES {
        refuses(&world(text), code, field);
    }
}

#[test]
fn a_login_without_any_field() {
    let text = "management:\n  basic_auth: {}\n";
    let world = world(text);
    let found = world.load().err().unwrap_or_default();
    let places = found.iter().map(|problem| {
        assert!(!problem.remedy.is_empty());
        (problem.code, problem.field.as_str(), problem.line)
    });
    let expected = ["username", "password"].map(|name| {
        (
            "missing_field",
            format!("management.basic_auth.{name}"),
            Some(2),
        )
    });
    assert!(
        places.eq(expected
            .iter()
            .map(|(code, field, line)| (*code, field.as_str(), *line))),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .all(|problem| problem.file.ends_with("egressd.yaml"))
    );
    // Variables complete the section of the file.
    let complete = world
        .variable("EGRESSD_MANAGEMENT_BASIC_AUTH_USERNAME", "u")
        .variable("EGRESSD_MANAGEMENT_BASIC_AUTH_PASSWORD", "p");
    assert!(loaded(&complete).settings.management.basic_auth.is_some());
}

#[test]
fn a_mistake_in_a_login_is_one_problem() {
    for (login, code, field) in [
        ("", "no_value", "management.basic_auth"),
        ("u:p", "wrong_type", "management.basic_auth"),
        (
            "{username: , password: p}",
            "no_value",
            "management.basic_auth.username",
        ),
    ] {
        let problem = &world(&format!("management: {{basic_auth: {login}}}"));
        let found = problem.load().err().unwrap_or_default();
        let found: Vec<_> = found.iter().map(|p| (p.code, p.field.as_str())).collect();
        assert_eq!(found, [(code, field)]);
    }
}

#[test]
fn listeners_that_are_equal() {
    // F-19
    for (proxy, management) in [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("127.0.0.1:9", "0.0.0.0:9"),
        ("unix:/a", "unix:/a"),
    ] {
        let text = format!(
            "proxy: {{listen: ['{proxy}']}}\nmanagement: {{listen: ['{management}'], basic_auth: {{username: u, password: p}}}}\n"
        );
        let problem = refuses(&world(&text), "duplicate_address", "management.listen[0]");
        assert_eq!(problem.line, Some(2), "{problem:?}");
        assert!(problem.message.contains("`proxy.listen[0]`"), "{problem:?}");
    }
    refuses(
        &world("proxy: {listen: [127.0.0.1:1, 127.0.0.1:1]}"),
        "duplicate_address",
        "proxy.listen[1]",
    );
    loaded(&world(
        "proxy: {listen: [127.0.0.1:0]}\nmanagement: {listen: [127.0.0.1:0]}\n",
    ));
}

#[test]
fn authority_files() {
    // F-19
    for (name, content) in [
        ("nowhere.pem", None),
        ("empty.pem", Some(String::new())),
        ("text.pem", Some("no certificate".to_owned())),
        (
            "key.pem",
            Some(rcgen::KeyPair::generate().unwrap().serialize_pem()),
        ),
        ("broken.pem", Some(ca().replace("MII", "!!!"))),
        (
            "garbage.pem",
            Some("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n".to_owned()),
        ),
    ] {
        let mut world =
            world(&format!("egress: {{ca_files: [good.pem, {name}]}}")).file("good.pem", ca());
        if let Some(content) = content {
            world = world.file(name, content);
        }
        let problem = refuses(&world, "invalid_ca_file", "egress.ca_files[1]");
        assert!(problem.message.contains(name), "{}", problem.message);
    }
}

#[test]
fn invalid_settings_do_not_hide_an_invalid_connection() {
    let world = World::new()
        .file("egressd.yaml", "log: {level: loud}\nconnections: [here]\n")
        .file("here/a.yaml", connection(&[("base_url", "http://h")]));
    let found = world.load().err().unwrap_or_default();
    let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["unknown_value", "invalid_url"]);
    assert!(Path::new(&found[1].file).ends_with("here/a.yaml"));
}
