//! Loads the settings, finds the files that they list, and reads all connections, or returns all
//! problems.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connectors::{Catalogue, ConnectorTemplate};
use super::consents;
use super::definition_reader::{DefinitionReader, Text};
use super::environment::Environment;
use super::files::{ListedPaths, find_definition_files, settings_file, with_settings};
use super::layers::{Layers, SettingsOverrides, report_unknown_variables};
use super::login_command::LoginArguments;
use super::problem::{Problem, Problems, Severity};
use super::secret_policy::{PolicyInputs, SecretPolicy, SecretValues};
use super::secret_ref::ResolveContext;
use super::settings::{self, DefinitionRules, ReadSettings, Settings};
use super::sources::{Files, SourceFiles};
use crate::domain::Connection;
use crate::domain::connector::Connector;

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
    /// The connectors that definitions may refer to, in the order of their slugs.
    pub connectors: Vec<Arc<Connector>>,
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
    /// The directory of the token store.
    pub token_store: PathBuf,
}

/// An attempt to load, with the files that were read even if it failed.
pub struct LoadAttempt {
    /// The configuration, or all errors and warnings if there is one error.
    pub outcome: Result<Loaded, Vec<Problem>>,
    /// The files that were examined.
    pub sources: SourceFiles,
}

/// The definitions to load.
enum Definitions {
    /// The files and directories at these paths.
    Listed(ListedPaths),
    /// Texts that are in memory.
    Texts(Vec<Text>),
}

impl Definitions {
    /// Returns the texts if there are any, else the paths in the arguments, else the listed ones.
    fn choose(texts: Option<Vec<Text>>, arguments: &[PathBuf], listed: ListedPaths) -> Self {
        match texts {
            Some(texts) => Self::Texts(texts),
            None if arguments.is_empty() => Self::Listed(listed),
            None => Self::Listed(ListedPaths::named(arguments)),
        }
    }
}

/// The inputs of a load besides flags and environment.
struct LoadInput<'o> {
    /// The settings file, if there is one.
    settings: Option<&'o Path>,
    /// The arguments that remedies repeat for `egressd login`.
    login: LoginArguments<'o>,
    /// The definitions, if they are in memory.
    texts: Option<Vec<Text>>,
    /// The severity of the problem that a listener names a connection without a definition.
    unknown_connection: Severity,
    /// The id of the only connection whose problems count.
    only: Option<&'o str>,
}

/// Loads settings and connections. If there is one error, returns all errors and warnings.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<Problem>> {
    load_files(options, Severity::Error, None).outcome
}

/// Loads as [`load`] does, for a command that uses one connection. Problems of other definitions do
/// not prevent it, so other connections may be missing. The settings must have no error.
pub fn load_connection(options: &LoadOptions, id: &str) -> Result<Loaded, Vec<Problem>> {
    load_files(options, Severity::Error, Some(id)).outcome
}

/// Loads as [`load`] does, for a process that runs. Returns the files that were read even if there
/// are problems. A listener may name a connection that was removed: it then answers 404.
pub fn attempt_reload(options: &LoadOptions) -> LoadAttempt {
    load_files(options, Severity::Warning, None)
}

fn load_files(
    options: &LoadOptions,
    unknown_connection: Severity,
    only: Option<&str>,
) -> LoadAttempt {
    let files = Files::default();
    let input = LoadInput {
        settings: settings_file(options.config.as_deref(), &files),
        login: LoginArguments::new(
            options.config.as_deref(),
            !options.overrides.connections.is_empty(),
        ),
        texts: None,
        unknown_connection,
        only,
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
        login: LoginArguments::default(),
        texts: Some(texts),
        unknown_connection: Severity::Error,
        only: None,
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
        has_file: file.is_some(),
        connectors: overrides.connectors.as_deref(),
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
    let listed = ListedPaths {
        paths: listed,
        are_default: connections_are_default,
    };
    let sources = DefinitionSources {
        definitions: Definitions::choose(input.texts, &overrides.connections, listed),
        settings: file,
        only: input.only,
    };
    context.ceilings = rules.ceilings();
    context.login = input.login;
    let before = problems.error_count();
    let read = read_connections(sources, &rules, &context, &problems);
    // If a definition has an error, its id may be unknown.
    if problems.error_count() == before && input.only.is_none() {
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
            connectors: read.connectors,
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
        has_file: false,
        connectors: None,
        can_be_set: true,
    });
    let sources = DefinitionSources {
        definitions: Definitions::Listed(ListedPaths::named(paths)),
        settings: None,
        only: None,
    };
    if rules.has_problem() {
        problems.explain_failure(SETTINGS);
    }
    context.ceilings = rules.ceilings();
    context.login = LoginArguments::new(None, true);
    let read = read_connections(sources, &rules, &context, &problems);
    let failed = problems.has_errors();
    let problems = problems.into_sorted();
    if failed {
        return Err(problems);
    }
    Ok(LoadedPaths {
        connections: read.connections,
        warnings: problems,
        sources: files.into_sources(None, read.files),
        token_store: rules.token_store().unwrap_or(Path::new("")).to_owned(),
    })
}

/// Reads the connectors that definitions may refer to, for printing. Of the settings, only
/// `connectors` is read.
pub fn load_connectors(options: &LoadOptions) -> Result<Vec<ConnectorTemplate>, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let file = settings_file(options.config.as_deref(), &files);
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let context =
        ResolveContext::for_settings(&options.environment, directory, &files, SecretValues::Skip);
    let layers = Layers::new(&options.overrides, &options.environment, &problems);
    let reader = settings::SettingsReader {
        layers: &layers,
        context: &context,
        has_file: file.is_some(),
        connectors: None,
        can_be_set: true,
    };
    let directories = with_settings(file, &files, &problems, |root| {
        settings::read_connector_directories(root, &reader)
    });
    let directories = directories.flatten().unwrap_or_default();
    let catalogue = Catalogue::read(&directories, &files, &problems);
    if problems.has_errors() {
        return Err(problems.into_sorted());
    }
    Ok(catalogue.templates())
}

/// The connections of a load, and where they were read from.
struct ReadConnections {
    connections: Vec<Connection>,
    connectors: Vec<Arc<Connector>>,
    /// The paths of definition files and directories, as the operator listed them.
    listed: Vec<PathBuf>,
    /// The definition files that were found at these paths.
    files: Vec<PathBuf>,
}

/// The places of the definitions of a load.
struct DefinitionSources<'o> {
    definitions: Definitions,
    /// The settings file, which is not a definition.
    settings: Option<&'o Path>,
    /// See [`LoadInput::only`].
    only: Option<&'o str>,
}

/// Reads the connectors and the definitions. `rules` of the settings limit what they may name.
fn read_connections(
    sources: DefinitionSources<'_>,
    rules: &DefinitionRules,
    context: &ResolveContext<'_>,
    problems: &Problems,
) -> ReadConnections {
    let settings = sources.settings;
    let (listed, texts) = match sources.definitions {
        Definitions::Listed(listed) => (listed, None),
        Definitions::Texts(texts) => (ListedPaths::default(), Some(texts)),
    };
    let files = find_definition_files(&listed, settings, context.files, problems);
    let listed = listed.paths;
    let policy = SecretPolicy::new(&PolicyInputs {
        secrets: &rules.secrets(),
        environment: context.environment,
        settings,
        listed: &listed,
        definitions: &files,
        used: &context.used_sources(),
        token_store: rules.token_store(),
    });
    let catalogue = Catalogue::read(&rules.connectors(), context.files, problems);
    let before = problems.count();
    let mut reader = DefinitionReader::new(context, &policy, &catalogue, problems);
    match texts {
        Some(texts) => reader.read_texts(texts),
        None => reader.read_files(&files, &listed),
    }
    consents::check_grants(&reader.consents, problems);
    if let Some(id) = sources.only {
        reader.drop_foreign_problems(before, id);
    }
    let store = rules.token_store();
    consents::check_token_store(&reader.consents, store, &listed, context.login, problems);
    ReadConnections {
        connections: reader.connections,
        connectors: catalogue.connectors(),
        listed,
        files,
    }
}

#[cfg(test)]
mod tests;
