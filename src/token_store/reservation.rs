//! Space for the next document of a grant, and the steps that save the document.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::io::Errno;

use super::MAX_DOCUMENT_BYTES;
use super::directory::{Inode, try_flock, unlock};
use super::document::StoredGrant;
use super::error::StoreError;
use super::file::{document_name, pending_name};
use super::hold::HeldGrant;

/// A pending file with reserved space, and the lock of its grant.
///
/// A function that sends a single-use refresh token takes a `&Reservation`: the token must not be
/// sent before its successor can be saved. Without [`Reservation::save`], the pending file is
/// removed on drop, except with [`Reservation::leave`].
pub struct Reservation {
    /// Locked too, so that the file is not mistaken for that of an interrupted process if the lock
    /// file is removed.
    pub(super) pending: File,
    /// The name of the pending file.
    name: String,
    state: PendingState,
    /// The last field, so that the lock is released last.
    held: HeldGrant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PendingState {
    /// The file has no complete document, and is removed on drop.
    Incomplete,
    /// The file has no document and stays.
    Left,
    /// The file has the whole document, which the next holder of the lock adopts.
    Complete,
    /// The file is in its place.
    Renamed,
}

impl HeldGrant {
    /// Creates the pending file and reserves the space of the largest document for it, so that a
    /// document can be saved even if the disk becomes full.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written, or if the directory or the lock file was removed or
    /// replaced since the lock was taken. The lock is then released.
    pub fn reserve(self) -> Result<Reservation, StoreError> {
        self.check_is_held()?;
        Reservation::create(self)
    }
}

impl Reservation {
    fn create(held: HeldGrant) -> Result<Self, StoreError> {
        let name = pending_name(held.grant());
        let created = held.directory.open_to_write(&name, OFlags::EXCL);
        let pending = created.map_err(StoreError::at("create", &name))?;
        let reservation = Self {
            pending,
            name,
            state: PendingState::Incomplete,
            held,
        };
        reservation.lock_pending()?;
        reserve_space(&reservation.pending)
            .map_err(StoreError::at("reserve space for", &reservation.name))?;
        Ok(reservation)
    }

    /// Locks the pending file. Between its creation and the lock, another process could have taken
    /// it for an abandoned one, but only if the lock file was removed.
    fn lock_pending(&self) -> Result<(), StoreError> {
        let failed = || StoreError::at("lock", &self.name);
        let operation = FlockOperation::NonBlockingLockExclusive;
        if !try_flock(&self.pending, operation).map_err(failed())? {
            return Err(failed()(io::ErrorKind::WouldBlock.into()));
        }
        self.check_pending()
    }

    /// Checks that the pending file is still in the directory.
    fn check_pending(&self) -> Result<(), StoreError> {
        let check = || match self.held.directory.inode(&self.name)? {
            Some(found) if found == Inode::from_open_file(&self.pending)? => Ok(()),
            Some(_) => Err(io::Error::other("the file was replaced")),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        check().map_err(StoreError::at("find", &self.name))
    }

    /// Returns the lock, with which the file can be read.
    pub fn held(&self) -> &HeldGrant {
        &self.held
    }

    /// Saves the document: writes it into the pending file, renames that to its place, and makes
    /// both durable. Then releases the lock.
    ///
    /// # Errors
    ///
    /// Fails if the document is too large or the store cannot be written. The caller keeps the
    /// document in memory and saves it again later, beginning with the lock. If only the last steps
    /// failed, the next holder of the lock completes them.
    pub fn save(mut self, document: &StoredGrant) -> Result<(), StoreError> {
        let grant = self.held.grant().clone();
        let target = document_name(&grant);
        let bytes = document.encode(&grant);
        let bytes = bytes.ok_or_else(|| StoreError::TooLarge(target.clone()))?;
        self.held.check_directory()?;
        self.check_pending()?;
        self.write(&bytes)
            .map_err(StoreError::at("write", &self.name))?;
        self.state = PendingState::Complete;
        self.pending
            .sync_all()
            .map_err(StoreError::at("flush", &self.name))?;
        let directory = &self.held.directory;
        directory
            .rename(&self.name, &target)
            .map_err(StoreError::at("replace", &target))?;
        self.state = PendingState::Renamed;
        let path = self.held.directory.sync();
        path.map_err(StoreError::at("flush the directory of", &target))
    }

    /// Releases the lock and leaves the pending file without a document, so that the next holder of
    /// the lock finds [`super::Recovery::RotationMayBeLost`]. Only the file remembers this if the
    /// process ends.
    pub fn leave(mut self) {
        self.state = PendingState::Left;
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.rewind()?;
        self.pending.write_all(bytes)?;
        self.pending.set_len(bytes.len() as u64)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.state == PendingState::Incomplete && self.check_pending().is_ok() {
            // If this fails, the next holder of the lock removes the file.
            let _left = self.held.directory.remove(&self.name);
        }
        unlock(&self.pending);
    }
}

/// Reserves the space of the largest document.
fn reserve_space(file: &File) -> io::Result<()> {
    let size = MAX_DOCUMENT_BYTES as u64;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        // Not every file system supports it: NFS before version 4.2, ZFS, some of FUSE.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file),
        Err(error) => Err(error.into()),
    }
}

/// Reserves space by writing. Without `fsync`, the file system could notice later that it is full.
pub(super) fn write_zeros(mut file: &File) -> io::Result<()> {
    file.write_all(&[0; MAX_DOCUMENT_BYTES])?;
    file.sync_all()
}
