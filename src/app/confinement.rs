//! The hardening mode, and the files that a confined process must still reach.
//!
//! The token store is writable only if a definition at the start needs it and its directory exists.
//! What appears later needs a restart, because rights cannot be added to a confined process.

use std::error::Error;
use std::path::Path;

use crate::config::{ListenAddress, Loaded};
use crate::domain::{Auth, Connection};
use crate::hardening::{AllowedPaths, Hardening};
use crate::telemetry::{Event, ProblemLog};
use crate::token_store::{DirectoryState, TokenStore};

/// The degree of hardening that the operator demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HardeningMode {
    /// The process is not hardened.
    Off,
    /// The process takes every measure that the kernel supports.
    #[default]
    BestEffort,
    /// The process takes every measure, or does not start.
    Required,
}

impl HardeningMode {
    /// Takes the measures that need no configuration. Call it before any file is read, so that no
    /// secret is ever in a process that can be dumped or traced.
    pub fn begin(self) -> Hardening {
        match self {
            Self::Off => Hardening::off(),
            Self::BestEffort | Self::Required => Hardening::begin(),
        }
    }

    /// Confines the process to what the loaded configuration needs. Threads that start later
    /// inherit the confinement.
    pub(super) fn confine(self, hardening: Hardening, loaded: &Loaded) -> Hardening {
        match self {
            Self::Off => hardening,
            Self::BestEffort | Self::Required => hardening.confine_process(&needed_paths(loaded)),
        }
    }

    /// Logs the state of each measure. Fails if the mode requires measures that could not be taken.
    pub(super) fn report(
        self,
        hardening: &Hardening,
        problems: &ProblemLog,
    ) -> Result<(), Box<dyn Error>> {
        let measures = hardening
            .states()
            .map(|(measure, state)| (measure.as_str(), state.to_string().into()));
        problems.report(Event::Hardened {
            succeeded: hardening.is_complete() || self == Self::Off,
            measures: measures.collect(),
        });
        if self == Self::Required && !hardening.is_complete() {
            let failed = hardening.states().filter(|(_, state)| !state.is_held());
            let failed = failed.map(|(measure, state)| format!("{} {state}", measure.as_str()));
            let why = format!(
                "`--hardening required` was set, but these measures could not be applied: {}; `--hardening best-effort` starts without them",
                failed.collect::<Vec<_>>().join(", ")
            );
            return Err(why.into());
        }
        Ok(())
    }
}

/// Returns the paths that a reload must read again, the token store, and the socket files that the
/// process removes at its end.
pub fn needed_paths(loaded: &Loaded) -> AllowedPaths {
    let agents = loaded.settings.proxy.addresses();
    let listen = agents.chain(&loaded.settings.management.listen);
    let sockets = listen.filter_map(|listen| match listen {
        ListenAddress::Unix(path) => Some(path.clone()),
        ListenAddress::Tcp(_) => None,
    });
    // These directories may get new secrets while the process runs.
    let secrets = loaded.settings.secrets.allow.iter().flatten().cloned();
    let mut paths = AllowedPaths {
        readable: loaded
            .sources
            // Directories, because an update replaces a file by another one, to which a rule for
            // the old file does not apply.
            .readable_directories()
            .into_iter()
            .chain(secrets)
            .collect(),
        sockets: sockets.collect(),
        writable: Vec::new(),
    };
    let is_consent = |connection: &Connection| matches!(connection.auth, Auth::OauthUserConsent(_));
    if loaded.connections.iter().any(is_consent) {
        add_token_store(&loaded.settings.token_store, &mut paths);
    }
    paths
}

fn add_token_store(directory: &Path, paths: &mut AllowedPaths) {
    let directory = directory.to_owned();
    match TokenStore::new(directory.clone()).directory_state() {
        DirectoryState::Writable { .. } => paths.writable.push(directory),
        // A platform may mount tokens that it replaces itself.
        DirectoryState::ReadOnly => paths.readable.push(directory),
        // `reload` reports a directory that appears later.
        DirectoryState::Missing | DirectoryState::Unusable(_) => {}
    }
}
