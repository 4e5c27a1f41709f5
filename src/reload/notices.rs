//! Watches directories with inotify. An event only means that something happened in a directory;
//! the reload finds out what, by comparing contents. So a lost event delays a reload, and has no
//! other effect.
//!
//! The system calls are made through rustix instead of a crate for watching files. Such crates add
//! recursion, matching of renames, other systems and a thread, and none of that is needed here.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// The size in bytes of the read buffer: room for tens of events.
const BUFFER: usize = 4096;

/// An inotify instance and its watches.
pub(super) struct DirectoryEvents {
    instance: OwnedFd,
    watches: BTreeSet<i32>,
}

impl DirectoryEvents {
    /// Creates the one instance that the process needs. It is never created again.
    pub(super) fn new() -> Result<Self, Errno> {
        let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            instance,
            watches: BTreeSet::new(),
        })
    }

    /// Watches these directories and no others. Returns whether any of them was not watched before.
    ///
    /// # Errors
    ///
    /// Returns the error of a directory that the system has no room to watch. A directory that is
    /// missing or not readable is not an error: its parent is watched, or the next comparison finds
    /// the change.
    pub(super) fn watch_only(&mut self, directories: &BTreeSet<PathBuf>) -> Result<bool, Errno> {
        // `IN_ACCESS` and `IN_OPEN` are not included, because egressd itself reads these
        // directories.
        let changes = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut now = BTreeSet::new();
        let mut full = None;
        for directory in directories {
            // A directory that is already watched keeps its watch descriptor
            // (inotify_add_watch(2)).
            match inotify::add_watch(&self.instance, directory, changes) {
                Ok(watch) => {
                    now.insert(watch);
                }
                Err(error @ (Errno::NOSPC | Errno::NOMEM)) => full = Some(error),
                Err(_) => {}
            }
        }
        for gone in self.watches.difference(&now) {
            // The kernel removes the watch of a deleted directory itself, so this call may fail.
            let _gone = inotify::remove_watch(&self.instance, *gone);
        }
        let new = !now.is_subset(&self.watches);
        self.watches = now;
        full.map_or(Ok(new), Err)
    }

    /// Reads and discards all pending events.
    pub(super) fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.instance, &mut buffer);
        while reader.next().is_ok() {}
    }
}

impl AsFd for DirectoryEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}
