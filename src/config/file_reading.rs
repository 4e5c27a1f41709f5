//! Reads files, and opens them by a path that was checked earlier.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use zeroize::Zeroizing;

/// The reason why a file was not read.
pub(super) enum ReadError {
    /// The path leads to something other than a regular file.
    NotRegular,
    Io(io::Error),
}

impl ReadError {
    /// Describes the error as a predicate of the file, without its path.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::NotRegular => "is not a regular file".to_owned(),
            Self::Io(error) => describe_error(error),
        }
    }

    /// Advises the operator on what to do.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::NotRegular => "name a regular file",
            Self::Io(error) => error_remedy(error),
        }
    }
}

/// Describes an error of opening or reading a file or directory as a predicate of the path.
pub(super) fn describe_error(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        // The text of the standard library is "entity not found".
        "cannot be read: no such file or directory".to_owned()
    } else {
        format!("cannot be read: {kind}")
    }
}

/// Advises the operator on what to do about an error of a file or directory.
pub(super) fn error_remedy(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        "correct the path, or create the file or directory"
    } else if kind == io::ErrorKind::PermissionDenied {
        "allow the user of this process to read it"
    } else {
        "name a readable file or directory"
    }
}

/// Reads a file, at most one byte more than `limit`.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Opening a pipe would block, even if the pipe replaced the file after an earlier check. For a
    // regular file the flag has no effect.
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = file.open(path).map_err(|error| open_error(path, error))?;
    read_opened(file, limit)
}

/// Reads a file by its real path, and fails if a part of the path has become a symbolic link.
pub(super) fn read_without_links(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let file = open_without_links(path).map_err(|error| open_error(path, error))?;
    read_opened(file, limit)
}

/// Opens a file by its real path, one part after the other.
///
/// `openat2(2)` with `RESOLVE_NO_SYMLINKS` would do the same in one call, but seccomp cannot see
/// whether that call opens for writing.
fn open_without_links(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = flags | OFlags::PATH | OFlags::DIRECTORY;
    let file = flags | OFlags::RDONLY | OFlags::NONBLOCK;
    let mut names = path.components().peekable();
    let mut opened = None;
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() {
            directory
        } else {
            file
        };
        let parent = opened.as_ref().map_or(CWD, OwnedFd::as_fd);
        opened = Some(openat(parent, name.as_os_str(), flags, Mode::empty())?);
    }
    opened.map(File::from).ok_or(io::ErrorKind::NotFound.into())
}

fn read_opened(file: File, limit: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let found = file.metadata().map_err(ReadError::Io)?;
    if !found.is_file() {
        return Err(ReadError::NotRegular);
    }
    let limit = limit.saturating_add(1);
    // The buffer has room for one byte more than the file, so that the end of the file is detected
    // without a larger buffer: a buffer that grows leaves an unwiped copy behind.
    let room = found.len().saturating_add(1).min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0)));
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    Ok(bytes)
}

/// Maps an error of opening a file. A socket or a device without a driver cannot even be opened.
fn open_error(path: &Path, error: io::Error) -> ReadError {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => ReadError::NotRegular,
        Ok(_) | Err(_) => ReadError::Io(error),
    }
}
