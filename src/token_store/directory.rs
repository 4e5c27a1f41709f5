//! The directory of the store: system calls on its entries, relative to an open descriptor.
//!
//! Only calls that the hardened process may make are used for reading and saving. In particular, a
//! file is opened either for reading, or with `O_WRONLY|O_CREAT` and without `O_TRUNC`, `O_APPEND`
//! and `O_TMPFILE`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Access, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The mode of the directory that `login` creates.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of each file.
const FILE_MODE: u32 = 0o600;
/// File systems in memory, whose files a restart deletes: tmpfs and ramfs (statfs(2)).
const MEMORY_FILE_SYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// The age at which a change time proves that a file did not change since. The kernel's time stamps
/// are coarse, so two changes in quick succession can have the same one.
const SETTLED_AGE: SignedDuration = SignedDuration::from_secs(2);

/// The state of the store's directory, for `check`.
#[derive(Debug)]
pub enum DirectoryState {
    /// The directory, or one of its parents, is missing.
    Missing,
    /// The directory cannot be opened, or the path leads to something else.
    Unusable(io::Error),
    /// The directory can be read only: a read-only mount, or missing rights.
    ReadOnly,
    /// Files can be created.
    Writable {
        /// `true` if the files are in memory and lost at a restart of the machine or container.
        is_in_memory: bool,
    },
}

/// The metadata that changes when a file is replaced or written. A watcher compares it instead of
/// the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
    /// `true` if the last change was long enough ago that a later one has another time.
    is_settled: bool,
}

/// The device and inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode(u64, u64);

/// An open directory.
pub(super) struct StoreDirectory {
    descriptor: OwnedFd,
}

impl FileIdentity {
    /// Returns whether a file with the identity `self` when it was read is certainly unchanged if
    /// its identity is now `other`.
    pub fn is_unchanged(&self, other: &Self) -> bool {
        let is_settled = true;
        self.is_settled
            && Self {
                is_settled,
                ..*self
            } == Self {
                is_settled,
                ..*other
            }
    }

    /// Returns the identity as if the file had not changed for a while.
    #[cfg(test)]
    pub(super) fn settled_for_test(self) -> Self {
        Self {
            is_settled: true,
            ..self
        }
    }

    #[expect(
        clippy::unnecessary_cast,
        reason = "the types of the fields differ between architectures"
    )]
    pub(super) fn from_stat(stat: &Stat) -> Self {
        let changed = (stat.st_ctime as i64, stat.st_ctime_nsec as u64);
        let changed_at = Timestamp::from_second(changed.0).unwrap_or(Timestamp::MAX);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size as i64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed,
            is_settled: Timestamp::now().duration_since(changed_at) > SETTLED_AGE,
        }
    }
}

impl Inode {
    pub(super) fn from_stat(stat: &Stat) -> Self {
        Self(stat.st_dev, stat.st_ino)
    }

    /// Returns the device and inode of an open file.
    pub(super) fn from_open_file(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }
}

impl StoreDirectory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { descriptor })
    }

    /// Opens a file for reading. Does not block, whatever the file is.
    pub(super) fn open_to_read(&self, name: &str, link: OFlags) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | link;
        let file = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty())?;
        Ok(File::from(file))
    }

    /// Opens a file for writing, and creates it if it is missing. With `OFlags::EXCL`, fails if it
    /// exists.
    pub(super) fn open_to_write(&self, name: &str, exclusive: OFlags) -> io::Result<File> {
        // Opening a pipe for writing would block without `NONBLOCK`.
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC
            | exclusive;
        let mode = Mode::from_raw_mode(FILE_MODE);
        let file = rustix::fs::openat(&self.descriptor, name, flags, mode)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(File::from(file))
    }

    /// Returns the device and inode of an entry, or `None` if there is none. Does not follow links.
    pub(super) fn inode(&self, name: &str) -> io::Result<Option<Inode>> {
        match self.stat(name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Inode::from_stat(&stat))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn stat(&self, name: &str, link: AtFlags) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.descriptor, name, link)?)
    }

    pub(super) fn identify(&self, name: &str) -> Option<FileIdentity> {
        let stat = self.stat(name, AtFlags::empty()).ok()?;
        Some(FileIdentity::from_stat(&stat))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let directory = &self.descriptor;
        Ok(rustix::fs::renameat(directory, from, directory, to)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let flags = AtFlags::empty();
        Ok(rustix::fs::unlinkat(&self.descriptor, name, flags)?)
    }

    /// Makes a rename durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
    }

    /// Returns whether this process may create files here. Landlock is not considered.
    pub(super) fn is_writable(&self) -> bool {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&self.descriptor, ".", access, AtFlags::empty()).is_ok()
    }

    /// Checks that the path still leads to this directory.
    pub(super) fn check_is_at(&self, path: &Path) -> io::Result<()> {
        let found = rustix::fs::statat(CWD, path, AtFlags::empty())?;
        if Inode::from_stat(&found) == Inode::from_open_file(&self.descriptor)? {
            Ok(())
        } else {
            Err(io::Error::other("the directory was replaced"))
        }
    }
}

pub(super) fn create(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)?;
    // Without this, a crash of the machine can remove the directory together with a grant that was
    // saved in it. Some file systems do not support it.
    if let Some(parent) = path.parent()
        && let Ok(parent) = StoreDirectory::open(parent)
    {
        let _unsupported = parent.sync();
    }
    Ok(())
}

pub(super) fn state(path: &Path) -> DirectoryState {
    let directory = match StoreDirectory::open(path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return DirectoryState::Missing,
        Err(error) => return DirectoryState::Unusable(error),
    };
    if !directory.is_writable() {
        return DirectoryState::ReadOnly;
    }
    let kind = rustix::fs::fstatfs(&directory.descriptor);
    let kind = kind.ok().and_then(|found| u64::try_from(found.f_type).ok());
    DirectoryState::Writable {
        is_in_memory: kind.is_some_and(|kind| MEMORY_FILE_SYSTEMS.contains(&kind)),
    }
}

/// Takes a lock on an open file. Returns `false` if it is held.
pub(super) fn try_flock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Releases the lock on an open file.
///
/// Closing the file is not enough: a process that another thread has forked, and that has not
/// executed its program yet, still has the file open.
pub(super) fn unlock(file: &File) {
    // The file is open, so this does not fail.
    let _released = rustix::fs::flock(file, FlockOperation::Unlock);
}
