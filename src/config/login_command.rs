//! The command with which a person logs in, as remedies name it.

use std::path::Path;

use super::redaction::shown_path;
use crate::domain::ConnectionId;

/// The arguments of this process that decide which definitions `egressd login` has to find.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoginArguments<'a> {
    /// `--config`, if it was given.
    config: Option<&'a Path>,
    /// `true` if definitions were given as arguments. `login` finds only those in the settings.
    has_paths: bool,
}

impl<'a> LoginArguments<'a> {
    /// Creates the arguments from `--config` and from whether there are definitions as arguments.
    pub fn new(config: Option<&'a Path>, has_paths: bool) -> Self {
        Self { config, has_paths }
    }

    /// Returns the remedy for a connection that a person has to log in to.
    pub fn remedy(&self, connection: &ConnectionId) -> String {
        if self.has_paths {
            return format!(
                "list the definition in `connections` of a settings file, and run `egressd login --config FILE {connection}`"
            );
        }
        format!("run `{}`", self.command(connection))
    }

    /// Returns the command for a connection that the settings list.
    fn command(&self, connection: &ConnectionId) -> String {
        match self.config {
            Some(config) => format!(
                "egressd login --config {} {connection}",
                shell_word(&shown_path(config))
            ),
            None => format!("egressd login {connection}"),
        }
    }
}

/// Writes a path as a word of a shell. A path that no single quotes can hold is left out.
fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,".contains(c);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else if path.contains(|c: char| c == '\'' || c == '`' || c.is_control()) {
        "FILE".to_owned()
    } else {
        format!("'{path}'")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::LoginArguments;
    use crate::domain::ConnectionId;

    #[test]
    fn the_command_finds_the_definition_again() {
        // F-304
        let id = ConnectionId::parse("crm").unwrap();
        let remedy = |config: Option<&str>, has_paths| {
            let config = config.map(Path::new);
            LoginArguments::new(config, has_paths).remedy(&id)
        };
        assert_eq!(remedy(None, false), "run `egressd login crm`");
        for (path, word) in [
            ("a/egressd.yaml", "a/egressd.yaml"),
            ("my conf/e.yaml", "'my conf/e.yaml'"),
            ("it's.yaml", "FILE"),
            ("a\nb", "FILE"),
        ] {
            let expected = format!("run `egressd login --config {word} crm`");
            assert_eq!(remedy(Some(path), false), expected);
        }
        assert!(remedy(None, true).contains("settings file"));
    }
}
