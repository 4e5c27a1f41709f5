//! The settings file, the environment that replaces its values, and the flags that replace both.

use std::time::Duration;

use egressd::config::{AccessFilter, EventLevel, ListenAddress, Loaded, LogFormat, Problem};
use egressd::domain::Ceilings;

use super::world::{World, camel_case, connection};

/// Returns a world with these settings and one valid connection.
pub(super) fn world(settings: &str) -> World {
    World::new()
        .file("egressd.yaml", settings)
        .file("connections/a.yaml", connection(&[]))
}

#[track_caller]
pub(super) fn loaded(world: &World) -> Loaded {
    world.load().unwrap_or_else(|found| panic!("{found:#?}"))
}

/// Asserts that there is exactly one error, with this code, at this field.
#[track_caller]
pub(super) fn refuses(world: &World, code: &str, field: &str) -> Problem {
    let mut found = world.load().err().unwrap_or_default();
    found.retain(Problem::is_error);
    let [problem] = found.as_slice() else {
        panic!("one problem wanted: {found:#?}")
    };
    assert_eq!((problem.code, problem.field.as_str()), (code, field));
    assert!(!problem.remedy.is_empty());
    problem.clone()
}

pub(super) fn tcp(address: &str) -> ListenAddress {
    ListenAddress::Tcp(address.parse().unwrap())
}

#[test]
fn defaults() {
    let settings = loaded(&world("")).settings;
    assert_eq!(settings.proxy.listen, [tcp("127.0.0.1:8080")]);
    assert_eq!(settings.management.listen, [tcp("127.0.0.1:8081")]);
    assert!(settings.proxy.allowed_hosts.is_empty() && settings.management.basic_auth.is_none());
    assert_eq!(
        (settings.proxy.workers, settings.proxy.max_connections),
        (0, 4096)
    );
    assert_eq!(settings.proxy.max_in_flight, 1024);
    assert_eq!(settings.proxy.max_request_body_bytes, 10_485_760);
    assert_eq!(settings.proxy.header_read_timeout, Duration::from_secs(10));
    assert_eq!(settings.proxy.idle_timeout, Duration::from_secs(75));
    assert_eq!(settings.proxy.body_idle_timeout, Duration::from_secs(30));
    assert_eq!(settings.proxy.write_stall_timeout, Duration::from_secs(30));
    assert!(settings.mcp.enabled);
    assert_eq!(settings.mcp.max_result_bytes, 262_144);
    assert_eq!(settings.egress.connect_timeout, Duration::from_secs(5));
    assert_eq!(settings.egress.pool_idle_timeout, Duration::from_secs(60));
    assert_eq!(settings.egress.pool_max_idle_per_host, 64);
    assert!(settings.egress.roots.is_empty());
    assert_eq!(
        (settings.log.format, settings.log.level),
        (LogFormat::Auto, EventLevel::Info)
    );
    assert_eq!(settings.log.access, AccessFilter::All);
    assert_eq!(settings.shutdown_grace_period, Duration::from_secs(20));
    assert_eq!(settings.ceilings, Ceilings::default());
}

/// Sets every field to a value other than its default.
const EVERY: &str = "
proxy:
  listen: [127.0.0.1:1, '[::1]:1', 'unix:/run/a.sock', 0.0.0.0:2]
  allow_non_loopback: true
  allowed_hosts: [Egress.Local]
  workers: 2
  max_connections: 3
  max_in_flight: 4
  max_request_body_bytes: '5'
  header_read_timeout_seconds: 6
  idle_timeout_seconds: 7
  body_idle_timeout_seconds: 8
  write_stall_timeout_seconds: 9
management:
  listen: [0.0.0.0:8081]
  basic_auth: {username: u, password: {file: secret}}
mcp: {enabled: false, max_result_bytes: 2048}
egress:
  ca_files: [ca.pem]
  connect_timeout_seconds: 10
  pool_idle_timeout_seconds: 11
  pool_max_idle_per_host: 12
connections: [more, connections/a.yaml]
secrets: {allow: [keys, /run/keys], allow_env: [TOKEN, ERP*]}
log: {format: json, level: debug, access: refused}
shutdown: {grace_period_seconds: 13}
limits: {max_response_size_bytes: 14, max_timeout_seconds: 15}
";

#[test]
fn a_socket_path_is_relative_to_the_settings_file() {
    let world = world("proxy: {listen: ['unix:agent.sock']}\nmanagement: {listen: ['unix:/m']}")
        .file("connections/a.yaml", connection(&[]));
    let settings = loaded(&world).settings;
    let beside = ListenAddress::Unix(world.path("agent.sock"));
    assert_eq!(settings.proxy.listen, [beside]);
    assert_eq!(
        settings.management.listen,
        [ListenAddress::Unix("/m".into())]
    );
}

#[test]
fn an_ipv6_host_is_allowed_as_a_host_field_writes_it() {
    let world = world("proxy: {allowed_hosts: ['FD00::1', '[fd00::2]']}")
        .file("connections/a.yaml", connection(&[]));
    let settings = loaded(&world).settings;
    assert_eq!(settings.proxy.allowed_hosts, ["[fd00::1]", "[fd00::2]"]);
}

#[test]
fn every_field_in_both_spellings() {
    let camel = camel_case(EVERY);
    for text in [EVERY, &camel] {
        let world = world(text)
            .file("secret", "p\n")
            .file("ca.pem", ca())
            .file("more/b.yaml", connection(&[]));
        let loaded = loaded(&world);
        let settings = &loaded.settings;
        let addresses = [
            tcp("127.0.0.1:1"),
            tcp("[::1]:1"),
            ListenAddress::Unix("/run/a.sock".into()),
            tcp("0.0.0.0:2"),
        ];
        assert_eq!(settings.proxy.listen, addresses);
        assert_eq!(settings.proxy.allowed_hosts, ["egress.local"]);
        assert_eq!(
            (
                settings.proxy.workers,
                settings.proxy.max_connections,
                settings.proxy.max_in_flight
            ),
            (2, 3, 4)
        );
        assert_eq!(settings.proxy.max_request_body_bytes, 5);
        let seconds = [
            settings.proxy.header_read_timeout,
            settings.proxy.idle_timeout,
            settings.proxy.body_idle_timeout,
            settings.proxy.write_stall_timeout,
            settings.egress.connect_timeout,
            settings.egress.pool_idle_timeout,
            settings.shutdown_grace_period,
        ];
        assert_eq!(seconds.map(|wait| wait.as_secs()), [6, 7, 8, 9, 10, 11, 13]);
        assert_eq!(settings.ceilings.response.bytes(), 14);
        assert_eq!(settings.mcp.max_result_bytes, 2048);
        assert!(!settings.mcp.enabled && settings.management.basic_auth.is_some());
        assert_eq!(settings.egress.roots.len(), 1);
        assert_eq!(settings.egress.pool_max_idle_per_host, 12);
        assert_eq!(
            (settings.log.format, settings.log.level),
            (LogFormat::Json, EventLevel::Debug)
        );
        assert_eq!(settings.log.access, AccessFilter::Refused);
        assert_eq!(
            settings.connections,
            [world.path("more"), world.path("connections/a.yaml")]
        );
        let keys = vec![world.path("keys"), "/run/keys".into()];
        assert_eq!(settings.secrets.allow, Some(keys));
        let variables = ["TOKEN", "ERP*"].map(str::to_owned).to_vec();
        assert_eq!(settings.secrets.allow_env, Some(variables));
        assert_eq!(loaded.connections.len(), 2);
        assert_eq!(loaded.sources.secrets, [world.path("secret")]);
        assert_eq!(loaded.sources.authorities, [world.path("ca.pem")]);
        let file = Some(world.path("egressd.yaml"));
        assert_eq!(loaded.sources.settings, file);
    }
}

pub(super) fn ca() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&key).unwrap().pem()
}

#[test]
fn flags_beat_environment_beats_file() {
    let mut world =
        world("proxy: {listen: [127.0.0.1:1], workers: 1}\nlog: {level: warn, format: text}\n")
            .variable("EGRESSD_PROXY_LISTEN", "127.0.0.1:2, 127.0.0.1:3")
            .variable("EGRESSD_PROXY_WORKERS", "2")
            .variable("EGRESSD_LOG_LEVEL", "error")
            .variable("EGRESSD_SHUTDOWN_GRACE_PERIOD_SECONDS", "5")
            .variable("EGRESSD_MANAGEMENT_BASIC_AUTH_USERNAME", "12")
            .variable("EGRESSD_MANAGEMENT_BASIC_AUTH_PASSWORD", "p");
    let settings = loaded(&world).settings;
    assert_eq!(
        settings.proxy.listen,
        [tcp("127.0.0.1:2"), tcp("127.0.0.1:3")]
    );
    assert_eq!(
        (settings.proxy.workers, settings.log.level),
        (2, EventLevel::Error)
    );
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.shutdown_grace_period, Duration::from_secs(5));
    assert!(settings.management.basic_auth.is_some());
    world.overrides.listen = vec!["127.0.0.1:4".into()];
    world.overrides.management_listen = vec!["127.0.0.1:5".into()];
    world.overrides.log_level = Some("trace".into());
    world.overrides.log_format = Some("json".into());
    let settings = loaded(&world).settings;
    assert_eq!(
        (settings.proxy.listen, settings.management.listen),
        (vec![tcp("127.0.0.1:4")], vec![tcp("127.0.0.1:5")])
    );
    assert_eq!(
        (settings.log.level, settings.log.format),
        (EventLevel::Trace, LogFormat::Json)
    );
    world.overrides.log_level = Some("loud".into());
    assert_eq!(
        refuses(&world, "unknown_value", "--log-level").file,
        "command line"
    );
}

#[test]
fn every_leaf_has_a_variable() {
    let values = [
        ("PROXY_LISTEN", "127.0.0.1:1"),
        ("PROXY_ALLOW_NON_LOOPBACK", "true"),
        ("PROXY_ALLOWED_HOSTS", "a,b"),
        ("PROXY_WORKERS", "1"),
        ("PROXY_MAX_CONNECTIONS", "1"),
        ("PROXY_MAX_IN_FLIGHT", "1"),
        ("PROXY_MAX_REQUEST_BODY_BYTES", "1"),
        ("PROXY_HEADER_READ_TIMEOUT_SECONDS", "1"),
        ("PROXY_IDLE_TIMEOUT_SECONDS", "1"),
        ("PROXY_BODY_IDLE_TIMEOUT_SECONDS", "1"),
        ("PROXY_WRITE_STALL_TIMEOUT_SECONDS", "1"),
        ("SECRETS_ALLOW", "/run/a, /run/b"),
        ("SECRETS_ALLOW_ENV", "A, B_*"),
        ("MANAGEMENT_LISTEN", ""),
        ("MANAGEMENT_BASIC_AUTH_USERNAME", "u"),
        ("MANAGEMENT_BASIC_AUTH_PASSWORD", "p"),
        ("EGRESS_CA_FILES", ""),
        ("EGRESS_CONNECT_TIMEOUT_SECONDS", "1"),
        ("EGRESS_POOL_IDLE_TIMEOUT_SECONDS", "1"),
        ("EGRESS_POOL_MAX_IDLE_PER_HOST", "1"),
        ("CONNECTIONS", "connections"),
        ("LOG_FORMAT", "json"),
        ("LOG_LEVEL", "info"),
        ("LOG_ACCESS", "off"),
        ("SHUTDOWN_GRACE_PERIOD_SECONDS", "0"),
        ("LIMITS_MAX_RESPONSE_SIZE_BYTES", "1"),
        ("LIMITS_MAX_TIMEOUT_SECONDS", "1"),
    ];
    let all = values.iter().fold(world(""), |world, (name, value)| {
        world.variable(&format!("EGRESSD_{name}"), value)
    });
    let settings = loaded(&all).settings;
    assert!(settings.management.listen.is_empty());
    assert_eq!(settings.log.access, AccessFilter::Off);
    for (name, _) in values {
        let name = format!("EGRESSD_{name}");
        if name.ends_with("_ALLOW")
            || name.ends_with("_HOSTS")
            || name.ends_with("USERNAME")
            || name.ends_with("PASSWORD")
        {
            continue;
        }
        let bad = world("").variable(&name, "\u{1}/!");
        assert!(bad.load().is_err(), "{name}");
    }
}

#[test]
fn paths_replace_the_listed_ones() {
    let mut world = world("").file("other/b.yaml", connection(&[]));
    world.overrides.connections = vec![world.path("other")];
    let loaded = loaded(&world);
    assert_eq!(loaded.connections[0].id.as_str(), "b");
    assert_eq!(loaded.settings.connections, [world.path("other")]);
}
