//! Reads files and records what was found, so that a loaded configuration can be compared with the
//! files that are on the disk later.
//!
//! Only a hash of a file's content is kept. The key of the hash is chosen at random for each
//! process, so the hash shows whether two contents differ and reveals nothing else about a secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::file_reading::{ReadError, read_file, read_without_links};
use crate::os::is_resource_exhausted;

/// The maximum number of symbolic links that are followed one after another, as in Linux
/// (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Every file that a configuration was loaded from, which a reload has to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFiles {
    /// The settings file, if there is one.
    pub settings: Option<PathBuf>,
    /// The files that hold definitions.
    pub definitions: Vec<PathBuf>,
    /// The files that `{file: …}` names.
    pub secrets: Vec<PathBuf>,
    /// The files of `egress.ca_files`.
    pub authorities: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, Observation>,
    is_marked_changed: bool,
}

/// The state that was found at a path, when at most `limit` bytes were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Observation {
    limit: u64,
    what: FileState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    /// A file whose content has this hash.
    Content(u64),
    /// A directory whose definitions have names with this hash.
    Names(u64),
    /// Another kind of file: a pipe, a socket, a device.
    Other,
    /// An error when the path was opened or read.
    Unreadable(io::ErrorKind),
    /// A file that no secret may be read from, with a hash of its identity.
    Forbidden(u64),
    /// The file could not be examined because the system had no descriptor or memory left.
    Unknown,
    /// Two different contents were read during one load.
    Inconsistent,
}

/// The files that are read during a load.
#[derive(Default)]
pub(super) struct Files {
    secrets: RefCell<Vec<PathBuf>>,
    authorities: RefCell<Vec<PathBuf>>,
    seen: RefCell<BTreeMap<PathBuf, Observation>>,
}

/// Error: the system has no descriptor or memory left to examine files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourcesExhausted;

impl Files {
    /// Reads a file, at most one byte more than `limit`. The caller checks the size.
    pub(super) fn read(&self, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let read = read_file(path, limit);
        self.record_state(path, limit, state_of_read(&read));
        read
    }

    /// Reads a file that holds a secret, like [`Files::read`]. `resolved` is the real path that the
    /// check of `secrets.allow` found, or `None` if there was no check. A symbolic link that was
    /// placed in the real path after the check is not followed.
    pub(super) fn read_secret(
        &self,
        path: &Path,
        resolved: Option<&Path>,
        limit: u64,
    ) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        self.secrets.borrow_mut().push(path.to_owned());
        let read = match resolved {
            Some(resolved) => read_without_links(resolved, limit),
            None => read_file(path, limit),
        };
        self.record_state(path, limit, state_of_read(&read));
        read
    }

    /// Reads a file that holds certificates, like [`Files::read`].
    pub(super) fn read_authority(
        &self,
        path: &Path,
        limit: u64,
    ) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        self.authorities.borrow_mut().push(path.to_owned());
        self.read(path, limit)
    }

    /// Returns the definitions directly in a directory, sorted by name.
    pub(super) fn list_definitions(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let listed = list_definitions(directory);
        self.record_state(directory, 0, state_of_listing(&listed));
        listed
    }

    /// Records that a path could not be opened.
    pub(super) fn record_missing(&self, path: &Path, error: &io::Error) {
        self.record_state(path, 0, state_of_error(error));
    }

    /// Records the state of a path that is not read.
    pub(super) fn record_other(&self, path: &Path) {
        self.record_state(path, 0, state_of_read(&read_file(path, 0)));
    }

    /// Records the target of a path that may not be read, so that a change of the target is
    /// noticed.
    pub(super) fn record_denied(&self, path: &Path) {
        // Reads never use this limit, so this entry cannot contradict what was read under the same
        // name.
        self.record_state(path, u64::MAX, denied_state(path));
    }

    pub(super) fn into_sources(
        self,
        settings: Option<&Path>,
        definitions: Vec<PathBuf>,
    ) -> SourceFiles {
        SourceFiles {
            settings: settings.map(Path::to_owned),
            definitions,
            secrets: self.secrets.into_inner(),
            authorities: self.authorities.into_inner(),
            seen: self.seen.into_inner(),
            is_marked_changed: false,
        }
    }

    fn record_state(&self, path: &Path, limit: u64, what: FileState) {
        let mut seen = self.seen.borrow_mut();
        let first = *seen
            .entry(path.to_owned())
            .or_insert(Observation { limit, what });
        // With another limit, less of the file may have been read, so the hashes cannot be
        // compared.
        if first.limit == limit && first.what != what {
            let unknown = [first.what, what].contains(&FileState::Unknown);
            let what = if unknown {
                FileState::Unknown
            } else {
                FileState::Inconsistent
            };
            seen.insert(path.to_owned(), Observation { limit, what });
        }
    }
}

impl SourceFiles {
    /// Returns whether any file or directory differs from what was loaded. Reads all of them. If
    /// the result is `false`, all contents existed together at one moment: each file was found
    /// unchanged twice, and the moment lies between the two checks.
    pub fn has_changed(&self) -> Result<bool, ResourcesExhausted> {
        for (path, seen) in &self.seen {
            let what = current_state(path, seen);
            if what == FileState::Unknown {
                return Err(ResourcesExhausted);
            }
            if what != seen.what {
                return Ok(true);
            }
        }
        Ok(self.is_marked_changed)
    }

    /// Returns whether a file could not be examined because the system had no descriptor or memory
    /// left.
    pub fn has_unknown_files(&self) -> bool {
        let mut seen = self.seen.values();
        seen.any(|seen| seen.what == FileState::Unknown)
    }

    /// Returns whether the permissions of a file prevent reading it.
    pub fn has_forbidden_files(&self) -> bool {
        let closed = FileState::Unreadable(io::ErrorKind::PermissionDenied);
        self.seen.values().any(|seen| seen.what == closed)
    }

    /// Makes [`SourceFiles::has_changed`] return `true` from now on, because the content that was
    /// read has been discarded.
    pub fn mark_changed(&mut self) {
        self.is_marked_changed = true;
    }

    /// Returns whether the settings file exists and is empty.
    pub fn has_empty_settings(&self) -> bool {
        let empty = hash_of(b"".as_slice());
        let seen = self.settings.as_ref().and_then(|path| self.seen.get(path));
        seen.is_some_and(|seen| seen.what == FileState::Content(empty))
    }

    /// Returns the files, without the directories that were listed.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.seen.iter().filter(|(_, seen)| !seen.is_directory());
        files.map(|(path, _)| path.as_path())
    }

    /// Returns the directories that must stay readable, with all below them, for these files and
    /// their later versions. They are the listed directories, and the parents of each file: as it
    /// is named, as it is resolved now, and of every symbolic link in between.
    pub fn readable_directories(&self) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        for (path, seen) in &self.seen {
            let resolved = fs::canonicalize(path).ok();
            if seen.is_directory() {
                found.insert(path.clone());
                found.extend(resolved);
            } else {
                found.extend(link_chain(path).iter().map(|hop| parent_directory(hop)));
                found.extend(resolved.as_deref().map(parent_directory));
            }
        }
        found.into_iter().collect()
    }

    /// Returns the directories in which an event occurs when one of these files is replaced, or a
    /// directory or link on the way to it. They are the [`SourceFiles::readable_directories`], and
    /// the parents of listed directories and of every symbolic link on the way.
    pub fn watched_directories(&self) -> BTreeSet<PathBuf> {
        let mut found: BTreeSet<PathBuf> = self.readable_directories().into_iter().collect();
        for path in self.seen.keys() {
            found.insert(parent_directory(path));
            let mut left = MAX_LINKS;
            add_link_parents(path, &mut left, &mut found);
        }
        found
    }
}

impl Observation {
    fn is_directory(&self) -> bool {
        matches!(self.what, FileState::Names(_))
    }
}

fn current_state(path: &Path, seen: &Observation) -> FileState {
    if let FileState::Forbidden(_) = seen.what {
        return denied_state(path);
    }
    // The kind is examined again, because a directory may have replaced a file.
    match fs::metadata(path) {
        Ok(found) if found.is_dir() && seen.limit == 0 => state_of_listing(&list_definitions(path)),
        Ok(_) | Err(_) => state_of_read(&read_file(path, seen.limit)),
    }
}

fn state_of_read(read: &Result<Zeroizing<Vec<u8>>, ReadError>) -> FileState {
    match read {
        Ok(bytes) => FileState::Content(hash_of(bytes.as_slice())),
        Err(ReadError::NotRegular) => FileState::Other,
        Err(ReadError::Io(error)) => state_of_error(error),
    }
}

fn state_of_error(error: &io::Error) -> FileState {
    if is_resource_exhausted(error) {
        FileState::Unknown
    } else {
        FileState::Unreadable(error.kind())
    }
}

fn denied_state(path: &Path) -> FileState {
    let identity = fs::metadata(path).map(|found| (found.dev(), found.ino()));
    FileState::Forbidden(hash_of(&(fs::canonicalize(path).ok(), identity.ok())))
}

fn state_of_listing(listed: &io::Result<Vec<PathBuf>>) -> FileState {
    match listed {
        Ok(names) => FileState::Names(hash_of(names)),
        Err(error) => state_of_error(error),
    }
}

/// Returns a hash of a value, under a key that is chosen at random for each process.
pub(super) fn hash_of<T: std::hash::Hash + ?Sized>(value: &T) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(value)
}

/// Returns the definitions directly in a directory. Hidden names are left out: Kubernetes keeps the
/// copies of a mounted volume in directories such as `..data`.
fn list_definitions(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_definition(path) && !path.is_dir())
        .collect();
    files.sort();
    Ok(files)
}

/// Returns whether the name of a file is that of a definition.
pub(super) fn is_definition(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("json" | "yaml" | "yml"))
}

fn parent_directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent == Path::new("") => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

/// Returns a path, its target if it is a symbolic link, the target of that, and so on. Links among
/// the directories of a path are not resolved.
fn link_chain(path: &Path) -> Vec<PathBuf> {
    let mut hops = vec![path.to_owned()];
    while let Some(Ok(target)) = hops.last().map(fs::read_link) {
        let hop = hops.last().map(|link| parent_directory(link).join(target));
        hops.extend(hop);
        // The kernel fails with ELOOP there, so the file could not have been read.
        if hops.len() > MAX_LINKS {
            break;
        }
    }
    hops
}

/// Adds the parents of the symbolic links that lead to a path.
fn add_link_parents(path: &Path, left: &mut usize, found: &mut BTreeSet<PathBuf>) {
    for part in path.ancestors() {
        let Ok(target) = fs::read_link(part) else {
            continue;
        };
        if *left == 0 {
            return;
        }
        *left -= 1;
        let holder = parent_directory(part);
        let target = holder.join(target);
        found.insert(holder);
        add_link_parents(&target, left, found);
    }
}

#[cfg(test)]
mod tests;
