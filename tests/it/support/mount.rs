//! A volume with the layout of the kubelet: every update is a new directory, and one rename
//! replaces all files at once.
//!
//! `NAME → ..data/NAME`, `..data → ..2026_N`; see Kubernetes' `pkg/volume/util/atomic_writer.go`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A mounted ConfigMap or Secret.
pub(crate) struct MountedVolume {
    at: PathBuf,
    updates: usize,
}

impl MountedVolume {
    /// Creates a volume at a directory that is empty or does not exist.
    pub(crate) fn new(at: PathBuf, files: &[(&str, String)]) -> Self {
        fs::create_dir_all(&at).unwrap();
        let mut mount = Self { at, updates: 0 };
        mount.update(files);
        mount
    }

    /// Replaces all files with these.
    pub(crate) fn update(&mut self, files: &[(&str, String)]) {
        self.updates += 1;
        let name = format!("..2026_{}", self.updates);
        let data = self.at.join(&name);
        fs::create_dir(&data).unwrap();
        for (file, text) in files {
            fs::write(data.join(file), text).unwrap();
        }
        let next = self.at.join("..data_tmp");
        symlink(&name, &next).unwrap();
        let current = self.at.join("..data");
        let before = fs::read_link(&current);
        fs::rename(next, &current).unwrap();
        for (file, _) in files {
            let link = symlink(format!("..data/{file}"), self.at.join(file));
            assert!(link.is_ok() || link.unwrap_err().kind() == ErrorKind::AlreadyExists);
        }
        self.remove_stale_links(files);
        if let Ok(before) = before {
            fs::remove_dir_all(self.at.join(before)).unwrap();
        }
    }

    /// Links to removed files are deleted last.
    fn remove_stale_links(&self, files: &[(&str, String)]) {
        for entry in fs::read_dir(&self.at).unwrap() {
            let name = entry.unwrap().file_name();
            let name = name.to_str().unwrap();
            if !name.starts_with("..") && !files.iter().any(|(file, _)| *file == name) {
                fs::remove_file(self.at.join(name)).unwrap();
            }
        }
    }
}
