//! Where operators connect, alone: for whoever asks a running process and must neither need nor open what it was started with.

use std::path::Path;

use super::files::{settings_file, with_settings};
use super::layers::Layers;
use super::load::LoadOptions;
use super::problem::{Problem, Problems};
use super::secret_ref::ResolveContext;
use super::settings::{self, ListenAddress};
use super::sources::Files;

/// Reads `management.listen` through all layers. No definition, secret or certificate is opened, and what else may be wrong in the settings is not looked at. The
/// problems are those that hide the addresses: a file that cannot be read or parsed, or a value that is no address.
pub fn management_listen(options: &LoadOptions) -> Result<Vec<ListenAddress>, Vec<Problem>> {
    let problems = Problems::default();
    let files = Files::default();
    let file = settings_file(options.config.as_deref(), &files);
    let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
    let values = options.overrides.secrets;
    let context = ResolveContext::for_settings(&options.environment, directory, &files, values);
    let layers = Layers::new(&options.overrides, &options.environment, &problems);
    // A file whose word does not count need not be there.
    let file = file.filter(|_| !layers.have_management_listen());
    let read = settings::SettingsReader {
        layers: &layers,
        context: &context,
        default_connections: "",
    };
    let listen = with_settings(file, &files, &problems, |root| {
        settings::read_management_listen(root, &read)
    });
    listen.flatten().ok_or_else(|| problems.into_sorted())
}
