//! `proxy.listeners`: the values that are read, and the faults that are found.

use std::collections::BTreeSet;

use egressd::config::{AgentListener, LoadOptions, Problem, SettingsOverrides, attempt_reload};
use egressd::domain::{ConnectionId, ListenerScope};

use super::settings::{loaded, refuses, tcp, world};
use super::world::{World, camel_case, connection, with_top};

fn id(text: &str) -> ConnectionId {
    ConnectionId::parse(text).unwrap()
}

/// Returns a world with these listeners, which are in YAML's flow style, and the connections `a`
/// and `b`.
fn listeners(items: &str) -> World {
    proxy(&format!("{{listeners: [{items}]}}"))
}

fn proxy(settings: &str) -> World {
    world(&format!("proxy: {settings}")).file("connections/b.yaml", connection(&[]))
}

#[test]
fn every_field_is_read_in_both_spellings() {
    let text = "{listen: [127.0.0.1:1, '0.0.0.0:2'], connection: a, allowed_hosts: [Box], allow_non_loopback: true}, \
                {listen: ['unix:agent.sock'], connections: [b, a]}";
    for text in [text, &camel_case(text)] {
        let world = listeners(text);
        let proxy = loaded(&world).settings.proxy;
        let unix = egressd::config::ListenAddress::Unix(world.path("agent.sock"));
        let mounted = AgentListener {
            addresses: vec![tcp("127.0.0.1:1"), tcp("0.0.0.0:2")],
            scope: ListenerScope::Mounted(id("a")),
            allowed_hosts: vec!["box".to_owned()],
        };
        let some = AgentListener {
            addresses: vec![unix.clone()],
            scope: ListenerScope::Only(BTreeSet::from([id("a"), id("b")])),
            allowed_hosts: Vec::new(),
        };
        assert_eq!(proxy.listeners, [mounted, some]);
        // `proxy.listen` keeps its default.
        let all: Vec<_> = proxy.addresses().cloned().collect();
        let expected = ["127.0.0.1:8080", "127.0.0.1:1", "0.0.0.0:2"].map(tcp);
        assert_eq!(all, [&expected[..], &[unix]].concat());
    }
}

#[test]
fn proxy_listen_may_be_empty_if_there_are_listeners() {
    let listener = "{listen: [127.0.0.1:1], connection: a}";
    let world = proxy(&format!("{{listen: [], listeners: [{listener}]}}"));
    assert!(loaded(&world).settings.proxy.listen.is_empty());
    refuses(
        &proxy("{listen: [], listeners: []}"),
        "empty",
        "proxy.listen",
    );
}

/// The only item, with the code and field of its only problem. F-283
const FAULTS: &[(&str, &str, &str)] = &[
    ("{connection: a}", "missing_field", "listen"),
    ("{listen: [], connection: a}", "empty", "listen"),
    ("{listen: [127.0.0.1:1]}", "missing_field", ""),
    (
        "{listen: [127.0.0.1:1], connection: a, connections: [b]}",
        "conflicting_fields",
        "connections",
    ),
    (
        "{listen: [127.0.0.1:1], connections: []}",
        "empty",
        "connections",
    ),
    (
        "{listen: [127.0.0.1:1], connections: [a, b, a]}",
        "duplicate_connection",
        "connections[2]",
    ),
    (
        "{listen: [127.0.0.1:1], connections: a}",
        "wrong_type",
        "connections",
    ),
    (
        "{listen: [127.0.0.1:1], connection: A}",
        "invalid_id",
        "connection",
    ),
    (
        "{listen: [127.0.0.1:1], connection: nope}",
        "unknown_connection",
        "connection",
    ),
    (
        "{listen: [127.0.0.1:1], connections: [a, nope]}",
        "unknown_connection",
        "connections[1]",
    ),
    (
        "{listen: [127.0.0.1:1], conection: a}",
        "unknown_field",
        "conection",
    ),
    (
        "{listen: [127.0.0.1:1], connection: }",
        "no_value",
        "connection",
    ),
    (
        "{listen: [0.0.0.0:1], connection: a}",
        "non_loopback",
        "listen[0]",
    ),
    (
        "{listen: [localhost:1], connection: a}",
        "invalid_address",
        "listen[0]",
    ),
    (
        "{listen: [127.0.0.1:1], connection: a, allowed_hosts: ['http://h']}",
        "invalid_host",
        "allowed_hosts[0]",
    ),
    (
        "{listen: [127.0.0.1:8080], connection: a}",
        "duplicate_address",
        "listen[0]",
    ),
    (
        "{listen: [127.0.0.1:1, 127.0.0.1:1], connection: a}",
        "duplicate_address",
        "listen[1]",
    ),
    ("[]", "wrong_type", ""),
];

#[test]
fn every_fault_is_reported_with_its_code_and_field() {
    for (item, code, field) in FAULTS {
        let path = match *field {
            "" => "proxy.listeners[0]".to_owned(),
            field => format!("proxy.listeners[0].{field}"),
        };
        refuses(&listeners(item), code, &path);
    }
    refuses(
        &proxy("{listeners: {listen: [127.0.0.1:1]}}"),
        "wrong_type",
        "proxy.listeners",
    );
}

#[test]
fn addresses_clash_across_listeners_and_with_the_management_api() {
    // F-283
    let one = "{listen: [127.0.0.1:1], connection: a}";
    let other = "{listen: [127.0.0.1:2, '127.0.0.1:1'], connections: [a]}";
    refuses(
        &listeners(&format!("{one}, {other}")),
        "duplicate_address",
        "proxy.listeners[1].listen[1]",
    );
    // The flag replaces `proxy.listen` only.
    let mut world = listeners(one);
    world.overrides.listen = vec!["127.0.0.1:1".to_owned()];
    refuses(&world, "duplicate_address", "proxy.listeners[0].listen[0]");
}

#[test]
fn an_address_that_is_a_default_is_reported_with_the_setting() {
    // F-283
    for (address, message, remedy) in [
        (
            "127.0.0.1:8080",
            "`127.0.0.1:8080` is also the default of `proxy.listen`",
            "choose another port, or set `proxy.listen` (`[]` if it is not needed)",
        ),
        (
            "127.0.0.1:8081",
            "`127.0.0.1:8081` is also the default of `management.listen`",
            "choose another port, or set `management.listen` (`[]` if it is not needed)",
        ),
        (
            "0.0.0.0:8081",
            "`0.0.0.0:8081` conflicts with `127.0.0.1:8081`, the default of `management.listen`: only one of them can be bound",
            "choose another port, or set `management.listen` (`[]` if it is not needed)",
        ),
    ] {
        let item = format!("{{listen: ['{address}'], connection: a, allow_non_loopback: true}}");
        let place = "proxy.listeners[0].listen[0]";
        let problem = refuses(&listeners(&item), "duplicate_address", place);
        assert_eq!((&*problem.message, &*problem.remedy), (message, remedy));
    }
    // Without other listeners, `proxy.listen` cannot be empty.
    let world = world("management: {listen: [127.0.0.1:8080]}");
    let problem = refuses(&world, "duplicate_address", "management.listen[0]");
    assert!(problem.remedy.ends_with("`proxy.listen`"), "{problem:?}");
    // A flag is compared with another flag.
    let mut world = listeners("{listen: [127.0.0.1:1], connection: a}");
    world.overrides.listen = vec!["127.0.0.1:8081".to_owned()];
    let problem = refuses(&world, "duplicate_address", "--listen[0]");
    let message = "`127.0.0.1:8081` is also the default of `--management-listen`";
    let remedy = "choose another port, or set `--management-listen`";
    assert_eq!((&*problem.message, &*problem.remedy), (message, remedy));
}

#[test]
fn a_clash_hides_no_other() {
    // F-283
    let text = "proxy: {listeners: [{listen: [127.0.0.1:1, '127.0.0.1:2'], connection: a}, {listen: ['127.0.0.1:1'], connection: b}]}\n\
                management: {listen: [127.0.0.1:2]}\n";
    let found = world(text).file("connections/b.yaml", connection(&[]));
    let found = found.load().err().unwrap_or_default();
    let found: Vec<_> = found
        .iter()
        .map(|found| (found.code, found.field.as_str(), found.line))
        .collect();
    let expected = [
        ("duplicate_address", "proxy.listeners[1].listen[0]", Some(1)),
        ("duplicate_address", "management.listen[0]", Some(2)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_variable_for_listeners_is_rejected() {
    let world = world("").variable("EGRESSD_PROXY_LISTENERS", "127.0.0.1:1");
    let problem = refuses(&world, "unknown_field", "EGRESSD_PROXY_LISTENERS");
    let message = "`proxy.listeners` cannot be set by a variable";
    let remedy = "write `proxy.listeners` in the settings file, and unset the variable";
    assert_eq!((&*problem.message, &*problem.remedy), (message, remedy));
}

#[test]
fn a_misspelt_id_is_reported_with_the_nearest_one() {
    for (item, field) in [
        ("connection: cod", "connection"),
        ("connections: [a, cod]", "connections[1]"),
    ] {
        let world = listeners(&format!("{{listen: [127.0.0.1:1], {item}}}"));
        let world = world.file("connections/code.yaml", connection(&[]));
        let place = format!("proxy.listeners[0].{field}");
        let problem = refuses(&world, "unknown_connection", &place);
        let message = "no definition has the id `cod`; did you mean `code`?";
        let remedy = "write `code`, or add the definition";
        assert_eq!((&*problem.message, &*problem.remedy), (message, remedy));
    }
}

#[test]
fn an_unknown_id_is_a_warning_for_a_process_that_runs() {
    let world = listeners("{listen: [127.0.0.1:1], connections: [a, nope]}");
    let options = LoadOptions {
        config: Some(world.path("egressd.yaml")),
        overrides: SettingsOverrides::default(),
        ..LoadOptions::default()
    };
    let loaded = attempt_reload(&options).outcome;
    let warnings = loaded.unwrap_or_else(|found| panic!("{found:#?}")).warnings;
    let found: Vec<_> = warnings
        .iter()
        .map(|found| (found.code, found.is_error()))
        .collect();
    assert_eq!(found, [("unknown_connection", false)]);
}

#[test]
fn a_mounted_connection_that_refuses_every_request_is_a_warning() {
    let disabled = "{tool: TOOL_HTTP_REQUEST, enabled: false}";
    for (top, message) in [
        (
            "delete_time: 2026-01-02T03:04:05Z".to_owned(),
            "`c` is soft-deleted, so every request is refused with 404 `connection_not_found`",
        ),
        (
            format!("tool_configurations: [{disabled}]"),
            "`c` is disabled, so every request is refused with 403 `connection_disabled`",
        ),
    ] {
        let warnings = |scope: &str| {
            let world = listeners(&format!("{{listen: [127.0.0.1:1], {scope}}}"));
            loaded(&world.file("connections/c.yaml", with_top(&top))).warnings
        };
        let found = warnings("connection: c");
        let [warning] = found.as_slice() else {
            panic!("one warning wanted: {found:#?}")
        };
        let place = "proxy.listeners[0].connection";
        let shown = (warning.code, &*warning.field, &*warning.message);
        assert_eq!(shown, ("unusable_connection", place, message));
        assert!(warning.line.is_some() && !warning.remedy.is_empty());
        // The other connections of the listener can be used.
        assert_eq!(warnings("connections: [a, c]"), []);
        assert_eq!(warnings("connection: a"), []);
    }
}

#[test]
fn a_broken_definition_does_not_make_its_id_unknown() {
    let world =
        listeners("{listen: [127.0.0.1:1], connection: c}").file("connections/c.yaml", "{{{");
    let found = world.load().err().unwrap_or_default();
    assert!(
        !found
            .iter()
            .any(|found: &Problem| found.code == "unknown_connection"),
        "{found:#?}"
    );
    assert!(found.iter().any(Problem::is_error));
}
