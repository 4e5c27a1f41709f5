//! Definitions that stand in memory go the way that files go: same reader, same rules, same problems.
//!
//! For what egressd brings along itself. No file is read, no settings file looked for.

use std::path::Path;

use super::document::Origin;
use super::environment::Environment;
use super::load::{Loaded, Walk};
use super::problem::{Problem, Problems};
use super::secret_policy::{self, SecretPolicy};
use super::secret_ref::ResolveContext;
use super::settings::{self, Layers, ReadSettings, SettingsOverrides};
use super::sources::Files;

/// A definition file that was never on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The name that the file would have, such as `notes.yaml`: its stem is the id, and problems are reported under it.
    pub name: String,
    /// What would stand in it.
    pub text: String,
}

/// Loads these definitions, with default settings under what flags and environment say. All problems and warnings are returned if there is
/// one problem.
pub fn load_texts(
    texts: Vec<Text>,
    overrides: &SettingsOverrides,
    environment: &Environment,
) -> Result<Loaded, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let layers = Layers::new(overrides, environment, &problems);
    let here = Path::new("");
    let context = ResolveContext::for_settings(environment, here, &files, overrides.secrets);
    let read = settings::Read {
        layers: &layers,
        context: &context,
        problems: &problems,
        default_connections: "",
    };
    let ReadSettings {
        settings,
        secrets,
        connections: _no_paths,
    } = settings::settings(None, &read);
    let policy = SecretPolicy::new(&secret_policy::Inputs {
        secrets: &secrets,
        environment,
        settings: None,
        listed: &[],
        definitions: &[],
        used: &context.used(),
    });
    let mut walk = Walk::new(&context, &policy, &problems);
    for Text { name, text } in texts {
        if let Some(origin) = Origin::of_file(name.clone(), text.into_bytes(), &problems) {
            walk.read(Path::new(&name), &origin);
        }
    }
    settings::unknown_variables(environment, &problems);
    let (connections, _no_files) = walk.finish();
    let failed = problems.has_errors();
    let found = problems.into_sorted();
    match settings {
        Some(mut settings) if !failed => {
            settings.connections = Vec::new();
            Ok(Loaded {
                settings,
                connections,
                warnings: found,
                sources: files.into_sources(None, Vec::new()),
            })
        }
        Some(_) | None => Err(found),
    }
}
