//! Checks for configuration and secrets in the agent's file system. Files are opened, to check that
//! the agent could read them, and not read.

use std::fs::{self, File};
use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
use std::path::{Path, PathBuf};

use super::finding::{Finding, SandboxCheck};
use super::socket_error::reason;
use crate::probe_client::printable;

/// The directory of egressd's configuration in its image, the one that contains its token store,
/// and the directories where container runtimes mount secrets.
pub(super) const USUAL_FOLDERS: &[&str] = &[
    "/etc/egressd",
    "/var/lib/egressd",
    "/run/secrets",
    "/var/run/secrets",
];
/// The maximum depth to which nested directories are searched.
const MAX_DEPTH: usize = 5;
/// The most entries that are examined in one of [`USUAL_FOLDERS`].
const MAX_ENTRIES: usize = 2000;

/// Returns one finding for each folder. Two paths to the same folder count once.
pub(super) fn secret_file_findings(folders: &[&str]) -> Vec<Finding> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut found = Vec::new();
    for folder in folders {
        let path = Path::new(folder);
        // `/var/run` is a link to `/run` on most systems.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !seen.contains(&real) {
            found.push(folder_finding(path));
            seen.push(real);
        }
    }
    found
}

fn folder_finding(folder: &Path) -> Finding {
    let check = SandboxCheck::SecretFiles;
    let target = printable(&folder.to_string_lossy());
    if let Err(error) = fs::read_dir(folder) {
        let why = reason(&error).to_ascii_lowercase();
        let kind = error.kind();
        return if kind == NotADirectory && File::open(folder).is_ok() {
            check.open(target, "can be read")
        // The agent has the same rights as this command, so what is denied here is denied to it.
        } else if matches!(kind, NotFound | PermissionDenied | NotADirectory) {
            check.closed(target, why)
        } else {
            check.unknown(target, format!("could not be read: {why}"))
        };
    }
    let mut readable = Vec::new();
    let mut left = MAX_ENTRIES;
    collect_readable(folder, MAX_DEPTH, &mut left, &mut readable);
    let Some(first) = readable.first() else {
        return if left == 0 {
            check.unknown(
                target,
                format!("has no readable file among the first {MAX_ENTRIES} entries; the others were not checked"),
            )
        } else {
            check.closed(target, "has no readable file")
        };
    };
    let first = printable(&first.to_string_lossy());
    check.open(
        target,
        match readable.len() {
            1 => format!("{first} can be read"),
            count => format!("{first} can be read, and {} more", count - 1),
        },
    )
}

/// Collects the readable files below a folder. Links are followed, because the kubelet mounts
/// secrets as links; `deep` and `left` bound the search.
fn collect_readable(folder: &Path, deep: usize, left: &mut usize, readable: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .take(*left)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    *left -= paths.len().min(*left);
    paths.sort();
    for path in paths {
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        if found.is_dir() && deep > 0 && !is_kubelet_copy(&path) {
            collect_readable(&path, deep - 1, left, readable);
        // An empty file holds no secret.
        } else if found.is_file() && found.len() > 0 && File::open(&path).is_ok() {
            readable.push(path);
        }
    }
}

/// Returns `true` for `..data` and `..2026_01_02…`, the targets of the kubelet's links. Without
/// this check, each file would count three times.
fn is_kubelet_copy(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::finding::FindingState;
    use super::{fs, secret_file_findings};

    #[test]
    fn a_readable_file_is_named_and_its_content_is_not() {
        let world = tempfile::tempdir().unwrap();
        let at = |name: &str| world.path().join(name);
        // The layout of a secret that the kubelet mounted.
        fs::create_dir_all(at("mount/..2026_01_02")).unwrap();
        fs::write(at("mount/..2026_01_02/token"), "planted-canary").unwrap();
        symlink("..2026_01_02", at("mount/..data")).unwrap();
        symlink("..data/token", at("mount/token")).unwrap();
        symlink("mount", at("again")).unwrap();
        symlink(".", at("mount/loop")).unwrap();
        fs::create_dir(at("bare")).unwrap();
        fs::write(at("bare/empty"), "").unwrap();
        fs::write(at("file"), "planted-canary").unwrap();
        let folders =
            ["mount", "again", "bare", "absent", "file"].map(|name| at(name).display().to_string());
        let folders = folders.each_ref().map(String::as_str);
        let found = secret_file_findings(&folders);
        let states: Vec<FindingState> = found.iter().map(|f| f.state).collect();
        assert_eq!(
            states,
            [
                FindingState::Open,
                FindingState::Closed,
                FindingState::Closed,
                FindingState::Open
            ]
        );
        assert!(found[0].seen.contains("token can be read"), "{found:?}");
        assert_eq!(found[1].seen, "has no readable file");
        assert!(!serde_json::to_string(&found).unwrap().contains("canary"));
    }

    #[test]
    fn a_folder_that_could_not_be_searched_is_unknown() {
        let world = tempfile::tempdir().unwrap();
        let many = world.path().join("many");
        fs::create_dir(&many).unwrap();
        for n in 0..=super::MAX_ENTRIES {
            fs::write(many.join(n.to_string()), "").unwrap();
        }
        // A link to itself cannot be followed.
        let loops = world.path().join("loops");
        symlink(&loops, &loops).unwrap();
        let folders = [many, loops].map(|path| path.display().to_string());
        let found = secret_file_findings(&folders.each_ref().map(String::as_str));
        let states: Vec<FindingState> = found.iter().map(|f| f.state).collect();
        assert_eq!(
            states,
            [FindingState::Unknown, FindingState::Unknown],
            "{found:?}"
        );
    }
}
