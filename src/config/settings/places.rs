//! Reads `connections` and `secrets`: where definitions are, and where they may take secrets from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::layers::{Layers, Read, Section};
use crate::config::field::Field;
use crate::config::problem::Problems;
use crate::config::redaction;
use crate::config::secret_policy::{SecretSettings, SecretValues};

/// The longest accepted name of a variable that holds a secret.
const MAX_NAME: usize = 128;

pub(super) fn connections(top: &mut Section<'_>, read: &Read<'_>) -> Option<Vec<PathBuf>> {
    let directory = read.context.directory;
    let Some(field) = top.leaf("connections") else {
        return Some(vec![directory.join(read.default_connections)]);
    };
    let items = field.list()?;
    let paths = items
        .iter()
        .map(|item| item.text().map(|text| directory.join(text)));
    paths.collect()
}

pub(super) fn secrets(
    mut section: Section<'_>,
    directory: &Path,
    values: SecretValues,
) -> Option<SecretSettings> {
    let allow = section
        .leaf("allow")
        .map(|field| directories(&field, directory, values));
    let allow_env = section.leaf("allow_env").map(|field| variables(&field));
    section.finish();
    Some(SecretSettings {
        allow: allow.map_or(Some(None), |read| read.map(Some))?,
        allow_env: allow_env.map_or(Some(None), |read| read.map(Some))?,
    })
}

/// Reads the same settings for a process without a settings file.
pub(in crate::config) fn from_environment(
    layers: &Layers,
    problems: &Problems,
    values: SecretValues,
) -> Option<SecretSettings> {
    let section = Section {
        name: "secrets",
        object: None,
        layers,
        problems,
    };
    secrets(section, Path::new(""), values)
}

fn directories(field: &Field<'_>, directory: &Path, values: SecretValues) -> Option<Vec<PathBuf>> {
    let items = field.list()?;
    let read = |item: &Field<'_>| {
        let path = directory.join(item.text()?);
        warn_of_directory(item, &path, values);
        Some(path)
    };
    items.iter().map(read).collect()
}

/// Warns about a directory that allows every file, or none.
fn warn_of_directory(item: &Field<'_>, path: &Path, values: SecretValues) {
    let found = fs::canonicalize(path);
    let is_root = |found: &PathBuf| found.parent().is_none();
    let (code, message, remedy) = match found {
        Ok(found) if is_root(&found) => (
            "allows_every_file",
            "allows definitions to read every file that egressd can read".to_owned(),
            "list the directories that hold secrets of connections, and no others",
        ),
        Err(error) if error.kind() == ErrorKind::NotFound && values == SecretValues::Read => (
            "missing_directory",
            format!(
                "the directory {} does not exist",
                redaction::quoted_path(path)
            ),
            "create it, or correct or remove the entry",
        ),
        Ok(_) | Err(_) => return,
    };
    item.push(item.problem(code, message).warning().remedy(remedy));
}

fn variables(field: &Field<'_>) -> Option<Vec<String>> {
    let items = field.list()?;
    let read: Vec<String> = items.iter().filter_map(variable).collect();
    (read.len() == items.len()).then_some(read)
}

/// Parses the name of a variable, or a prefix that ends in `*`.
fn variable(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let name = text.strip_suffix('*').unwrap_or(text);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !text.is_empty() && name.len() <= MAX_NAME && name.bytes().all(legal) {
        return Some(text.to_owned());
    }
    field.report(
        "invalid_variable",
        "is not the name of an environment variable, nor the beginning of one and `*`",
        "write `NAME` or `PREFIX_*`",
    );
    None
}
