//! Reads only the addresses of the management API, for commands that query a running process. Such
//! a command may not have access to the files that the process was started with.

use std::path::Path;

use super::files::{settings_file, with_settings};
use super::layers::Layers;
use super::load::LoadOptions;
use super::problem::{Problem, Problems};
use super::secret_ref::ResolveContext;
use super::settings::{self, ListenAddress};
use super::sources::Files;

/// Reads `management.listen` from all layers. No definition, secret or certificate is opened, and
/// other mistakes in the settings are ignored. The returned problems are those that hide the
/// addresses: a file that cannot be read or parsed, or an invalid address.
pub fn management_listen(options: &LoadOptions) -> Result<Vec<ListenAddress>, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let file = settings_file(options.config.as_deref(), &files);
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let values = options.overrides.secrets;
    let context = ResolveContext::for_settings(&options.environment, directory, &files, values);
    let layers = Layers::new(&options.overrides, &options.environment, &problems);
    // If a flag or a variable sets the addresses, the file need not exist.
    let file = file.filter(|_| !layers.have_management_listen());
    let read = settings::SettingsReader {
        layers: &layers,
        context: &context,
        has_file: false,
        connectors: None,
        can_be_set: true,
    };
    let listen = with_settings(file, &files, &problems, |root| {
        settings::read_management_listen(root, &read)
    });
    listen.flatten().ok_or_else(|| {
        problems.explain_failure("settings");
        problems.into_sorted()
    })
}
