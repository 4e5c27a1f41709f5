//! Settings → files → all connections, or all problems.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::definition::{Defined, definitions};
use super::document::Origin;
use super::environment::Environment;
use super::files::{origin_of, settings_file, with_settings};
use super::problem::{Problem, Problems, quoted};
use super::raw::{Field, Sink};
use super::secret_ref::Surroundings;
use super::settings::{self, Layers, Settings, SettingsOverrides};
use super::sources::{Files, Sources, is_definition};
use crate::domain::Connection;

/// What to load.
#[derive(Default)]
pub struct LoadOptions {
    /// `--config`; without it `config/egressd.yaml` if that exists, else defaults.
    pub config: Option<PathBuf>,
    /// What flags say.
    pub overrides: SettingsOverrides,
    /// The environment's variables.
    pub environment: Environment,
}

/// A configuration without a mistake.
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The connections, in the order of files and lists. No two have one id.
    pub connections: Vec<Connection>,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
    /// The files that all of it was read from.
    pub sources: Sources,
}

/// The connections of some paths, without settings.
pub struct LoadedPaths {
    /// The connections, in the order of files and lists. No two have one id.
    pub connections: Vec<Connection>,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
    /// The files that all of it was read from.
    pub sources: Sources,
}

/// One try to load, and what it has read, whatever came of it.
pub struct Attempt {
    /// What was loaded, or all problems and warnings if there is one problem.
    pub outcome: Result<Loaded, Vec<Problem>>,
    /// The files that were looked at.
    pub sources: Sources,
}

/// Loads settings and connections. All problems and warnings are returned if there is one problem.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<Problem>> {
    attempt(options).outcome
}

/// As [`load`]; says what was read in any case.
pub fn attempt(options: &LoadOptions) -> Attempt {
    let problems = Problems::default();
    let files = Files::default();
    let file = settings_file(options, &files);
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let around = Surroundings {
        environment: &options.environment,
        directory,
        files: &files,
    };
    let layers = Layers::new(&options.overrides, &options.environment, &problems);
    let (settings, mut paths) = read_settings(file, &layers, &around, &problems);
    if !options.overrides.connections.is_empty() {
        paths.clone_from(&options.overrides.connections);
    }
    let mut walk = Walk::new(&options.environment, &files, &problems);
    walk.paths(&paths);
    settings::unknown_variables(&options.environment, &problems);
    let (connections, definitions) = walk.finish();
    let sources = files.into_sources(file, definitions);
    let failed = problems.has_errors();
    let found = problems.into_sorted();
    let outcome = match settings {
        Some(mut settings) if !failed => {
            settings.connections = paths;
            Ok(Loaded {
                settings,
                connections,
                warnings: found,
                sources: sources.clone(),
            })
        }
        Some(_) | None => Err(found),
    };
    Attempt { outcome, sources }
}

/// Loads the connections of these files and directories alone.
pub fn load_paths(
    paths: &[PathBuf],
    environment: &Environment,
) -> Result<LoadedPaths, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let mut walk = Walk::new(environment, &files, &problems);
    walk.paths(paths);
    let (connections, definitions) = walk.finish();
    let failed = problems.has_errors();
    let found = problems.into_sorted();
    if failed {
        return Err(found);
    }
    Ok(LoadedPaths {
        connections,
        warnings: found,
        sources: files.into_sources(None, definitions),
    })
}

fn read_settings(
    file: Option<&Path>,
    layers: &Layers,
    around: &Surroundings<'_>,
    problems: &Problems,
) -> (Option<Settings>, Vec<PathBuf>) {
    let read = settings::Read {
        layers,
        around,
        problems,
        default_connections: if file.is_some() {
            "connections"
        } else {
            "config/connections"
        },
    };
    let files = read.around.files;
    let settings = with_settings(file, files, problems, |object| {
        settings::settings(object, &read)
    });
    settings.unwrap_or_default()
}

/// The files under way.
pub(super) struct Walk<'a> {
    environment: &'a Environment,
    files: &'a Files,
    problems: &'a Problems,
    definitions: Vec<PathBuf>,
    /// Where each id was defined first.
    ids: HashMap<String, String>,
    connections: Vec<Connection>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        environment: &'a Environment,
        files: &'a Files,
        problems: &'a Problems,
    ) -> Self {
        Self {
            environment,
            files,
            problems,
            definitions: Vec::new(),
            ids: HashMap::new(),
            connections: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Connection>, Vec<PathBuf>) {
        (self.connections, self.definitions)
    }

    fn paths(&mut self, paths: &[PathBuf]) {
        for path in paths {
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => self.directory(path),
                Ok(_) if is_definition(path) => self.file(path),
                Ok(_) => {
                    self.files.other(path);
                    self.refuse(
                        path,
                        "the name does not end in `.json`, `.yaml` or `.yml`",
                        "rename the file",
                    );
                }
                Err(error) => {
                    self.files.missing(path, &error);
                    let message = format!("cannot be read: {}", error.kind());
                    self.refuse(path, &message, "name an existing file or directory");
                }
            }
        }
        if self.ids.is_empty() && !self.problems.has_errors() {
            let listed: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let problem = Problem::whole(
                listed.join(", "),
                "no_connections",
                "no connection is defined".to_owned(),
            );
            let remedy = "put a definition (`*.json`, `*.yaml`, `*.yml`) there";
            self.problems.push(problem.warning().remedy(remedy));
        }
    }

    fn refuse(&self, path: &Path, message: &str, remedy: &str) {
        let problem = Problem::whole(
            path.display().to_string(),
            "file_unreadable",
            message.to_owned(),
        );
        self.problems.push(problem.remedy(remedy));
    }

    fn directory(&mut self, path: &Path) {
        match self.files.list(path) {
            Ok(files) => files.iter().for_each(|file| self.file(file)),
            Err(error) => {
                let message = format!("cannot be read: {}", error.kind());
                self.refuse(path, &message, "make the directory readable");
            }
        }
    }

    fn file(&mut self, path: &Path) {
        if self.definitions.iter().any(|seen| seen == path) {
            return;
        }
        self.definitions.push(path.to_owned());
        if let Some(origin) = origin_of(path, self.files, self.problems) {
            self.read(path, &origin);
        }
    }

    /// Reads what stands in a file, or what stands in memory as if it were one.
    pub(super) fn read(&mut self, path: &Path, origin: &Origin) {
        let before = self.problems.count();
        let Some(node) = origin.parse(self.problems) else {
            if self.problems.count() == before {
                self.refuse(
                    path,
                    "the file holds nothing",
                    "write a definition, or remove the file",
                );
            }
            return;
        };
        let sink = Sink {
            origin,
            problems: self.problems,
            texts: false,
        };
        let around = Surroundings {
            environment: self.environment,
            directory: path.parent().unwrap_or(Path::new("")),
            files: self.files,
        };
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        for defined in definitions(&Field::root(&node, sink), stem, &around) {
            self.add(defined);
        }
    }

    fn add(&mut self, defined: Defined) {
        let Defined {
            id,
            mut id_place,
            connection,
        } = defined;
        if let Some(id) = id {
            let place = match id_place.line {
                Some(line) => format!("{}:{line}", id_place.file),
                None => id_place.file.clone(),
            };
            if let Some(first) = self.ids.get(id.as_str()) {
                id_place.message = format!("{} is defined already in {first}", quoted(id.as_str()));
                self.problems
                    .push(id_place.remedy("give one of the two another id"));
                return;
            }
            self.ids.insert(id.as_str().to_owned(), place);
        }
        self.connections.extend(connection);
    }
}
