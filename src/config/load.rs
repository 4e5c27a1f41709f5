//! Settings → files → all connections, or all problems.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::definition::{Defined, definitions};
use super::document::Origin;
use super::environment::Environment;
use super::field::{Field, Sink};
use super::files::{origin_of, settings_file, with_settings};
use super::problem::{Problem, Problems};
use super::redaction::{self, quoted};
use super::secret_policy::{self, SecretPolicy, SecretValues};
use super::secret_ref::ResolveContext;
use super::settings::{self, Layers, ReadSettings, Settings, SettingsOverrides};
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
    let file = settings_file(options.config.as_deref(), &files);
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let LoadOptions {
        environment,
        overrides,
        ..
    } = options;
    let context = ResolveContext::for_settings(environment, directory, &files, overrides.secrets);
    let layers = Layers::new(overrides, environment, &problems);
    let ReadSettings {
        settings,
        secrets,
        connections: mut paths,
    } = read_settings(file, &layers, &context, &problems);
    if !overrides.connections.is_empty() {
        paths.clone_from(&overrides.connections);
    }
    let found = find(&paths, &files, &problems);
    let policy = SecretPolicy::new(&secret_policy::Inputs {
        secrets: &secrets,
        environment,
        settings: file,
        listed: &paths,
        definitions: &found,
        used: &context.used(),
    });
    let mut walk = Walk::new(&context, &policy, &problems);
    walk.files(found, &paths);
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

/// Loads the connections of these files and directories alone. Of the settings only `secrets` is
/// used, and only if it comes from the environment.
pub fn load_paths(
    paths: &[PathBuf],
    environment: &Environment,
) -> Result<LoadedPaths, Vec<Problem>> {
    load_paths_with(paths, environment, SecretValues::Read)
}

/// Loads as [`load_paths`] does; `values` decides if the values of secrets are read.
pub fn load_paths_with(
    paths: &[PathBuf],
    environment: &Environment,
    values: SecretValues,
) -> Result<LoadedPaths, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let context = ResolveContext::for_settings(environment, Path::new(""), &files, values);
    let layers = Layers::new(&SettingsOverrides::default(), environment, &problems);
    let secrets = settings::secrets(&layers, &problems, values);
    let found = find(paths, &files, &problems);
    let policy = SecretPolicy::new(&secret_policy::Inputs {
        secrets: &secrets.unwrap_or_default(),
        environment,
        settings: None,
        listed: paths,
        definitions: &found,
        used: &[],
    });
    let mut walk = Walk::new(&context, &policy, &problems);
    walk.files(found, paths);
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
    context: &ResolveContext<'_>,
    problems: &Problems,
) -> ReadSettings {
    let read = settings::Read {
        layers,
        context,
        problems,
        default_connections: if file.is_some() {
            "connections"
        } else {
            "config/connections"
        },
    };
    let files = read.context.files;
    let settings = with_settings(file, files, problems, |object| {
        settings::settings(object, &read)
    });
    settings.unwrap_or_default()
}

/// The files with definitions at these paths, each once.
fn find(paths: &[PathBuf], files: &Files, problems: &Problems) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut add = |path: PathBuf| {
        if !found.contains(&path) {
            found.push(path);
        }
    };
    for path in paths {
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => match files.list(path) {
                Ok(listed) => listed.into_iter().for_each(&mut add),
                Err(error) => {
                    let message = format!("cannot be read: {}", error.kind());
                    refuse(path, &message, "make the directory readable", problems);
                }
            },
            Ok(_) if is_definition(path) => add(path.clone()),
            Ok(_) => {
                files.other(path);
                let message = "the name does not end in `.json`, `.yaml` or `.yml`";
                refuse(path, message, "rename the file", problems);
            }
            Err(error) => {
                files.missing(path, &error);
                let message = format!("cannot be read: {}", error.kind());
                let remedy = "name an existing file or directory";
                refuse(path, &message, remedy, problems);
            }
        }
    }
    found
}

fn refuse(path: &Path, message: &str, remedy: &str, problems: &Problems) {
    let label = redaction::shown_path(path);
    let problem = Problem::whole(label, "file_unreadable", message.to_owned());
    problems.push(problem.remedy(remedy));
}

/// The files under way.
pub(super) struct Walk<'a> {
    context: &'a ResolveContext<'a>,
    policy: &'a SecretPolicy,
    problems: &'a Problems,
    definitions: Vec<PathBuf>,
    /// Where each id was defined first.
    ids: HashMap<String, String>,
    connections: Vec<Connection>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        context: &'a ResolveContext<'a>,
        policy: &'a SecretPolicy,
        problems: &'a Problems,
    ) -> Self {
        Self {
            context,
            policy,
            problems,
            definitions: Vec::new(),
            ids: HashMap::new(),
            connections: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Connection>, Vec<PathBuf>) {
        (self.connections, self.definitions)
    }

    /// Reads the files that were found at the listed paths.
    fn files(&mut self, found: Vec<PathBuf>, listed: &[PathBuf]) {
        for path in &found {
            if let Some(origin) = origin_of(path, self.context.files, self.problems) {
                self.read(path, &origin);
            }
        }
        self.definitions = found;
        if self.ids.is_empty() && !self.problems.has_errors() {
            let problem = Problem::whole(
                redaction::shown_paths(listed),
                "no_connections",
                "no connection is defined".to_owned(),
            );
            let remedy = "put a definition (`*.json`, `*.yaml`, `*.yml`) there";
            self.problems.push(problem.warning().remedy(remedy));
        }
    }

    /// Reads what stands in a file, or what stands in memory as if it were one.
    pub(super) fn read(&mut self, path: &Path, origin: &Origin) {
        let before = self.problems.count();
        let Some(node) = origin.parse(self.problems) else {
            if self.problems.count() == before {
                let remedy = "write a definition, or remove the file";
                refuse(path, "the file holds nothing", remedy, self.problems);
            }
            return;
        };
        let sink = Sink {
            origin,
            problems: self.problems,
            texts: false,
        };
        let directory = path.parent().unwrap_or(Path::new(""));
        let context = self.context.for_definition(directory, self.policy);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        for defined in definitions(&Field::root(&node, sink), stem, &context) {
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
