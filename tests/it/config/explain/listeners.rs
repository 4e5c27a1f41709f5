//! `explain` on a listener: its scope, its root and its host names.

use egressd::cli::Exit;

use super::super::world::{Ran, World, connection};

const SETTINGS: &str = "
proxy:
  listen: [127.0.0.1:8080]
  listeners:
    - {listen: [127.0.0.1:9001], connection: crm}
    - {listen: ['unix:run/a.sock'], connections: [erp], allowed_hosts: [box.internal]}
connections: [connections]
";

fn explain(settings: &str, more: &[&str]) -> Ran {
    let base = |host: &str| connection(&[("base_url", &format!("https://{host}.test/v1"))]);
    let world = World::new()
        .file("egressd.yaml", settings)
        .file("connections/crm.yaml", base("crm"))
        .file("connections/erp.yaml", base("erp"));
    let config = world.path("egressd.yaml");
    let fixed = ["explain", "--config", config.to_str().unwrap()];
    world.run(&[&fixed[..], more].concat())
}

#[test]
fn a_request_is_explained_as_on_the_listener_that_is_named() {
    let (mounted, some) = (
        &["--listener", "127.0.0.1:9001"][..],
        &["--listener", "unix:a.sock"][..],
    );
    let box_host = &["-H", "Host: box.internal"][..];
    for (more, target, exit, expected) in [
        (&[][..], "/crm/a", Exit::Success, "https://crm.test/v1/a"),
        (&[], "/erp/a", Exit::Success, "https://erp.test/v1/a"),
        (
            &[],
            "http://crm.localhost:8080/a",
            Exit::Success,
            "https://crm.test/v1/a",
        ),
        (mounted, "/a", Exit::Success, "https://crm.test/v1/a"),
        (mounted, "/", Exit::Failure, "403 route_not_allowed"),
        (mounted, "/crm/a", Exit::Failure, "403 route_not_allowed"),
        // The port of a URL names its listener.
        (
            &[],
            "http://127.0.0.1:9001/a",
            Exit::Success,
            "https://crm.test/v1/a",
        ),
        (
            &[],
            "http://127.0.0.1:8080/a",
            Exit::Failure,
            "404 connection_not_found",
        ),
        (
            &[],
            "http://127.0.0.1:5/crm/a",
            Exit::Success,
            "https://crm.test/v1/a",
        ),
        (some, "/erp/a", Exit::Success, "https://erp.test/v1/a"),
        (some, "/crm/a", Exit::Failure, "404 connection_not_found"),
        (some, "/", Exit::Success, "list of connections"),
        (box_host, "/erp/a", Exit::Failure, "421 host_not_allowed"),
        (
            &[some, box_host].concat(),
            "/erp/a",
            Exit::Success,
            "https://erp.test/v1/a",
        ),
    ] {
        let ran = explain(SETTINGS, &[more, &["GET", target]].concat());
        assert_eq!(ran.exit, exit, "{more:?} {target}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(expected), "{more:?} {target}: {}", ran.out);
    }
}

#[test]
fn a_port_that_no_listener_has_is_noted() {
    let note = "no listener has port 5, so the request is explained as on `proxy.listen`";
    let by_port = |settings: &str, more: &[&str], port: u16| {
        let target = format!("http://127.0.0.1:{port}/crm/a");
        let ran = explain(settings, &[more, &["GET", &target]].concat());
        assert_eq!(ran.exit, Exit::Success, "{}{}", ran.out, ran.err);
        ran.err
    };
    let shown = by_port(SETTINGS, &[], 5);
    assert!(shown.contains(note), "{shown}");
    assert!(shown.contains("`127.0.0.1:9001`"), "{shown}");
    for shown in [
        by_port(SETTINGS, &[], 8080),
        by_port(SETTINGS, &["--listener", "127.0.0.1:8080"], 5),
        by_port(&SETTINGS.replace(":8080", ":0"), &[], 5),
    ] {
        assert!(!shown.contains("no listener"), "{shown}");
    }
}

#[test]
fn a_listener_that_does_not_exist_is_reported_with_those_that_do() {
    let all = "`127.0.0.1:8080`, `127.0.0.1:9001`, `unix:";
    for address in [
        "127.0.0.1:9002",
        "127.0.0.1",
        "unix:b.sock",
        "unix:",
        "canary",
    ] {
        let ran = explain(SETTINGS, &["--listener", address, "GET", "/crm/a"]);
        assert_eq!(ran.exit, Exit::Usage, "{address}: {}", ran.out);
        assert!(ran.err.contains(all), "{}", ran.err);
        assert!(!ran.err.contains("canary"), "{}", ran.err);
    }
    let none = SETTINGS.replace("[127.0.0.1:8080]", "[]");
    let ran = explain(&none, &["GET", "/crm/a"]);
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.out);
    assert!(
        ran.err.contains("name a listener with `--listener`"),
        "{}",
        ran.err
    );
}
