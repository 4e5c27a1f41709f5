//! Reads `connections` and `secrets`: where definitions are, and where they may take secrets from.

use std::path::{Path, PathBuf};

use super::SecretSettings;
use super::layers::{Layers, Section};
use super::read::Read;
use crate::config::problem::Problems;
use crate::config::raw::Field;

/// The longest accepted name of a variable that holds a secret.
const MAX_NAME: usize = 128;

pub(super) fn connections(top: &mut Section<'_>, read: &Read<'_>) -> Option<Vec<PathBuf>> {
    let directory = read.around.directory;
    let Some(field) = top.leaf("connections") else {
        return Some(vec![directory.join(read.default_connections)]);
    };
    let items = field.list()?;
    let paths = items
        .iter()
        .map(|item| item.text().map(|text| directory.join(text)));
    paths.collect()
}

pub(super) fn secrets(mut section: Section<'_>, directory: &Path) -> Option<SecretSettings> {
    let allow = section
        .leaf("allow")
        .map(|field| directories(&field, directory));
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
) -> Option<SecretSettings> {
    let section = Section {
        name: "secrets",
        object: None,
        layers,
        problems,
    };
    secrets(section, Path::new(""))
}

fn directories(field: &Field<'_>, directory: &Path) -> Option<Vec<PathBuf>> {
    let items = field.list()?;
    let path = |item: &Field<'_>| item.text().map(|text| directory.join(text));
    items.iter().map(path).collect()
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
