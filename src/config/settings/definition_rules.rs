//! The settings that definitions are checked against.

use std::path::{Path, PathBuf};

use super::reader::SettingsReader;
use super::values::{read_ceilings, read_directories, read_directory, read_secrets};
use crate::config::field::Field;
use crate::config::object::Object;
use crate::config::secret_policy::SecretSettings;
use crate::config::settings_spec::SETTINGS;
use crate::domain::Ceilings;

/// The settings that definitions are checked against. A field with a problem is `None`.
#[derive(Clone, Default)]
pub(in crate::config) struct DefinitionRules {
    pub(super) secrets: Option<SecretSettings>,
    pub(super) ceilings: Option<Ceilings>,
    pub(super) token_store: Option<PathBuf>,
    /// The directories that the settings name, and those that are read.
    pub(super) connectors: Option<Connectors>,
}

/// The directories of connectors.
#[derive(Clone)]
pub(super) struct Connectors {
    /// The value of the setting.
    pub(super) named: Vec<PathBuf>,
    /// The directories that are read: those at the start of the process.
    used: Vec<PathBuf>,
}

impl DefinitionRules {
    /// Returns whether a field has a problem.
    pub(in crate::config) fn has_problem(&self) -> bool {
        self.secrets.is_none()
            || self.ceilings.is_none()
            || self.token_store.is_none()
            || self.connectors.is_none()
    }

    /// Returns the sources that definitions may take secrets from.
    pub(in crate::config) fn secrets(&self) -> SecretSettings {
        self.secrets.clone().unwrap_or_default()
    }

    /// Returns the directory of the token store, unless the setting has a problem.
    pub(in crate::config) fn token_store(&self) -> Option<&Path> {
        self.token_store.as_deref()
    }

    /// Returns the directories of connectors that are read.
    pub(in crate::config) fn connectors(&self) -> Vec<PathBuf> {
        let connectors = self.connectors.as_ref();
        connectors.map_or_else(Vec::new, |connectors| connectors.used.clone())
    }

    /// Returns the largest limits that definitions may set. If they have a problem, these are the
    /// highest ones, so that the problem causes no others.
    pub(in crate::config) fn ceilings(&self) -> Ceilings {
        self.ceilings.unwrap_or(Ceilings::MAX)
    }
}

/// Reads only the settings that definitions are checked against, from environment and flags.
pub(in crate::config) fn read_definition_rules(read: &SettingsReader<'_>) -> DefinitionRules {
    read_rules(&read.with_layers(None), read)
}

/// Reads the settings that definitions are checked against.
pub(super) fn read_rules(top: &Object<'_>, read: &SettingsReader<'_>) -> DefinitionRules {
    let secrets = top.read_section("secrets");
    let limits = top.read_section("limits");
    let connectors = read_directories(top, read.context.directory, "connectors");
    let token_store = top.read_section("token_store");
    DefinitionRules {
        token_store: token_store.and_then(|section| {
            section.read_optional("directory", read.default_path("tokens"), |field| {
                read_directory(field, read.context.directory)
            })
        }),
        connectors: connectors.map(|named| Connectors {
            used: read.connectors.unwrap_or(&named).to_vec(),
            named,
        }),
        secrets: secrets.and_then(|section| read_secrets(&section, read.context)),
        ceilings: limits.and_then(|section| read_ceilings(&section)),
    }
}

/// Reads only the directories of connectors.
pub(in crate::config) fn read_connector_directories<'a>(
    file: Option<Field<'a>>,
    read: &SettingsReader<'a>,
) -> Option<Vec<PathBuf>> {
    let file = file.and_then(|file| file.read_unchecked_object(&SETTINGS));
    let top = read.with_layers(file);
    read_directories(&top, read.context.directory, "connectors")
}
