//! Recovers the document that an interrupted holder of the lock has left in the pending file.

use std::io;

use rustix::fs::{FileType, FlockOperation, OFlags};

use super::directory::{StoreDirectory, try_flock};
use super::document::{StoredGrant, Version};
use super::error::StoreError;
use super::file::{self, StoredFile, document_name, pending_name};
use super::hold::Recovery;
use crate::domain::auth::GrantName;

/// The result of [`recover`].
pub(super) enum Recovered {
    Done(Recovery),
    /// The writer of the pending file still runs: it holds a lock on it. This happens if the lock
    /// file was removed while the writer held it.
    Held,
}

/// The content of a pending file.
enum Pending {
    Absent,
    Held,
    /// There is no complete document.
    Incomplete,
    /// A document, and its length without the bytes that were only reserved.
    Complete(Box<StoredGrant>, u64),
}

/// Renames a complete pending document of this client into place, if it is newer than the file.
/// Removes any other pending file.
pub(super) fn recover(
    directory: &StoreDirectory,
    grant: &GrantName,
    client: &str,
) -> Result<Recovered, StoreError> {
    let pending = pending_name(grant);
    let (document, length) =
        match read_pending(directory, grant).map_err(StoreError::at("read", &pending))? {
            Pending::Absent => return Ok(Recovered::Done(Recovery::Nothing)),
            Pending::Held => return Ok(Recovered::Held),
            Pending::Incomplete => {
                remove(directory, &pending)?;
                return Ok(Recovered::Done(Recovery::RotationMayBeLost));
            }
            Pending::Complete(document, length) => (document, length),
        };
    let is_same_client = document.client() == Some(client);
    if !is_same_client || Some(document.version()) <= file_version(directory, grant)? {
        // The consent was replaced, or the document was saved again later.
        remove(directory, &pending)?;
        return Ok(Recovered::Done(Recovery::Nothing));
    }
    adopt(directory, grant, length)?;
    Ok(Recovered::Done(Recovery::Adopted))
}

fn read_pending(directory: &StoreDirectory, grant: &GrantName) -> io::Result<Pending> {
    let file = match directory.open_to_read(&pending_name(grant), OFlags::NOFOLLOW) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pending::Absent),
        // A link or a socket, which egressd does not create.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Ok(Pending::Incomplete);
        }
        Err(error) => return Err(error),
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(Pending::Incomplete);
    }
    // The lock is released when the file is closed. A shared lock, because NFS does not grant an
    // exclusive one for a file that is open for reading (flock(2)).
    if !try_flock(&file, FlockOperation::NonBlockingLockShared)? {
        return Ok(Pending::Held);
    }
    let bytes = file::read_bytes(file)?;
    let length = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let document = bytes.get(..length).unwrap_or_default();
    Ok(match StoredGrant::parse(document, grant) {
        Ok(document) => Pending::Complete(Box::new(document), length as u64),
        Err(_) => Pending::Incomplete,
    })
}

/// Returns the version of the file in place. Without a usable one, every document is newer.
fn file_version(
    directory: &StoreDirectory,
    grant: &GrantName,
) -> Result<Option<Version>, StoreError> {
    match file::read(directory, grant) {
        StoredFile::Usable { document, .. } => Ok(Some(document.version())),
        StoredFile::Unusable(file::UnusableFile::Io(error))
        | StoredFile::DirectoryUnavailable(error) => {
            Err(StoreError::at("read", &document_name(grant))(error))
        }
        StoredFile::Absent | StoredFile::Unusable(_) => Ok(None),
    }
}

/// Completes the steps that the interrupted holder did not reach.
fn adopt(directory: &StoreDirectory, grant: &GrantName, length: u64) -> Result<(), StoreError> {
    let (pending, document) = (pending_name(grant), document_name(grant));
    let file = directory
        .open_to_write(&pending, OFlags::empty())
        .map_err(StoreError::at("open", &pending))?;
    file.set_len(length)
        .map_err(StoreError::at("truncate", &pending))?;
    file.sync_all().map_err(StoreError::at("flush", &pending))?;
    directory
        .rename(&pending, &document)
        .map_err(StoreError::at("replace", &document))?;
    directory.sync().map_err(StoreError::at("flush", "."))
}

fn remove(directory: &StoreDirectory, pending: &str) -> Result<(), StoreError> {
    directory
        .remove(pending)
        .map_err(StoreError::at("remove", pending))
}
