//! The lock of a grant: `flock(2)` on an empty file that is never removed.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};

use super::TokenStore;
use super::directory::{Inode, StoreDirectory, try_flock};
use super::error::{LockError, StoreError};
use super::file::lock_name;
use super::hold::HeldGrant;
use super::recovery::{self, Recovered};
use crate::domain::auth::GrantName;

/// The pause between two attempts to take a lock.
pub const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The usual time after which a lock is reported as held. It is longer than a token request, which
/// takes at most 10 s.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

/// The number of times that a lock file that was replaced is opened again at once.
const MAX_REPLACED: u32 = 3;

pub(super) fn lock(
    store: &TokenStore,
    grant: &GrantName,
    client: &str,
    timeout: Duration,
) -> Result<HeldGrant, LockError> {
    let start = Instant::now();
    loop {
        if let Some(held) = try_lock(store, grant, client)? {
            return Ok(held);
        }
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(LockError::Busy);
        }
        thread::sleep(LOCK_RETRY_INTERVAL.min(left));
    }
}

pub(super) fn try_lock(
    store: &TokenStore,
    grant: &GrantName,
    client: &str,
) -> Result<Option<HeldGrant>, StoreError> {
    let path = store.path();
    let directory =
        StoreDirectory::open(path).map_err(StoreError::at("open", &path.display().to_string()))?;
    let name = lock_name(grant);
    let Some(lock) = try_lock_file(&directory, &name).map_err(StoreError::at("lock", &name))?
    else {
        return Ok(None);
    };
    match recovery::recover(&directory, grant, client)? {
        Recovered::Done(recovery) => Ok(Some(HeldGrant::new(
            store.clone(),
            grant.clone(),
            directory,
            lock,
            recovery,
        ))),
        Recovered::Held => Ok(None),
    }
}

/// Takes the lock, or returns `None` if it is held.
fn try_lock_file(directory: &StoreDirectory, name: &str) -> io::Result<Option<File>> {
    for _ in 0..MAX_REPLACED {
        let file = directory.open_to_write(name, OFlags::empty())?;
        if !try_flock(&file, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(None);
        }
        // If the file was removed before it was locked, another process can have created and locked
        // a new one.
        if directory.inode(name)? == Some(Inode::from_open_file(&file)?) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}
