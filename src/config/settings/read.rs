//! Layers → [`Settings`]. Defaults and bounds stand here, beside the field that they are of.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hosts::hosts;
use super::layers::{Read, Section};
use super::places::{connections, secrets};
use super::roots::roots;
use super::{
    AccessLog, EgressSettings, Listen, LogFormat, LogLevel, LogSettings, ManagementSettings,
    ProxySettings, Settings,
};
use crate::config::field::Field;
use crate::config::object::Object;
use crate::config::problem::{Problem, Problems};
use crate::config::redaction::quoted;
use crate::config::secret_policy::SecretSettings;
use crate::config::secret_ref::ResolveContext;
use crate::domain::auth::{BasicAuth, Username};

/// One day: more than any wait that is meant.
const DAY: u64 = 86_400;
/// More sockets or requests than one process can hold.
const MANY: u64 = 1_000_000;

/// Where operators connect where nobody says it, and how many addresses there must be.
const MANAGEMENT_LISTEN: (&str, usize) = ("127.0.0.1:8081", 0);

const LOOPBACK_REMEDY: &str = "listen on 127.0.0.1, [::1] or unix:/path; or say `allow_non_loopback: true` if a network policy closes the port to everybody else";

/// The parts that were read of the settings. The last two are separate, so that definitions are
/// read even if the rest has problems.
#[derive(Default)]
pub(in crate::config) struct ReadSettings {
    pub(in crate::config) settings: Option<Settings>,
    pub(in crate::config) connections: Vec<PathBuf>,
    pub(in crate::config) secrets: SecretSettings,
}

/// Reads the settings.
pub(in crate::config) fn settings(file: Option<Object<'_>>, read: &Read<'_>) -> ReadSettings {
    let mut top = Section {
        name: "",
        object: file,
        layers: read.layers,
        problems: read.problems,
    };
    let proxy = proxy(read.section(&mut top, "proxy"), read.context.directory);
    let management = management(read.section(&mut top, "management"), read);
    let egress = egress(read.section(&mut top, "egress"), read.context);
    let log = log(read.section(&mut top, "log"));
    let mut shutdown = read.section(&mut top, "shutdown");
    let grace = seconds(&mut shutdown, "grace_period_seconds", (0, DAY, 20));
    shutdown.finish();
    let connections = connections(&mut top, read);
    let section = read.section(&mut top, "secrets");
    let secrets = secrets(section, read.context.directory, read.context.values());
    top.finish();
    if let (Some(proxy), Some(management)) = (&proxy, &management) {
        clashes(&proxy.listen, &management.listen, read.problems);
    }
    let (paths, allowed) = (connections.clone(), secrets.clone());
    let settings = || {
        Some(Settings {
            proxy: proxy?,
            management: management?,
            egress: egress?,
            connections: connections?,
            secrets: secrets?,
            log: log?,
            shutdown_grace_period: grace?,
        })
    };
    ReadSettings {
        settings: settings(),
        connections: paths.unwrap_or_default(),
        secrets: allowed.unwrap_or_default(),
    }
}

/// Reads where operators connect and nothing else: neither the rest of the section nor who may reach it.
pub(in crate::config) fn management_listen(
    file: Option<Object<'_>>,
    read: &Read<'_>,
) -> Option<Vec<Listen>> {
    let before = read.problems.count();
    let mut top = Section {
        name: "",
        object: file,
        layers: read.layers,
        problems: read.problems,
    };
    let mut section = read.section(&mut top, "management");
    let directory = read.context.directory;
    let found = listen(&mut section, directory, MANAGEMENT_LISTEN, |_, _| true);
    // A section that is no mapping is reported, and read as if it were absent.
    found.filter(|_| read.problems.count() == before)
}

fn proxy(mut section: Section<'_>, directory: &Path) -> Option<ProxySettings> {
    let anywhere = section.leaf("allow_non_loopback");
    let anywhere = anywhere.map_or(Some(false), |field| field.boolean());
    let listen = listen(
        &mut section,
        directory,
        ("127.0.0.1:8080", 1),
        |field, address| {
            let open = address.is_local() || anywhere != Some(false);
            if !open {
                let message = format!(
                    "{} can be reached from other machines",
                    quoted(&address.to_string())
                );
                field.report("non_loopback", message, LOOPBACK_REMEDY);
            }
            open
        },
    );
    let allowed_hosts = section.leaf("allowed_hosts").map(|field| hosts(&field));
    let workers = number(&mut section, "workers", (0, 1024, 0));
    let max_connections = number(&mut section, "max_connections", (1, MANY, 4096));
    let max_in_flight = number(&mut section, "max_in_flight", (1, MANY, 1024));
    let body = section.leaf("max_request_body_bytes");
    let body = body.map_or(Some(10_485_760), |field| field.integer(0, 1 << 40));
    let header_read = seconds(&mut section, "header_read_timeout_seconds", (1, DAY, 10));
    let idle = seconds(&mut section, "idle_timeout_seconds", (1, DAY, 75));
    let body_idle = seconds(&mut section, "body_idle_timeout_seconds", (1, DAY, 30));
    let write_stall = seconds(&mut section, "write_stall_timeout_seconds", (1, DAY, 30));
    section.finish();
    anywhere?;
    Some(ProxySettings {
        listen: listen?,
        allowed_hosts: allowed_hosts.unwrap_or_else(|| Some(Vec::new()))?,
        workers: workers?,
        max_connections: max_connections?,
        max_in_flight: max_in_flight?,
        max_request_body_bytes: body?,
        header_read_timeout: header_read?,
        idle_timeout: idle?,
        body_idle_timeout: body_idle?,
        write_stall_timeout: write_stall?,
    })
}

fn management(mut section: Section<'_>, read: &Read<'_>) -> Option<ManagementSettings> {
    let written = section
        .object
        .as_ref()
        .is_some_and(|object| object.has("basic_auth"));
    let object = section
        .object
        .as_mut()
        .and_then(|object| object.take("basic_auth"));
    let mut nested = Section {
        name: "management_basic_auth",
        object: object.and_then(|field| field.secret().object()),
        layers: section.layers,
        problems: section.problems,
    };
    let (username, password) = (nested.leaf("username"), nested.leaf("password"));
    nested.finish();
    let wanted = written || username.is_some() || password.is_some();
    let basic_auth = basic_auth(username, password, read, wanted);
    let listen = listen(
        &mut section,
        read.context.directory,
        MANAGEMENT_LISTEN,
        |field, address| {
            let guarded = address.is_local() || wanted;
            if !guarded {
                let message = format!(
                    "{} can be reached from other machines",
                    quoted(&address.to_string())
                );
                let remedy =
                    "set `management.basic_auth`, or listen on 127.0.0.1, [::1] or unix:/path";
                field.report("non_loopback", message, remedy);
            }
            guarded
        },
    );
    section.finish();
    Some(ManagementSettings {
        listen: listen?,
        basic_auth: basic_auth?,
    })
}

/// `Some(None)` where none is wanted.
fn basic_auth(
    username: Option<Field<'_>>,
    password: Option<Field<'_>>,
    read: &Read<'_>,
    wanted: bool,
) -> Option<Option<BasicAuth>> {
    if !wanted {
        return Some(None);
    }
    if let (Some(lonely), None) | (None, Some(lonely)) = (&username, &password) {
        let message = "`management.basic_auth` needs both `username` and `password`";
        let problem = lonely.problem("missing_field", message);
        let problem = problem.field("management.basic_auth");
        lonely.push(problem.remedy("write both, or neither"));
        return None;
    }
    let (field, password) = (username?, password?);
    let (username, password) = (read.context.secret(&field), read.context.secret(&password));
    let (username, password) = (username?, password?);
    let Ok(username) = Username::try_from(username) else {
        let hidden = field.secret();
        hidden.report(
            "invalid_username",
            "the user name holds a colon",
            "write a user name without `:`",
        );
        return None;
    };
    Some(Some(BasicAuth::new(username, password)))
}

fn egress(mut section: Section<'_>, context: &ResolveContext<'_>) -> Option<EgressSettings> {
    let ca_files = section.leaf("ca_files").map(|field| roots(&field, context));
    let connect = seconds(&mut section, "connect_timeout_seconds", (1, 300, 5));
    let idle = seconds(&mut section, "pool_idle_timeout_seconds", (1, DAY, 60));
    let max_idle = number(&mut section, "pool_max_idle_per_host", (0, 65_536, 64));
    section.finish();
    Some(EgressSettings {
        roots: ca_files.unwrap_or_else(|| Some(Vec::new()))?,
        connect_timeout: connect?,
        pool_idle_timeout: idle?,
        pool_max_idle_per_host: max_idle?,
    })
}

fn log(mut section: Section<'_>) -> Option<LogSettings> {
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let accesses = [
        ("all", AccessLog::All),
        ("refused", AccessLog::Refused),
        ("off", AccessLog::Off),
    ];
    let format = section.leaf("format").map(|field| field.choice(&formats));
    let level = section.leaf("level").map(|field| field.choice(&levels));
    let access = section.leaf("access").map(|field| field.choice(&accesses));
    section.finish();
    Some(LogSettings {
        format: format.unwrap_or(Some(LogFormat::default()))?,
        level: level.unwrap_or(Some(LogLevel::default()))?,
        access: access.unwrap_or(Some(AccessLog::default()))?,
    })
}

/// A whole number: smallest, largest, default.
fn number(section: &mut Section<'_>, name: &'static str, bounds: (u64, u64, u64)) -> Option<usize> {
    let (min, max, default) = bounds;
    let field = section.leaf(name);
    let value = field.map_or(Some(default), |field| field.integer(min, max))?;
    usize::try_from(value).ok()
}

fn seconds(
    section: &mut Section<'_>,
    name: &'static str,
    bounds: (u64, u64, u64),
) -> Option<Duration> {
    let (min, max, default) = bounds;
    let field = section.leaf(name);
    let value = field.map_or(Some(default), |field| field.integer(min, max))?;
    Some(Duration::from_secs(value))
}

fn listen(
    section: &mut Section<'_>,
    directory: &Path,
    (default, least): (&str, usize),
    admits: impl Fn(&Field<'_>, &Listen) -> bool,
) -> Option<Vec<Listen>> {
    let Some(field) = section.leaf("listen") else {
        return Some(vec![Listen::Tcp(default.parse().ok()?)]);
    };
    let items = field.list()?;
    if items.len() < least {
        field.report(
            "empty",
            "holds no address, so nobody could connect",
            format!("write `[{default}]`"),
        );
        return None;
    }
    let mut addresses: Vec<Listen> = Vec::with_capacity(items.len());
    let mut whole = true;
    for item in &items {
        let Some(address) = address(item, directory).filter(|address| admits(item, address)) else {
            whole = false;
            continue;
        };
        if addresses.iter().any(|other| other.clashes_with(&address)) {
            let message = format!("{} is listened on already", quoted(&address.to_string()));
            item.report("duplicate_address", message, "list every address once");
            whole = false;
        }
        addresses.push(address);
    }
    whole.then_some(addresses)
}

fn address(field: &Field<'_>, directory: &Path) -> Option<Listen> {
    /// `sun_path` holds 108 bytes, the last of which is NUL.
    const MAX_PATH: usize = 107;
    let text = field.text()?;
    if let Some(path) = text.strip_prefix("unix:") {
        let whole = directory.join(path);
        if path.starts_with(['@', '\0']) {
            let message = format!(
                "{} is an abstract socket: it has no mode, so every process of the machine could connect",
                quoted(text)
            );
            let remedy = "write the path of a file: `unix:/run/egressd/agent.sock`";
            field.report("invalid_address", message, remedy);
            return None;
        }
        if !path.contains('\0') && !path.is_empty() && whole.as_os_str().len() <= MAX_PATH {
            return Some(Listen::Unix(whole));
        }
        let message = format!(
            "{} is no path of at most {MAX_PATH} bytes",
            quoted(&format!("unix:{}", whole.display()))
        );
        field.report(
            "invalid_address",
            message,
            "write `unix:/run/egressd/agent.sock`",
        );
        return None;
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Listen::Tcp(address));
    }
    let message = format!("{} is no address to listen on", quoted(text));
    field.report(
        "invalid_address",
        message,
        "write an IP address and a port, such as `127.0.0.1:8080`, or `unix:/path`",
    );
    None
}

/// Both listeners on one address (F-19): the second could not be bound.
fn clashes(proxy: &[Listen], management: &[Listen], problems: &Problems) {
    for address in management {
        if proxy.iter().any(|other| other.clashes_with(address)) {
            let shown = quoted(&address.to_string());
            let message = format!("the proxy and the management API both listen on {shown}");
            let problem = Problem::whole("settings", "duplicate_address", message);
            problems.push(
                problem
                    .field("management.listen")
                    .remedy("give them different ports"),
            );
        }
    }
}
