//! The holder of a grant's lock.

use std::fs::File;
use std::io;

use super::TokenStore;
use super::directory::{Inode, StoreDirectory, unlock};
use super::error::StoreError;
use super::file::{self, StoredFile, lock_name};
use crate::domain::auth::GrantName;

/// The state of the pending file when the lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// There was no pending file, or one that is no longer needed.
    Nothing,
    /// A complete document of an interrupted holder is now the file of the grant. No request is
    /// needed to adopt it.
    Adopted,
    /// An interrupted holder has not written its document, so a new refresh token may be lost. If
    /// the provider now refuses the stored one for good, the reason is `rotation_lost`.
    RotationMayBeLost,
}

/// The lock of one grant, which is released on drop. At most one process or thread has it.
pub struct HeldGrant {
    store: TokenStore,
    grant: GrantName,
    pub(super) directory: StoreDirectory,
    pub(super) lock: File,
    recovery: Recovery,
}

impl HeldGrant {
    pub(super) fn new(
        store: TokenStore,
        grant: GrantName,
        directory: StoreDirectory,
        lock: File,
        recovery: Recovery,
    ) -> Self {
        Self {
            store,
            grant,
            directory,
            lock,
            recovery,
        }
    }

    /// Returns the name of the grant.
    pub fn grant(&self) -> &GrantName {
        &self.grant
    }

    /// Returns the state of the pending file when the lock was taken.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Reads the file of the grant.
    pub fn read(&self) -> StoredFile {
        file::read(&self.directory, &self.grant)
    }

    /// Checks that other processes still find this lock.
    pub(super) fn check_is_held(&self) -> Result<(), StoreError> {
        self.check_directory()?;
        let name = lock_name(&self.grant);
        let check = || match self.directory.inode(&name)? {
            Some(found) if found == Inode::from_open_file(&self.lock)? => Ok(()),
            Some(_) => Err(io::Error::other("the file was replaced")),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        check().map_err(StoreError::at("keep the lock", &name))
    }

    /// Checks that the path of the store still leads to the directory in which the lock is.
    pub(super) fn check_directory(&self) -> Result<(), StoreError> {
        let path = self.store.path();
        let check = self.directory.check_is_at(path);
        check.map_err(StoreError::at("find", &path.display().to_string()))
    }
}

impl Drop for HeldGrant {
    fn drop(&mut self) {
        unlock(&self.lock);
    }
}
