//! Reads the definitions of all files, each id once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::connectors::Catalogue;
use super::consents::{FoundConsent, GRANT_DIFFERS};
use super::definition::{Definition, DefinitionContext, read_definitions};
use super::document::Origin;
use super::field::{Field, Input};
use super::files::{open_origin, report_unreadable};
use super::problem::{Problem, Problems};
use super::redaction::{self, quoted};
use super::secret_policy::SecretPolicy;
use super::secret_ref::ResolveContext;
use crate::domain::Connection;

/// The content of a definition file that exists only in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The name that the file would have, such as `notes.yaml`. Its stem is the id, and problems
    /// are reported under it.
    pub name: String,
    /// The content.
    pub text: String,
}

/// The definitions that were read so far.
pub(super) struct DefinitionReader<'a> {
    context: &'a ResolveContext<'a>,
    policy: &'a SecretPolicy,
    catalogue: &'a Catalogue,
    problems: &'a Problems,
    /// The place of the first definition of each id.
    ids: HashMap<String, String>,
    pub(super) connections: Vec<Connection>,
    /// The connections that need the consent of a person.
    pub(super) consents: Vec<FoundConsent>,
}

impl<'a> DefinitionReader<'a> {
    pub(super) fn new(
        context: &'a ResolveContext<'a>,
        policy: &'a SecretPolicy,
        catalogue: &'a Catalogue,
        problems: &'a Problems,
    ) -> Self {
        Self {
            context,
            policy,
            catalogue,
            problems,
            ids: HashMap::new(),
            connections: Vec::new(),
            consents: Vec::new(),
        }
    }

    /// Reads the files that were found at the listed paths.
    pub(super) fn read_files(&mut self, found: &[PathBuf], listed: &[PathBuf]) {
        for path in found {
            if let Some(origin) = open_origin(path, self.context.files, self.problems) {
                self.read_file(path, &origin);
            }
        }
        if self.ids.is_empty() && !self.problems.has_errors() {
            let problem = Problem::whole(
                redaction::shown_paths(listed),
                "no_connections",
                "no connection is defined".to_owned(),
            );
            let remedy = "add a connection file (`*.json`, `*.yaml`, `*.yml`) there";
            self.problems.push(problem.warning().remedy(remedy));
        }
    }

    pub(super) fn read_texts(&mut self, texts: Vec<Text>) {
        for Text { name, text } in texts {
            let bytes = text.into_bytes();
            if let Some(origin) = Origin::from_bytes(name.clone(), bytes, self.problems) {
                self.read_file(Path::new(&name), &origin);
            }
        }
    }

    /// Reads the definitions in a file or in a text.
    fn read_file(&mut self, path: &Path, origin: &Origin) {
        let before = self.problems.count();
        // `parse` also returns `None` for an empty file, which it does not report.
        let Some(node) = origin.parse(self.problems) else {
            if self.problems.count() == before {
                let remedy = "write a definition, or remove the file";
                report_unreadable(path, "the file is empty", remedy, self.problems);
            }
            return;
        };
        let input = Input {
            origin,
            problems: self.problems,
            texts: false,
        };
        let directory = path.parent().unwrap_or(Path::new(""));
        let context = DefinitionContext {
            resolve: &self.context.for_definition(directory, self.policy),
            catalogue: self.catalogue,
        };
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        for defined in read_definitions(&Field::root(&node, input), stem, &context) {
            if defined.connection.is_none() {
                self.problems.explain_failure(&origin.label);
            }
            self.add_definition(defined);
        }
    }

    /// Removes the problems after the first `before` ones that are not about this connection. A
    /// problem without a connection stays if this connection was not found: it may be in that file.
    pub(super) fn drop_foreign_problems(&self, before: usize, id: &str) {
        let is_found = self.ids.contains_key(id);
        let grant = self.consents.iter().find(|found| found.is_of(id));
        let shares_grant = |other: &str| {
            let mut consents = self.consents.iter();
            grant.is_some_and(|own| consents.any(|found| found.is_of(other) && found.shares(own)))
        };
        self.problems
            .retain_from(before, |problem| match &problem.connection {
                Some(connection) if connection.as_str() == id => true,
                Some(connection) => {
                    problem.code == GRANT_DIFFERS && shares_grant(connection.as_str())
                }
                None => !is_found,
            });
    }

    fn add_definition(&mut self, defined: Definition) {
        let Definition {
            id,
            mut id_place,
            consent_place,
            connection,
        } = defined;
        if let Some(id) = id {
            let place = match id_place.line {
                Some(line) => format!("{}:{line}", id_place.file),
                None => id_place.file.clone(),
            };
            if let Some(first) = self.ids.get(id.as_str()) {
                id_place.message = format!("{} is already defined in {first}", quoted(id.as_str()));
                id_place.connection = Some(id);
                self.problems
                    .push(id_place.remedy("give one of the two connections another id"));
                return;
            }
            self.ids.insert(id.as_str().to_owned(), place);
        }
        self.consents.extend(
            connection
                .as_ref()
                .zip(consent_place)
                .and_then(|(connection, place)| FoundConsent::new(connection, place)),
        );
        self.connections.extend(connection);
    }
}
