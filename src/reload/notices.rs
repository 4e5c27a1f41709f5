//! inotify: the kernel's word that something happens in a directory. What happened is for whoever compares contents to find out, so a lost word costs time
//! and nothing else.
//!
//! The system's own calls through rustix, and no crate for watching: of what those add (recursion, renames told apart, other systems, a thread) nothing is
//! needed here.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What is read at once: tens of events.
const BUFFER: usize = 4096;

/// An inotify instance and what it watches.
pub(super) struct DirectoryEvents {
    instance: OwnedFd,
    watches: BTreeSet<i32>,
}

impl DirectoryEvents {
    /// The one that the process needs; another is never made.
    pub(super) fn new() -> Result<Self, Errno> {
        let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            instance,
            watches: BTreeSet::new(),
        })
    }

    /// Watches these directories from now on, and no others. `Ok` of whether any is new; the error of one that the system has no room for. A directory that
    /// is not there, or closed to us, is no error: its parent is watched, or the next comparison will tell.
    pub(super) fn watch_only(&mut self, directories: &BTreeSet<PathBuf>) -> Result<bool, Errno> {
        // Reading is not among them: we read.
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
            // One that is watched already keeps its number.
            match inotify::add_watch(&self.instance, directory, changes) {
                Ok(watch) => {
                    now.insert(watch);
                }
                Err(error @ (Errno::NOSPC | Errno::NOMEM)) => full = Some(error),
                Err(_) => {}
            }
        }
        for gone in self.watches.difference(&now) {
            // A directory that is gone has taken its watch along.
            let _gone = inotify::remove_watch(&self.instance, *gone);
        }
        let new = !now.is_subset(&self.watches);
        self.watches = now;
        full.map_or(Ok(new), Err)
    }

    /// Takes all words that wait.
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
