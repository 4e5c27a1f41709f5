//! Writes the file of a secret: a new file with mode 0600 beside it, renamed into place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A file that is not in its place yet. Without [`KeyFile::put_in_place`], it is removed.
pub(super) struct KeyFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_in_place: bool,
}

impl KeyFile {
    /// Creates the file. A missing directory is created with mode 0700.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let directory = directory_of(target);
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)?;
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let name = format!(".{}.egressd-{}", name.to_string_lossy(), std::process::id());
        let path = directory.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            target: target.to_owned(),
            is_in_place: false,
        })
    }

    /// Writes the value, and replaces the file at the target.
    pub(super) fn put_in_place(mut self, value: &[u8]) -> io::Result<()> {
        self.file.write_all(value)?;
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.is_in_place = true;
        File::open(directory_of(&self.target))?.sync_all()
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if !self.is_in_place {
            // The file is empty, or holds a value that was not put in place.
            let _left = fs::remove_file(&self.path);
        }
    }
}

fn directory_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::KeyFile;

    #[test]
    fn a_file_is_replaced_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("secrets/key");
        KeyFile::create(&target)
            .unwrap()
            .put_in_place(b"old")
            .unwrap();
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&target), 0o600);
        assert_eq!(mode(target.parent().unwrap()), 0o700);
        drop(KeyFile::create(&target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"old");
        KeyFile::create(&target)
            .unwrap()
            .put_in_place(b"new")
            .unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
    }
}
