//! The token store: a directory with one file for each grant that a person has consented to.
//!
//! `serve` and `egressd login` use the same store. They exclude each other with a lock for each
//! grant, and replace a file in one step, so that a reader sees the previous or the next document
//! and never a part of one. All functions block, so they run on a background thread.
//!
//! A refresh token that is accepted once must not be sent before it is certain that its successor
//! can be saved. The types follow these steps:
//!
//! 1. [`TokenStore::lock`] takes the lock, recovers the document that an interrupted holder has
//!    left behind, and returns a [`HeldGrant`]. [`HeldGrant::read`] reads the file again.
//! 2. [`HeldGrant::reserve`] creates the pending file, reserves 64 KiB for it, and returns a
//!    [`Reservation`]. Code that sends a single-use refresh token takes a reservation as a
//!    parameter.
//! 3. [`Reservation::save`] writes the document and renames the pending file to its place. A
//!    reservation that is dropped without it removes the pending file.
//!
//! [`StoredGrant`] is the content of a file. `transitions` has the functions that return its next
//! version, and `life` determines how long its access token may be used.

mod directory;
mod document;
mod encode;
mod error;
mod file;
mod hold;
mod invalid_document;
mod json;
mod life;
mod lock;
mod parse;
mod recovery;
mod reservation;
mod time;
mod token_text;
mod transitions;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::auth::GrantName;
use directory::StoreDirectory;
pub use directory::{DirectoryState, FileIdentity};
pub use document::{FileVersion, Refusal, RefusalReason, StoredGrant, Version};
pub use error::{LockError, StoreError};
pub use file::{StoredFile, UnusableFile};
pub use hold::{HeldGrant, Recovery};
pub use invalid_document::InvalidDocument;
pub use life::{MAX_REFRESHABLE_LIFE, RemainingLife};
pub use lock::{LOCK_RETRY_INTERVAL, LOCK_TIMEOUT};
pub use reservation::Reservation;
pub use token_text::{InvalidToken, MAX_TOKEN_BYTES, TokenText};
pub use transitions::{NewConsent, RefreshedTokens, scalar_members};

/// The largest document, in bytes. This is also the space that a [`Reservation`] holds.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// The directory in which tokens are stored. Each operation opens it again, so the store recovers
/// when a directory that was deleted is back.
#[derive(Clone, Debug)]
pub struct TokenStore {
    path: PathBuf,
}

impl TokenStore {
    /// Creates the store for this directory, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the file of a grant, for messages.
    pub fn file_path(&self, grant: &GrantName) -> PathBuf {
        self.path.join(file::document_name(grant))
    }

    /// Reads the file of a grant, without a lock.
    pub fn read(&self, grant: &GrantName) -> StoredFile {
        match StoreDirectory::open(&self.path) {
            Ok(directory) => file::read(&directory, grant),
            Err(error) => StoredFile::DirectoryUnavailable(error),
        }
    }

    /// Returns the identity of the file of a grant as it is now, or `None` if there is no file. A
    /// watcher need not read a file again that [`FileIdentity::is_unchanged`].
    pub fn identify(&self, grant: &GrantName) -> Option<FileIdentity> {
        let directory = StoreDirectory::open(&self.path).ok()?;
        directory.identify(&file::document_name(grant))
    }

    /// Takes the lock of a grant, and recovers a pending document of the same client (see
    /// [`crate::domain::auth::ConsentParameters::client`]). Tries it every
    /// [`LOCK_RETRY_INTERVAL`] until the timeout, which is [`LOCK_TIMEOUT`] except at shutdown.
    ///
    /// # Errors
    ///
    /// Fails if another process or thread holds the lock until the timeout, or if the store cannot
    /// be written.
    pub fn lock(
        &self,
        grant: &GrantName,
        client: &str,
        timeout: Duration,
    ) -> Result<HeldGrant, LockError> {
        lock::lock(self, grant, client, timeout)
    }

    /// Tries once to take the lock of a grant, without waiting. Returns `None` if it is held.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn try_lock(
        &self,
        grant: &GrantName,
        client: &str,
    ) -> Result<Option<HeldGrant>, StoreError> {
        lock::try_lock(self, grant, client)
    }

    /// Checks that a document of this grant can be saved: takes the lock, and creates and removes
    /// the pending file.
    ///
    /// # Errors
    ///
    /// Fails if the lock is held until the timeout, or if the store cannot be written.
    pub fn check_writable(
        &self,
        grant: &GrantName,
        client: &str,
        timeout: Duration,
    ) -> Result<(), LockError> {
        let held = self.lock(grant, client, timeout)?;
        held.reserve().map(drop).map_err(LockError::Unwritable)
    }

    /// Creates the directory with mode 0700 if it is missing, and missing parent directories with
    /// the same mode.
    ///
    /// # Errors
    ///
    /// Fails if the directory can neither be found nor created.
    pub fn create_directory(&self) -> io::Result<()> {
        directory::create(&self.path)
    }

    /// Returns the state of the directory. The hardened process may not call this.
    pub fn directory_state(&self) -> DirectoryState {
        directory::state(&self.path)
    }
}

#[cfg(test)]
mod tests;
