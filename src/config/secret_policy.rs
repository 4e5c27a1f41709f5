//! The allowed sources of connections' secrets: `secrets: {allow, allow_env}` of the settings.
//!
//! Anyone who can write a definition chooses which secret of the process goes to which upstream.
//! This policy limits that choice to directories and variables that are meant for connections.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::environment::Environment;
use super::field::join_names;
use super::redaction::shown_path;
use super::settings_spec::is_setting;
use crate::domain::SecretSource;

/// Directories that usually hold secrets: those of containers, and `/etc/egressd`.
const USUAL_DIRECTORIES: [&str; 3] = ["/run/secrets", "/var/run/secrets", "/etc/egressd"];
/// The directory of secrets beside a directory of definitions, seen from there. Printed definitions
/// name files in it (`egressd connectors`).
const SIBLING_DIRECTORY: &str = "../secrets";
/// The maximum number of allowed directories that a remedy names.
const MAX_SHOWN_DIRECTORIES: usize = 6;
/// The variable that names the credential directory of a systemd service (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// `secrets`: the sources of secrets that definitions may name. `None` is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSettings {
    /// Directories whose files may be named, including all files in subdirectories.
    pub allow: Option<Vec<PathBuf>>,
    /// Variables that may be named: whole names, or prefixes that end in `*`.
    pub allow_env: Option<Vec<String>>,
}

/// Decides if the values of secrets are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretValues {
    /// References are followed.
    #[default]
    Read,
    /// No file or variable that holds a secret is read. The placeholder that stands for a value
    /// never leaves the process.
    Skip,
}

/// The rules for which secret sources a definition may name.
#[derive(Debug, Default)]
pub(super) struct SecretPolicy {
    /// Allowed directories, with links resolved. Everything below them is allowed too.
    directories: Vec<PathBuf>,
    /// Allowed variables: names, or prefixes that end in `*`. `None` allows all but egressd's own.
    variables: Option<Vec<String>>,
    /// Variables that the settings take secrets from. No list can allow them.
    own_variables: BTreeSet<String>,
    /// The settings file, the definitions, and the files that the settings take secrets from. No
    /// list can allow them.
    own_files: BTreeSet<Identity>,
    /// The directory of the token store, with links resolved. No list can allow its files: they
    /// hold refresh tokens, which no upstream may receive.
    token_store: Option<PathBuf>,
}

/// Device and inode, which identify a file whatever name it is opened by.
type Identity = (u64, u64);

/// The reason why a definition may not use a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DenialReason {
    /// The settings do not allow the source.
    NotListed,
    /// The settings, other definitions or the token store use it, and no list can allow it.
    Own,
}

/// The values that a policy is built from.
pub(super) struct PolicyInputs<'a> {
    pub(super) secrets: &'a SecretSettings,
    pub(super) environment: &'a Environment,
    /// The settings file, if there is one.
    pub(super) settings: Option<&'a Path>,
    /// The paths of definition files and directories, as the operator listed them.
    pub(super) listed: &'a [PathBuf],
    /// The definition files that were found at these paths.
    pub(super) definitions: &'a [PathBuf],
    /// The sources of the secrets in the settings.
    pub(super) used: &'a [SecretSource],
    /// The directory of the token store, which need not exist.
    pub(super) token_store: Option<&'a Path>,
}

impl SecretPolicy {
    pub(super) fn new(inputs: &PolicyInputs<'_>) -> Self {
        let directories = match &inputs.secrets.allow {
            Some(allowed) => allowed.iter().map(|path| resolve_path(path)).collect(),
            None => default_directories(inputs),
        };
        let mut own_variables = BTreeSet::new();
        let mut own_files: BTreeSet<Identity> = BTreeSet::new();
        own_files.extend(inputs.settings.and_then(file_identity));
        own_files.extend(
            inputs
                .definitions
                .iter()
                .filter_map(|path| file_identity(path)),
        );
        for source in inputs.used {
            match source {
                SecretSource::Inline => {}
                SecretSource::Env(name) => {
                    own_variables.insert(name.clone());
                }
                SecretSource::File(path) => own_files.extend(file_identity(path)),
            }
        }
        Self {
            directories,
            variables: inputs.secrets.allow_env.clone(),
            own_variables,
            own_files,
            token_store: inputs.token_store.map(resolve_path),
        }
    }

    /// Checks if a definition may name this variable.
    pub(super) fn admit_variable(&self, name: &str) -> Result<(), DenialReason> {
        if is_setting(name) || self.own_variables.contains(name) {
            return Err(DenialReason::Own);
        }
        let is_ours = name.starts_with("EGRESSD_");
        let admits = |listed: &String| match listed.strip_suffix('*') {
            // A general prefix such as `*` or `E*` does not include egressd's own variables.
            Some(prefix) => {
                name.starts_with(prefix) && (!is_ours || prefix.starts_with("EGRESSD_"))
            }
            None => listed == name,
        };
        let admitted = match &self.variables {
            Some(listed) => listed.iter().any(admits),
            None => !is_ours,
        };
        admitted.then_some(()).ok_or(DenialReason::NotListed)
    }

    /// Returns the file's real path if a definition may read it. Links are resolved first, so a
    /// link inside an allowed directory (such as Kubernetes' `..data`) cannot point outside it.
    pub(super) fn admit_file(&self, path: &Path) -> Result<PathBuf, DenialReason> {
        let resolved = resolve_path(path);
        // A hard link has another path, but the same device and inode.
        if file_identity(&resolved).is_some_and(|found| self.own_files.contains(&found)) {
            return Err(DenialReason::Own);
        }
        if self.is_in_token_store(&resolved) {
            return Err(DenialReason::Own);
        }
        let mut directories = self.directories.iter();
        let admitted = directories.any(|allowed| resolved.starts_with(allowed));
        admitted.then_some(resolved).ok_or(DenialReason::NotListed)
    }

    fn is_in_token_store(&self, resolved: &Path) -> bool {
        let Some(store) = &self.token_store else {
            return false;
        };
        // A bind mount gives the directory another path, but the same device and inode.
        let identity = file_identity(store);
        let is_store = |at: &Path| identity.is_some() && file_identity(at) == identity;
        resolved.starts_with(store) || resolved.ancestors().any(is_store)
    }

    /// Lists the allowed directories for a remedy. `None` if there are none.
    pub(super) fn describe_directories(&self) -> Option<String> {
        let is_inside_other = |path: &PathBuf| {
            let mut others = self.directories.iter().filter(|other| *other != path);
            others.any(|other| path.starts_with(other))
        };
        // Definitions that are listed one by one have the same parent.
        let mut shown: Vec<String> = Vec::new();
        let outermost = self
            .directories
            .iter()
            .filter(|path| !is_inside_other(path));
        for directory in outermost.map(|path| shown_path(path)) {
            if !shown.contains(&directory) {
                shown.push(directory);
            }
        }
        let names: Vec<&str> = shown.iter().map(String::as_str).collect();
        match names.split_at_checked(MAX_SHOWN_DIRECTORIES) {
            Some((first, more)) if !more.is_empty() => Some(format!(
                "`{}` or {} more directories that `secrets.allow` lists or allows by default",
                first.join("`, `"),
                more.len()
            )),
            Some(_) | None => (!names.is_empty()).then(|| join_names(&names)),
        }
    }
}

fn default_directories(inputs: &PolicyInputs<'_>) -> Vec<PathBuf> {
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let of_definitions = inputs.listed.iter().filter_map(|listed| {
        let is_directory = fs::metadata(listed).is_ok_and(|found| found.is_dir());
        if is_directory {
            Some(listed.clone())
        } else {
            parent(listed)
        }
    });
    let with_sibling = |definitions: PathBuf| {
        let secrets = definitions.join(SIBLING_DIRECTORY);
        [definitions, secrets]
    };
    let credentials = inputs.environment.get(CREDENTIALS_DIRECTORY);
    let credentials = credentials.map(PathBuf::from);
    let usual = USUAL_DIRECTORIES.iter().map(PathBuf::from);
    let all = inputs
        .settings
        .and_then(parent)
        .into_iter()
        .chain(of_definitions.flat_map(with_sibling));
    let all = all
        .chain(usual)
        .chain(credentials.filter(|path| path.is_absolute()));
    // A settings file in `/` must not allow every file of the machine.
    let resolved = all.map(|path| resolve_path(&path));
    resolved.filter(|path| path.parent().is_some()).collect()
}

/// Resolves links, `.` and `..`. The part of a path that does not exist is kept as it is.
pub(super) fn resolve_path(path: &Path) -> PathBuf {
    let here = path.as_os_str().is_empty();
    let path = if here { Path::new(".") } else { path };
    let Ok(absolute) = std::path::absolute(path) else {
        return path.to_owned();
    };
    let mut ancestors = absolute.ancestors();
    let known = ancestors.find_map(|at| Some((at, fs::canonicalize(at).ok()?)));
    let Some((known, mut resolved)) = known else {
        return absolute;
    };
    let rest = absolute.strip_prefix(known).unwrap_or(Path::new(""));
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

fn file_identity(path: &Path) -> Option<Identity> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
