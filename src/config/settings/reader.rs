//! The inputs of reading settings.

use std::path::PathBuf;

use crate::config::layers::Layers;
use crate::config::object::Object;
use crate::config::secret_ref::ResolveContext;
use crate::config::settings_spec::{ROOT, SETTINGS};

/// The inputs of reading settings, except the file.
pub(in crate::config) struct SettingsReader<'a> {
    pub(in crate::config) layers: &'a Layers<'a>,
    pub(in crate::config) context: &'a ResolveContext<'a>,
    /// `true` if there is a settings file, so that relative paths start from its directory.
    pub(in crate::config) has_file: bool,
    /// The value that replaces `connectors`, if the process has loaded the settings before.
    pub(in crate::config) connectors: Option<&'a [PathBuf]>,
    /// `false` if only flags are read, as in the demo. Remedies then do not suggest settings.
    pub(in crate::config) can_be_set: bool,
}

impl<'a> SettingsReader<'a> {
    /// Puts the other layers over the settings of a file, if there is one.
    pub(super) fn with_layers(&self, file: Option<Object<'a>>) -> Object<'a> {
        Object::with_layers(file, &SETTINGS, self.layers, ROOT.to_owned())
    }

    /// Returns the default of a path. Without a settings file, it is below `config`.
    pub(super) fn default_path(&self, name: &str) -> PathBuf {
        let parent = if self.has_file { "" } else { "config" };
        self.context.directory.join(parent).join(name)
    }
}
