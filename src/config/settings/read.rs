//! Reads all layers into [`Settings`]. The defaults and bounds of numbers are in the table of
//! fields.

use std::path::PathBuf;

use super::agent_listeners::{NamedConnections, read_agent_listeners};
use super::definition_rules::{DefinitionRules, read_rules};
use super::listen::{MANAGEMENT, PROXY, PROXY_BESIDE_LISTENERS, read_listen, report_non_loopback};
use super::reader::SettingsReader;
use super::taken_addresses::TakenAddresses;
use super::values::{read_ca_roots, read_connection_paths, read_host};
use super::{
    AccessFilter, EgressSettings, EventLevel, ListenAddress, LogFormat, LogSettings,
    ManagementSettings, McpSettings, ProxySettings, Settings,
};
use crate::config::document::Value;
use crate::config::field::Field;
use crate::config::file_kind::report_connection_file;
use crate::config::object::Object;
use crate::config::secret_ref::ResolveContext;
use crate::config::settings_spec::{self, ROOT, SETTINGS, variable};
use crate::domain::auth::{BasicAuth, Username};

const FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
];
const LEVELS: [(&str, EventLevel); 5] = [
    ("error", EventLevel::Error),
    ("warn", EventLevel::Warn),
    ("info", EventLevel::Info),
    ("debug", EventLevel::Debug),
    ("trace", EventLevel::Trace),
];
const ACCESS: [(&str, AccessFilter); 3] = [
    ("all", AccessFilter::All),
    ("refused", AccessFilter::Refused),
    ("off", AccessFilter::Off),
];

/// The parts of the settings that were read. All but the first are separate, so that definitions
/// are read even if the rest has problems.
#[derive(Default)]
pub(in crate::config) struct ReadSettings {
    pub(in crate::config) settings: Option<Settings>,
    pub(in crate::config) connections: Vec<PathBuf>,
    /// `true` if no layer sets `connections`.
    pub(in crate::config) connections_are_default: bool,
    pub(in crate::config) rules: DefinitionRules,
    /// The ids that `proxy.listeners` names.
    pub(in crate::config) named: NamedConnections,
}

/// Reads the settings: all layers, and the file if there is one.
pub(in crate::config) fn read_settings<'a>(
    file: Option<Field<'a>>,
    read: &SettingsReader<'a>,
) -> ReadSettings {
    if file.as_ref().is_some_and(report_connection_file) {
        return ReadSettings::default();
    }
    let file = match file.map(|file| file.read_object(&SETTINGS)) {
        Some(None) => return ReadSettings::default(),
        Some(Some(file)) => Some(file),
        None => None,
    };
    let top = read.with_layers(file);
    let section = |name| top.read_section(name);
    let mut named = NamedConnections::default();
    let mut taken = TakenAddresses::default();
    let proxy = section("proxy").and_then(|it| read_proxy(&it, &mut taken, &mut named, read));
    let management = section("management").and_then(|it| read_management(&it, &mut taken, read));
    let mcp = section("mcp").and_then(|it| read_mcp(&it));
    let egress = section("egress").and_then(|it| read_egress(&it, read.context));
    let log = section("log").and_then(|it| read_log(&it));
    let shutdown_grace_period =
        section("shutdown").and_then(|it| it.read_seconds("grace_period_seconds"));
    let connections_are_default = !top.has_field("connections")
        && read
            .layers
            .find_value(&variable(ROOT, "connections"))
            .is_none();
    let connections = read_connection_paths(
        &top,
        read.context.directory,
        read.default_path("connections"),
    );
    let rules = read_rules(&top, read);
    let (paths, found) = (connections.clone(), rules.clone());
    let settings = || {
        Some(Settings {
            proxy: proxy?,
            management: management?,
            mcp: mcp?,
            egress: egress?,
            connections: connections?,
            token_store: found.token_store?,
            connectors: found.connectors?.named,
            secrets: found.secrets?,
            ceilings: found.ceilings?,
            log: log?,
            shutdown_grace_period: shutdown_grace_period?,
        })
    };
    ReadSettings {
        settings: settings(),
        connections: paths.unwrap_or_default(),
        connections_are_default,
        rules,
        named,
    }
}

/// Reads only the addresses of the management API, without the rest of the section and without
/// checking that a login protects them.
pub(in crate::config) fn read_management_listen<'a>(
    file: Option<Field<'a>>,
    read: &SettingsReader<'a>,
) -> Option<Vec<ListenAddress>> {
    let problems = read.layers.problems;
    let before = problems.count();
    let file = file.and_then(|file| file.read_unchecked_object(&SETTINGS));
    let section = file.and_then(|file| file.take_field("management"));
    let section = section.and_then(|field| field.read_unchecked_object(&settings_spec::MANAGEMENT));
    let prefix = variable(ROOT, "management");
    let section = Object::with_layers(section, &settings_spec::MANAGEMENT, read.layers, prefix);
    let mut taken = TakenAddresses::default();
    let directory = read.context.directory;
    let found = read_listen(&section, directory, &MANAGEMENT, &mut taken, |_, _| true);
    // A section that is not a mapping is reported and then read as if it were absent, so the number
    // of problems decides.
    found.filter(|_| problems.count() == before)
}

/// Reads `proxy`. Adds its addresses to `taken`, and the ids that its listeners name to `named`.
fn read_proxy<'a>(
    section: &Object<'a>,
    taken: &mut TakenAddresses<'a>,
    named: &mut NamedConnections,
    read: &SettingsReader<'_>,
) -> Option<ProxySettings> {
    let allow_non_loopback = section.read_flag("allow_non_loopback");
    let listen = read_proxy_listen(section, allow_non_loopback, taken, read);
    let allowed_hosts = section.read_optional("allowed_hosts", Vec::new(), |field| {
        field.read_items(read_host)
    });
    let listeners = read_agent_listeners(section, taken, named, read.context.directory);
    let workers = section.read_count("workers");
    let max_connections = section.read_count("max_connections");
    let max_in_flight = section.read_count("max_in_flight");
    let max_request_body_bytes = section.read_integer("max_request_body_bytes");
    let header_read_timeout = section.read_seconds("header_read_timeout_seconds");
    let idle_timeout = section.read_seconds("idle_timeout_seconds");
    let body_idle_timeout = section.read_seconds("body_idle_timeout_seconds");
    let write_stall_timeout = section.read_seconds("write_stall_timeout_seconds");
    allow_non_loopback?;
    Some(ProxySettings {
        listen: listen?,
        allowed_hosts: allowed_hosts?,
        listeners: listeners?,
        workers: workers?,
        max_connections: max_connections?,
        max_in_flight: max_in_flight?,
        max_request_body_bytes: max_request_body_bytes?,
        header_read_timeout: header_read_timeout?,
        idle_timeout: idle_timeout?,
        body_idle_timeout: body_idle_timeout?,
        write_stall_timeout: write_stall_timeout?,
    })
}

/// Reads `proxy.listen`, which may be empty beside `proxy.listeners`.
fn read_proxy_listen<'a>(
    section: &Object<'a>,
    allow_non_loopback: Option<bool>,
    taken: &mut TakenAddresses<'a>,
    read: &SettingsReader<'_>,
) -> Option<Vec<ListenAddress>> {
    let listeners = section.field.find_entry("listeners");
    let has_others = listeners
        .is_some_and(|(_, node)| !matches!(&node.value, Value::List(items) if items.is_empty()));
    let listen_field = if has_others {
        &PROXY_BESIDE_LISTENERS
    } else {
        &PROXY
    };
    read_listen(
        section,
        read.context.directory,
        listen_field,
        taken,
        |field, address| {
            // An invalid flag is reported by itself; it causes no second problem here.
            let is_allowed = address.is_local() || allow_non_loopback != Some(false);
            if !is_allowed {
                let setting = "set `proxy.allow_non_loopback: true` if a network policy keeps other machines out";
                report_non_loopback(field, address, read.can_be_set.then_some(setting));
            }
            is_allowed
        },
    )
}

fn read_management<'a>(
    section: &Object<'a>,
    taken: &mut TakenAddresses<'a>,
    read: &SettingsReader<'_>,
) -> Option<ManagementSettings> {
    let is_written = section.has_field("basic_auth");
    let login = section.read_section("basic_auth")?;
    let (username, password) = (login.take_field("username"), login.take_field("password"));
    // An incomplete login is an error and never means that no login is required.
    let is_wanted = is_written || username.is_some() || password.is_some();
    let basic_auth = if is_wanted {
        read_basic_auth(&login, username, password, read.context).map(Some)
    } else {
        Some(None)
    };
    let listen = read_listen(
        section,
        read.context.directory,
        &MANAGEMENT,
        taken,
        |field, address| {
            let is_allowed = address.is_local() || is_wanted;
            if !is_allowed {
                let setting = "set `management.basic_auth`";
                report_non_loopback(field, address, read.can_be_set.then_some(setting));
            }
            is_allowed
        },
    );
    Some(ManagementSettings {
        listen: listen?,
        basic_auth: basic_auth?,
    })
}

/// Reads a login that is required. `section` is the mapping in the file.
fn read_basic_auth(
    section: &Object<'_>,
    username: Option<Field<'_>>,
    password: Option<Field<'_>>,
    context: &ResolveContext<'_>,
) -> Option<BasicAuth> {
    let (field, password) = match (username, password) {
        (Some(username), Some(password)) => (username, password),
        (Some(username), None) => return reject_lonely(section, &username, "password"),
        (None, Some(password)) => return reject_lonely(section, &password, "username"),
        (None, None) => {
            // A section that is not a mapping, or has no value, was reported as such.
            if section.is_in_file() {
                section.report_missing_field("username", "write `username: …`");
                section.report_missing_field("password", "write `password: {env: NAME}`");
            }
            return None;
        }
    };
    let (username, password) = (context.read_secret(&field), context.read_secret(&password));
    let (username, password) = (username?, password?);
    let Ok(username) = Username::try_from(username) else {
        let hidden = field.into_secret();
        hidden.report(
            "invalid_username",
            "the user name contains a colon, which basic authentication does not allow (RFC 7617)",
            "write a user name without `:`",
        );
        return None;
    };
    Some(BasicAuth::new(username, password))
}

/// Reports that only one field of a login is set. A field without a value was reported as such.
fn reject_lonely<T>(section: &Object<'_>, lonely: &Field<'_>, missing: &str) -> Option<T> {
    if !section.has_field(missing) {
        let message = "`management.basic_auth` needs both `username` and `password`";
        let problem = lonely.problem("missing_field", message);
        let problem = problem.field("management.basic_auth");
        lonely.push(problem.remedy("write both, or neither"));
    }
    None
}

fn read_mcp(section: &Object<'_>) -> Option<McpSettings> {
    let enabled = section.read_flag("enabled");
    let max_result_bytes = section.read_integer("max_result_bytes");
    Some(McpSettings {
        enabled: enabled?,
        max_result_bytes: max_result_bytes?,
    })
}

fn read_egress(section: &Object<'_>, context: &ResolveContext<'_>) -> Option<EgressSettings> {
    let roots = section.read_optional("ca_files", Vec::new(), |field| {
        read_ca_roots(field, context)
    });
    let connect_timeout = section.read_seconds("connect_timeout_seconds");
    let pool_idle_timeout = section.read_seconds("pool_idle_timeout_seconds");
    let pool_max_idle_per_host = section.read_count("pool_max_idle_per_host");
    Some(EgressSettings {
        roots: roots?,
        connect_timeout: connect_timeout?,
        pool_idle_timeout: pool_idle_timeout?,
        pool_max_idle_per_host: pool_max_idle_per_host?,
    })
}

fn read_log(section: &Object<'_>) -> Option<LogSettings> {
    let format = section.read_optional("format", LogFormat::default(), |field| {
        field.read_choice(&FORMATS)
    });
    let level = section.read_optional("level", EventLevel::default(), |field| {
        field.read_choice(&LEVELS)
    });
    let access = section.read_optional("access", AccessFilter::default(), |field| {
        field.read_choice(&ACCESS)
    });
    Some(LogSettings {
        format: format?,
        level: level?,
        access: access?,
    })
}
