//! The temporary directory of a demo. Other commands, such as `egressd login`, need the
//! configuration in files, and the token store is a directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::random::{random_bytes, to_hex};

/// The name of the settings file.
const SETTINGS_NAME: &str = "egressd.yaml";
/// The name of the file with the certificate of the authority.
const CA_NAME: &str = "ca.pem";
/// The name of the token store's directory.
const STORE_NAME: &str = "tokens";

const SETTINGS: &str = "\
# The settings of `egressd demo`, for other commands. The directory is removed when the demo ends.
egress: {ca_files: [ca.pem]}
connections: [connections]
token_store: {directory: tokens}
";

/// A directory that only its owner can read. Dropping the value removes the directory.
pub(crate) struct DemoDirectory {
    path: PathBuf,
}

impl DemoDirectory {
    /// Creates a directory below that for temporary files. It has the settings, the certificate of
    /// the authority as PEM, one definition, and an empty token store.
    pub(super) fn create(ca: &str, definition: (&str, &str)) -> io::Result<Self> {
        let parent = std::path::absolute(std::env::temp_dir())?;
        let name = format!("egressd-demo-{}", to_hex(&*random_bytes::<8>()?));
        let path = parent.join(name);
        // Fails if the path exists, so nobody can prepare a directory or a link under this name.
        let mut private = DirBuilder::new();
        private.mode(0o700).create(&path)?;
        let directory = Self { path };
        let definitions = directory.path.join("connections");
        private.create(&definitions)?;
        private.create(directory.token_store())?;
        fs::write(directory.settings(), SETTINGS)?;
        fs::write(directory.ca(), ca)?;
        fs::write(definitions.join(definition.0), definition.1)?;
        Ok(directory)
    }

    /// Returns the path of the directory, which is absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the settings file.
    pub(super) fn settings(&self) -> PathBuf {
        self.path.join(SETTINGS_NAME)
    }

    /// Returns the path of the file with the certificate of the authority.
    pub(super) fn ca(&self) -> PathBuf {
        self.path.join(CA_NAME)
    }

    /// Returns the path of the token store.
    pub(crate) fn token_store(&self) -> PathBuf {
        self.path.join(STORE_NAME)
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        // If it fails, the directory remains. It has no secret that is of use after the demo.
        let _removed = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::DemoDirectory;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_directory_is_private_and_removed_at_the_end() {
        let directory = DemoDirectory::create("certificate", ("a.yaml", "definition")).unwrap();
        let path = directory.path().to_owned();
        for private in [&path, &directory.token_store()] {
            let mode = fs::metadata(private).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", private.display());
        }
        assert_eq!(fs::read_to_string(directory.ca()).unwrap(), "certificate");
        let definition = fs::read_to_string(path.join("connections/a.yaml"));
        assert_eq!(definition.unwrap(), "definition");
        assert!(directory.settings().is_file());
        fs::write(directory.token_store().join("calendar.json"), "").unwrap();
        drop(directory);
        assert!(!path.exists());
    }
}
