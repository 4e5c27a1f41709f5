//! Reads the file of a grant.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::{AtFlags, FileType, OFlags};
use thiserror::Error;
use zeroize::Zeroizing;

use super::MAX_DOCUMENT_BYTES;
use super::directory::{FileIdentity, StoreDirectory};
use super::document::StoredGrant;
use super::invalid_document::InvalidDocument;
use crate::domain::auth::GrantName;

/// The right of other users to read, in the mode of a file.
const OTHERS_READ: u32 = 0o004;

/// The file of a grant, as it was found.
pub enum StoredFile {
    /// The directory cannot be opened; it may be missing.
    DirectoryUnavailable(io::Error),
    /// The directory can be read, and has no file for the grant.
    Absent,
    /// The file cannot be used (`token_file_unusable`).
    Unusable(UnusableFile),
    /// A valid document.
    Usable {
        /// The content.
        document: Box<StoredGrant>,
        /// The identity of the file when it was read.
        identity: FileIdentity,
        /// `true` if every user can read the file (`secret_readable`).
        is_readable_by_others: bool,
    },
}

/// The reason why a file cannot be used, as a predicate of the file.
#[derive(Debug, Error)]
pub enum UnusableFile {
    /// A symbolic link in a directory that can be written. Only read-only mounts have links on
    /// purpose.
    #[error("is a symbolic link, which is not followed in a directory that can be written")]
    SymbolicLink,
    /// A directory, a pipe, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// This process has no right to read the file.
    #[error("cannot be read by this process: the file belongs to user {owner}")]
    Permission {
        /// The user id of the owner.
        owner: u32,
    },
    /// The file could not be opened or read for another reason.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// The content is not a valid document of this grant.
    #[error(transparent)]
    Content(InvalidDocument),
}

impl UnusableFile {
    /// Returns whether a newer version of egressd has written the file.
    pub fn has_newer_format(&self) -> bool {
        matches!(self, Self::Content(InvalidDocument::NewerFormat))
    }
}

impl StoredFile {
    /// Returns the document, if the file is usable.
    pub fn document(&self) -> Option<&StoredGrant> {
        match self {
            Self::Usable { document, .. } => Some(document),
            Self::DirectoryUnavailable(_) | Self::Absent | Self::Unusable(_) => None,
        }
    }

    /// Returns the document, if the file is usable.
    pub fn into_document(self) -> Option<StoredGrant> {
        match self {
            Self::Usable { document, .. } => Some(*document),
            Self::DirectoryUnavailable(_) | Self::Absent | Self::Unusable(_) => None,
        }
    }
}

pub(super) fn document_name(grant: &GrantName) -> String {
    format!("{grant}.json")
}

pub(super) fn pending_name(grant: &GrantName) -> String {
    format!("{grant}.json.pending")
}

pub(super) fn lock_name(grant: &GrantName) -> String {
    format!("{grant}.lock")
}

pub(super) fn read(directory: &StoreDirectory, grant: &GrantName) -> StoredFile {
    match try_read(directory, grant) {
        Ok(found) => found,
        Err(why) => StoredFile::Unusable(why),
    }
}

fn try_read(directory: &StoreDirectory, grant: &GrantName) -> Result<StoredFile, UnusableFile> {
    let name = document_name(grant);
    let Some(file) = open(directory, &name)? else {
        return Ok(StoredFile::Absent);
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| UnusableFile::Io(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(UnusableFile::NotRegular);
    }
    let bytes = read_bytes(file).map_err(UnusableFile::Io)?;
    let document = StoredGrant::parse(&bytes, grant).map_err(UnusableFile::Content)?;
    Ok(StoredFile::Usable {
        document: Box::new(document),
        identity: FileIdentity::from_stat(&stat),
        is_readable_by_others: stat.st_mode & OTHERS_READ != 0,
    })
}

/// Opens the file of a grant, or returns `None` if there is none.
fn open(directory: &StoreDirectory, name: &str) -> Result<Option<File>, UnusableFile> {
    let error = match directory.open_to_read(name, OFlags::NOFOLLOW) {
        Ok(file) => return Ok(Some(file)),
        Err(error) => error,
    };
    // open(2): `NOFOLLOW` fails with ELOOP if the last part of the path is a symbolic link.
    let is_link = error.raw_os_error() == Some(libc::ELOOP);
    if is_link && directory.is_writable() {
        return Err(UnusableFile::SymbolicLink);
    }
    let error = if is_link {
        match directory.open_to_read(name, OFlags::empty()) {
            Ok(file) => return Ok(Some(file)),
            Err(error) => error,
        }
    } else {
        error
    };
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(None),
        Some(libc::EACCES | libc::EPERM) => Err(permission(directory, name, error)),
        // A socket, or a device without a driver.
        Some(libc::ENXIO) => Err(UnusableFile::NotRegular),
        Some(_) | None => Err(UnusableFile::Io(error)),
    }
}

fn permission(directory: &StoreDirectory, name: &str, error: io::Error) -> UnusableFile {
    match directory.stat(name, AtFlags::empty()) {
        Ok(stat) => UnusableFile::Permission { owner: stat.st_uid },
        Err(_) => UnusableFile::Io(error),
    }
}

/// Reads a file, at most one byte more than the largest document.
pub(super) fn read_bytes(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = MAX_DOCUMENT_BYTES + 1;
    // The buffer does not grow, because a buffer that grows leaves an unwiped copy behind.
    // `read_to_end` needs one byte of room to detect the end.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
