//! The catalogue of connectors: data files with the public facts of APIs. Some are built in, and
//! the setting `connectors` names directories with others.
//!
//! A definition that refers to a connector takes from it what it lacks: the base URL, headers, and
//! the endpoints and quirks of an OAuth provider. Routes and scopes are only printed, by
//! `egressd connectors`, so that a new version of a connector cannot widen a permission.

mod built_in;
mod credential_fields;
mod file;
mod print;
mod read;
mod values;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::document::Origin;
use super::field::{Field, join_names};
use super::file_reading::{describe_error, error_remedy};
use super::files::{open_origin, report_unreadable};
use super::problem::{Problem, Problems, nearest};
use super::redaction::{may_show, quoted};
use super::sources::Files;
use crate::domain::connector::Connector;
pub(super) use file::ConnectorFile;
pub use print::{ConnectorTemplate, UnusableValues};

/// All connectors: those of the directories, and the built-in ones.
#[derive(Default)]
pub(super) struct Catalogue {
    /// The connectors of the directories.
    own: Vec<ConnectorFile>,
    /// The slugs, or else the names, of files with problems, which are reported.
    unusable: Vec<String>,
}

/// The built-in connectors, in the order of their slugs. A test loads each of them.
static BUILT_IN: LazyLock<Vec<ConnectorFile>> = LazyLock::new(|| {
    let problems = Problems::default();
    let files = built_in::FILES.iter().filter_map(|(slug, text)| {
        let label = format!("connectors/{slug}.yaml (built in)");
        let origin = Origin::from_bytes(label, text.as_bytes().to_vec(), &problems)?;
        read::read_connector(origin, &problems).ok()
    });
    files.collect()
});

impl Catalogue {
    /// Reads the files in these directories. Reports each connector that replaces a built-in one.
    pub(super) fn read(directories: &[PathBuf], files: &Files, problems: &Problems) -> Self {
        let mut catalogue = Self::default();
        for directory in directories {
            match files.list_definitions(directory) {
                Ok(paths) => {
                    for path in paths {
                        if let Some(origin) = open_origin(&path, files, problems) {
                            catalogue.add(origin, &path, problems);
                        }
                    }
                }
                Err(error) => {
                    let message = describe_error(&error);
                    report_unreadable(directory, &message, error_remedy(&error), problems);
                }
            }
        }
        catalogue
    }

    fn add(&mut self, origin: Origin, path: &Path, problems: &Problems) {
        let label = origin.label.clone();
        let file = match read::read_connector(origin, problems) {
            Ok(file) => file,
            Err(slug) => {
                problems.explain_failure(&label);
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                self.unusable.extend(slug.or(stem.map(str::to_owned)));
                return;
            }
        };
        let slug = file.connector().slug.clone();
        let problem = |code, message| Problem::whole(label, code, message).field("slug");
        if self.find_own(slug.as_str()).is_some() {
            let message = format!("the connector `{slug}` is defined twice in the directories");
            let problem = problem("duplicate_connector", message);
            problems.push(problem.remedy("remove one of the two files, or give it another slug"));
            return;
        }
        if find_built_in(slug.as_str()).is_some() {
            let message = format!("the connector `{slug}` replaces the built-in one");
            let remedy = "no change is needed if this is intended; otherwise give it another slug";
            let problem = problem("connector_replaced", message).warning();
            problems.push(problem.remedy(remedy));
        }
        self.own.push(file);
    }

    fn find_own(&self, slug: &str) -> Option<&ConnectorFile> {
        let mut own = self.own.iter();
        own.find(|file| file.connector().slug.as_str() == slug)
    }

    fn find(&self, slug: &str) -> Option<&ConnectorFile> {
        self.find_own(slug).or_else(|| find_built_in(slug))
    }

    /// Returns all connectors, in the order of their slugs.
    fn files(&self) -> Vec<&ConnectorFile> {
        let built_in = BUILT_IN.iter();
        let built_in =
            built_in.filter(|file| self.find_own(file.connector().slug.as_str()).is_none());
        let mut all: Vec<_> = self.own.iter().chain(built_in).collect();
        all.sort_by(|a, b| a.connector().slug.cmp(&b.connector().slug));
        all
    }

    /// Returns the facts of all connectors, in the order of their slugs.
    pub(super) fn connectors(&self) -> Vec<Arc<Connector>> {
        let files = self.files().into_iter();
        files.map(|file| Arc::clone(file.connector())).collect()
    }

    /// Returns the parts of all connectors that are printed, in the order of their slugs.
    pub(super) fn templates(&self) -> Vec<ConnectorTemplate> {
        let files = self.files().into_iter();
        files.map(|file| file.template().clone()).collect()
    }

    /// Finds the connector that a definition names. Reports an unknown one.
    pub(super) fn find_named(&self, field: &Field<'_>) -> Option<&ConnectorFile> {
        let slug = field.read_text()?;
        if let Some(file) = self.find(slug) {
            return Some(file);
        }
        if self.unusable.iter().any(|unusable| unusable == slug) {
            return None;
        }
        let files = self.files();
        let slugs: Vec<&str> = files
            .iter()
            .map(|file| file.connector().slug.as_str())
            .collect();
        let mut message = match may_show(slug) {
            true => format!("unknown connector {}", quoted(slug)),
            false => "unknown connector".to_owned(),
        };
        if let Some(near) = nearest(slug, slugs.iter().copied()) {
            message = format!("{message}; did you mean `{near}`?");
        }
        let remedy = format!(
            "write {}, or add the directory of another one to `connectors` of the settings",
            join_names(&slugs)
        );
        field.reject("unknown_connector", message, remedy)
    }
}

fn find_built_in(slug: &str) -> Option<&'static ConnectorFile> {
    let mut files = BUILT_IN.iter();
    files.find(|file| file.connector().slug.as_str() == slug)
}

#[cfg(test)]
mod tests;
