//! egressd, started in the test process from files, with the code that `egressd serve` uses.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::JoinHandle;

use egressd::app::{App, StartResources};
use egressd::clock::Clock;
use egressd::config::{Environment, LoadOptions, Problem, SettingsOverrides, load};
use egressd::hardening::{AllowedPaths, Hardening};
use egressd::memory::MemoryMonitor;
use egressd::reload::{Reload, Reloaded};
use egressd::server::ListenAddress;
use egressd::telemetry::{AccessLog, Logs, ProblemLog};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certs;
use super::connection::Connection;

/// The configuration of a sidecar.
pub(crate) struct Plan {
    connections: Vec<Connection>,
    settings: Value,
    clock: Clock,
}

/// A running egressd. It stops when it is dropped, and fails the test if one of its threads
/// panicked.
pub(crate) struct Sidecar {
    addresses: Vec<SocketAddr>,
    management: Vec<SocketAddr>,
    app: Option<App>,
    reload: Reload,
    files: TempDir,
}

impl Sidecar {
    /// Begins the configuration of a sidecar with one connection.
    pub(crate) fn with(connection: Connection) -> Plan {
        let settings = json!({
            "proxy": {"listen": ["127.0.0.1:0"]},
            "management": {"listen": ["127.0.0.1:0"]},
            "egress": {"ca_files": ["ca.pem"]},
            "connections": ["connections"],
            "log": {"access": "off", "level": "error"},
            "shutdown": {"grace_period_seconds": 0},
        });
        Plan {
            connections: vec![connection],
            settings,
            clock: Clock::system(),
        }
    }

    /// Begins to stop, as on SIGTERM. The thread returns the number of exchanges that were cut off.
    pub(crate) fn stop(mut self) -> JoinHandle<usize> {
        let app = self.app.take().expect("it runs");
        let thread = std::thread::Builder::new().name("world stop".to_owned());
        thread.spawn(move || app.stop()).unwrap()
    }

    /// Replaces all definitions with these and reloads.
    pub(crate) fn reload(&self, connections: &[Connection]) -> Result<Reloaded, Vec<Problem>> {
        let folder = self.files.path().join("connections");
        fs::remove_dir_all(&folder).unwrap();
        define(&folder, connections);
        self.reload.run()
    }

    /// Reloads the current content of the files.
    pub(crate) fn reload_files(&self) -> Result<Reloaded, Vec<Problem>> {
        self.reload.run()
    }

    /// Returns a path in the directory of the files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Returns the app and the options that it was started with.
    pub(crate) fn app(&self) -> (&App, LoadOptions) {
        let app = self.app.as_ref().expect("it runs");
        (app, options(self.path("egressd.yaml")))
    }

    /// Returns the address for agents.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns the TCP addresses for agents, in the order of the settings.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the address of the management API.
    pub(crate) fn management(&self) -> SocketAddr {
        self.management[0]
    }
}

impl Plan {
    /// Adds a connection.
    pub(crate) fn with_connection(mut self, connection: Connection) -> Self {
        self.connections.push(connection);
        self
    }

    /// Sets a setting by its dotted path, such as `proxy.max_in_flight`.
    pub(crate) fn setting(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.settings;
        for part in path.split('.') {
            at = &mut at[part];
        }
        *at = value.into();
        self
    }

    /// Measures the lifetimes of tokens with this clock.
    pub(crate) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Writes the files and starts egressd.
    pub(crate) fn start(self) -> Sidecar {
        self.start_logging(Logs {
            access: AccessLog::off(),
            problems: ProblemLog::off(),
        })
    }

    /// Starts like [`Plan::start`], with logs.
    pub(crate) fn start_logging(self, logs: Logs) -> Sidecar {
        // The memory limit of the test process must not affect the tests.
        self.start_within(None, logs)
    }

    /// Starts like [`Plan::start_logging`], with a memory limit.
    pub(crate) fn start_within(self, memory: Option<MemoryMonitor>, logs: Logs) -> Sidecar {
        watch_for_panics();
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        define(&at("connections"), &self.connections);
        fs::write(at("ca.pem"), certs::ca_pem()).unwrap();
        fs::write(at("egressd.yaml"), self.settings.to_string()).unwrap();
        let options = options(at("egressd.yaml"));
        let app = start(&options, memory, self.clock, logs);
        let reload = app.reload(options);
        Sidecar {
            addresses: app
                .proxy_addresses()
                .iter()
                .filter_map(tcp_address)
                .collect(),
            management: app
                .management_addresses()
                .iter()
                .filter_map(tcp_address)
                .collect(),
            app: Some(app),
            reload,
            files,
        }
    }
}

fn options(config: PathBuf) -> LoadOptions {
    LoadOptions {
        config: Some(config),
        overrides: SettingsOverrides::default(),
        environment: Environment::default(),
    }
}

fn define(folder: &Path, connections: &[Connection]) {
    fs::create_dir(folder).unwrap();
    for connection in connections {
        let file = folder.join(format!("{}.json", connection.id));
        fs::write(file, connection.definition().to_string()).unwrap();
    }
}

/// Starts the app on threads that are confined like those of the egressd process: they can read its
/// files, connect, and nothing else.
fn start(options: &LoadOptions, memory: Option<MemoryMonitor>, clock: Clock, logs: Logs) -> App {
    let loaded = match load(options) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems:#?}"),
    };
    // `serve` does the same. Here many sidecars share one process, and each reserves descriptors.
    egressd::app::claim_descriptors().unwrap();
    let confined = std::thread::Builder::new().name("world start".to_owned());
    let confined = confined.spawn(move || {
        let resources =
            StartResources::acquire(&loaded.settings).map_err(|error| error.to_string())?;
        let resources = resources.with_memory_monitor(memory).with_clock(clock);
        let needs = AllowedPaths {
            sockets: Vec::new(),
            ..egressd::app::needed_paths(&loaded)
        };
        // Measures that this machine does not support are skipped here; `hardening.rs` tests that
        // they are applied.
        let hardening = Hardening::begin().confine(&needs);
        App::start(resources, loaded, hardening, logs).map_err(|error| error.to_string())
    });
    match confined.unwrap().join().unwrap() {
        Ok(app) => app,
        Err(error) => panic!("{error}"),
    }
}

fn tcp_address(address: &ListenAddress) -> Option<SocketAddr> {
    match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records every panic on a thread that belongs neither to a test nor to the test support: such a
/// panic is one of egressd.
fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            let ours = name.contains("::") || name == "main" || name.starts_with("world");
            if !ours {
                let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                panics.push(format!("{name}: {panic}"));
            }
            usual(panic);
        }));
    });
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            app.stop();
        }
        let panics = PANICS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !std::thread::panicking() {
            assert!(panics.is_empty(), "egressd panicked: {panics:#?}");
        }
    }
}
