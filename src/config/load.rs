//! Loads the settings, finds the files that they list, and reads all connections, or returns all
//! problems.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::definition::{Definition, read_definitions};
use super::document::Origin;
use super::environment::Environment;
use super::field::{Field, Input};
use super::files::{
    ListedPaths, find_definition_files, open_origin, report_unreadable, settings_file,
    with_settings,
};
use super::layers::{Layers, SettingsOverrides, report_unknown_variables};
use super::problem::{Problem, Problems, Severity};
use super::redaction::{self, quoted};
use super::secret_policy::{PolicyInputs, SecretPolicy, SecretSettings, SecretValues};
use super::secret_ref::ResolveContext;
use super::settings::{self, ReadSettings, Settings};
use super::sources::{Files, SourceFiles};
use crate::domain::Connection;

/// The place of a problem that may be in any layer of the settings.
const SETTINGS: &str = "settings";

/// The inputs of a load.
#[derive(Default)]
pub struct LoadOptions {
    /// `--config`. Without it, `config/egressd.yaml` is read if it exists; otherwise defaults
    /// apply.
    pub config: Option<PathBuf>,
    /// The values of flags.
    pub overrides: SettingsOverrides,
    /// The environment's variables.
    pub environment: Environment,
}

/// A configuration without errors.
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The connections, in the order of files and lists. Each id occurs once.
    pub connections: Vec<Connection>,
    /// Findings that do not prevent the load.
    pub warnings: Vec<Problem>,
    /// The files that the load depends on.
    pub sources: SourceFiles,
}

/// The connections that were loaded from paths, without settings.
pub struct LoadedPaths {
    /// The connections, in the order of files and lists. Each id occurs once.
    pub connections: Vec<Connection>,
    /// Findings that do not prevent the load.
    pub warnings: Vec<Problem>,
    /// The files that the load depends on.
    pub sources: SourceFiles,
}

/// An attempt to load, with the files that were read even if it failed.
pub struct LoadAttempt {
    /// The configuration, or all errors and warnings if there is one error.
    pub outcome: Result<Loaded, Vec<Problem>>,
    /// The files that were examined.
    pub sources: SourceFiles,
}

/// The content of a definition file that exists only in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The name that the file would have, such as `notes.yaml`. Its stem is the id, and problems
    /// are reported under it.
    pub name: String,
    /// The content.
    pub text: String,
}

/// The definitions to load.
enum Definitions {
    /// The files and directories at these paths.
    Listed(ListedPaths),
    /// Texts that are in memory.
    Texts(Vec<Text>),
}

/// The inputs of a load besides flags and environment.
struct LoadInput<'o> {
    /// The settings file, if there is one.
    settings: Option<&'o Path>,
    /// The definitions, if they are in memory.
    texts: Option<Vec<Text>>,
    /// The severity of the problem that a listener names a connection without a definition.
    unknown_connection: Severity,
}

/// Loads settings and connections. If there is one error, returns all errors and warnings.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<Problem>> {
    load_files(options, Severity::Error).outcome
}

/// Loads as [`load`] does, for a process that runs. Returns the files that were read even if there
/// are problems. A listener may name a connection that was removed: it then answers 404.
pub fn attempt_reload(options: &LoadOptions) -> LoadAttempt {
    load_files(options, Severity::Warning)
}

fn load_files(options: &LoadOptions, unknown_connection: Severity) -> LoadAttempt {
    let files = Files::default();
    let input = LoadInput {
        settings: settings_file(options.config.as_deref(), &files),
        texts: None,
        unknown_connection,
    };
    load_from(input, files, &options.overrides, &options.environment)
}

/// Loads these definitions, for an API that egressd itself serves. Flags and environment set the
/// settings over the defaults; no settings file is read.
pub fn load_texts(
    texts: Vec<Text>,
    overrides: &SettingsOverrides,
    environment: &Environment,
) -> Result<Loaded, Vec<Problem>> {
    let input = LoadInput {
        settings: None,
        texts: Some(texts),
        unknown_connection: Severity::Error,
    };
    load_from(input, Files::default(), overrides, environment).outcome
}

fn load_from(
    input: LoadInput<'_>,
    files: Files,
    overrides: &SettingsOverrides,
    environment: &Environment,
) -> LoadAttempt {
    let problems = Problems::default();
    let file = input.settings;
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let mut context =
        ResolveContext::for_settings(environment, directory, &files, overrides.secrets);
    let layers = Layers::new(overrides, environment, &problems);
    let read = settings::SettingsReader {
        layers: &layers,
        context: &context,
        default_connections: if file.is_some() {
            "connections"
        } else {
            "config/connections"
        },
        can_be_set: input.texts.is_none(),
    };
    let read = with_settings(file, &files, &problems, |root| {
        settings::read_settings(root, &read)
    });
    let ReadSettings {
        settings,
        rules,
        connections: listed,
        connections_are_default,
        named,
    } = read.unwrap_or_default();
    // Definitions are read even if the settings have errors, so that one run reports all of them.
    let definitions = match input.texts {
        Some(texts) => Definitions::Texts(texts),
        None if overrides.connections.is_empty() => Definitions::Listed(ListedPaths {
            paths: listed,
            are_default: connections_are_default,
        }),
        None => Definitions::Listed(ListedPaths::named(&overrides.connections)),
    };
    context.ceilings = rules.ceilings();
    let before = problems.error_count();
    let read = read_connections(definitions, file, &rules.secrets(), &context, &problems);
    // If a definition has an error, its id may be unknown.
    if problems.error_count() == before {
        named.report_unusable(&read.connections, input.unknown_connection, &problems);
    }
    // Last, because reading the definitions looks variables up too.
    report_unknown_variables(environment, &problems);
    let sources = files.into_sources(file, read.files);
    if settings.is_none() {
        problems.explain_failure(SETTINGS);
    }
    let failed = problems.has_errors();
    let problems = problems.into_sorted();
    let outcome = match settings {
        Some(settings) if !failed => Ok(Loaded {
            settings: Settings {
                connections: read.listed,
                ..settings
            },
            connections: read.connections,
            warnings: problems,
            sources: sources.clone(),
        }),
        Some(_) | None => Err(problems),
    };
    LoadAttempt { outcome, sources }
}

/// Loads the connections of these files and directories alone. The only settings that are used are
/// `secrets` and `limits`, if they come from the environment. `values` decides if the values of
/// secrets are read.
pub fn load_paths(
    paths: &[PathBuf],
    environment: &Environment,
    values: SecretValues,
) -> Result<LoadedPaths, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let mut context = ResolveContext::for_settings(environment, Path::new(""), &files, values);
    let layers = Layers::new(&SettingsOverrides::default(), environment, &problems);
    let rules = settings::read_definition_rules(&settings::SettingsReader {
        layers: &layers,
        context: &context,
        default_connections: "",
        can_be_set: true,
    });
    let definitions = Definitions::Listed(ListedPaths::named(paths));
    if rules.has_problem() {
        problems.explain_failure(SETTINGS);
    }
    context.ceilings = rules.ceilings();
    let read = read_connections(definitions, None, &rules.secrets(), &context, &problems);
    let failed = problems.has_errors();
    let problems = problems.into_sorted();
    if failed {
        return Err(problems);
    }
    Ok(LoadedPaths {
        connections: read.connections,
        warnings: problems,
        sources: files.into_sources(None, read.files),
    })
}

/// The connections of a load, and where they were read from.
struct ReadConnections {
    connections: Vec<Connection>,
    /// The paths of definition files and directories, as the operator listed them.
    listed: Vec<PathBuf>,
    /// The definition files that were found at these paths.
    files: Vec<PathBuf>,
}

/// Reads the definitions. `secrets` of the settings limits the secrets that they may name.
fn read_connections(
    definitions: Definitions,
    settings: Option<&Path>,
    secrets: &SecretSettings,
    context: &ResolveContext<'_>,
    problems: &Problems,
) -> ReadConnections {
    let (listed, texts) = match definitions {
        Definitions::Listed(listed) => (listed, None),
        Definitions::Texts(texts) => (ListedPaths::default(), Some(texts)),
    };
    let files = find_definition_files(&listed, settings, context.files, problems);
    let listed = listed.paths;
    let policy = SecretPolicy::new(&PolicyInputs {
        secrets,
        environment: context.environment,
        settings,
        listed: &listed,
        definitions: &files,
        used: &context.used_sources(),
    });
    let mut reader = DefinitionReader::new(context, &policy, problems);
    match texts {
        Some(texts) => reader.read_texts(texts),
        None => reader.read_files(&files, &listed),
    }
    ReadConnections {
        connections: reader.connections,
        listed,
        files,
    }
}

/// The definitions that were read so far.
struct DefinitionReader<'a> {
    context: &'a ResolveContext<'a>,
    policy: &'a SecretPolicy,
    problems: &'a Problems,
    /// The place of the first definition of each id.
    ids: HashMap<String, String>,
    connections: Vec<Connection>,
}

impl<'a> DefinitionReader<'a> {
    fn new(
        context: &'a ResolveContext<'a>,
        policy: &'a SecretPolicy,
        problems: &'a Problems,
    ) -> Self {
        Self {
            context,
            policy,
            problems,
            ids: HashMap::new(),
            connections: Vec::new(),
        }
    }

    /// Reads the files that were found at the listed paths.
    fn read_files(&mut self, found: &[PathBuf], listed: &[PathBuf]) {
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

    fn read_texts(&mut self, texts: Vec<Text>) {
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
        let context = self.context.for_definition(directory, self.policy);
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

    fn add_definition(&mut self, defined: Definition) {
        let Definition {
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
                id_place.message = format!("{} is already defined in {first}", quoted(id.as_str()));
                self.problems
                    .push(id_place.remedy("give one of the two connections another id"));
                return;
            }
            self.ids.insert(id.as_str().to_owned(), place);
        }
        self.connections.extend(connection);
    }
}

#[cfg(test)]
mod tests;
