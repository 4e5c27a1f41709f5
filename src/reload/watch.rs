//! Decides when to reload: on the operator's request (SIGHUP), when the kernel reports a change
//! (inotify), and at regular intervals (a poll).
//!
//! Only contents decide. Whatever wakes the thread, it reads the files and compares them with what
//! was loaded last. So a change is found within seconds where inotify does not work (some network
//! and overlay file systems, a removed watch, a full queue), and a file whose timestamp alone
//! changed causes no reload.
//!
//! The thread is named `reload` and has a lower priority than the workers. It and its inotify
//! instance are created at the start, before hardening. Later it only opens the files that the
//! configuration names. If a watch is then refused, changes are found later, by the poll.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Release},
};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::notices::DirectoryEvents;
use super::{Reload, mounts};
use crate::config::SourceFiles;
use crate::os;
use crate::telemetry::Event;

/// The longest time that a change may stay undetected.
const POLL: Duration = Duration::from_secs(5);
/// A writer is assumed to have finished when no event has arrived for this long.
const QUIET: Duration = Duration::from_millis(200);
/// The longest wait for a writer to finish.
const MAX_UNREST: Duration = Duration::from_secs(1);
/// The number of times that the files are compared again because a watch was added. A change may
/// have happened just before the watch.
const MAX_ROUNDS: usize = 3;

/// The prepared watches, before the thread runs.
pub struct ReloadWatcher {
    notices: Result<DirectoryEvents, Errno>,
    mounted_files: Vec<PathBuf>,
    wake_receiver: PipeReader,
    wake_sender: PipeWriter,
}

/// Requests reloads. The thread ends when the handle is dropped.
#[derive(Debug)]
pub struct ReloadHandle {
    wake_sender: PipeWriter,
    is_requested: Arc<AtomicBool>,
}

/// The state of the thread.
struct WatchThread {
    notices: Option<DirectoryEvents>,
    reload: Reload,
    wake_receiver: PipeReader,
    is_requested: Arc<AtomicBool>,
}

/// The reason why the thread woke up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WakeReason {
    /// A reload was requested.
    Requested,
    /// An event arrived for a directory.
    Notice,
    /// The wait is over.
    Interval,
    /// The handle was dropped.
    Ended,
}

impl ReloadWatcher {
    /// Watches the loaded files, and finds those that will never change under this process.
    /// Allocates all system resources that the thread needs, so it is called before hardening.
    pub fn new(sources: &SourceFiles) -> io::Result<Self> {
        let mounted_files = mounts::single_file_mounts(&mounts::read_mountinfo(), sources.files());
        let mounted_files = mounted_files.into_iter().map(Path::to_owned).collect();
        let (wake_receiver, wake_sender) = io::pipe()?;
        let notices = DirectoryEvents::new().and_then(|mut notices| {
            notices.watch_only(&sources.watched_directories())?;
            Ok(notices)
        });
        Ok(Self {
            notices,
            mounted_files,
            wake_receiver,
            wake_sender,
        })
    }

    /// Logs warnings about the watched files, and starts the thread. The thread first compares the
    /// files, so a change since they were loaded is not missed.
    pub fn start(self, reload: Reload) -> io::Result<ReloadHandle> {
        for file in self.mounted_files {
            let file = file.display().to_string().into();
            reload.log_event(Event::MountedAlone { file });
        }
        if let Err(error) = &self.notices {
            reload.log_event(unwatched_event(*error));
        }
        let is_requested = Arc::new(AtomicBool::new(false));
        let watching = WatchThread {
            notices: self.notices.ok(),
            reload,
            wake_receiver: self.wake_receiver,
            is_requested: Arc::clone(&is_requested),
        };
        std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || watching.run())?;
        let wake_sender = self.wake_sender;
        Ok(ReloadHandle {
            wake_sender,
            is_requested,
        })
    }
}

fn unwatched_event(error: Errno) -> Event {
    let why = io::Error::from(error).to_string().into();
    Event::Unwatched { why }
}

impl ReloadHandle {
    /// Requests a reload, whether anything has changed or not. A request during a reload causes
    /// another one that begins after this call.
    pub fn request_reload(&mut self) {
        if !self.is_requested.swap(true, AcqRel) {
            // The pipe holds at most one byte, so this write never blocks. If the thread has ended,
            // the write fails and there is nothing to do.
            let _gone = self.wake_sender.write_all(&[0]);
        }
    }
}

impl WatchThread {
    fn run(mut self) {
        os::lower_thread_priority();
        self.reload_if_changed();
        loop {
            let mut reason = self.wait(POLL);
            if reason == WakeReason::Notice {
                reason = self.wait_until_quiet();
            }
            match reason {
                WakeReason::Requested => {
                    // The reload has logged its outcome.
                    let _logged = self.reload.catch_panic(Reload::run);
                    // Updates the watches, because the reload may have found other directories.
                    self.reload_if_changed();
                }
                WakeReason::Notice | WakeReason::Interval => self.reload_if_changed(),
                WakeReason::Ended => return,
            }
        }
    }

    /// Reloads if anything changed, and updates the watches.
    fn reload_if_changed(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let _logged = self.reload.catch_panic(Reload::run_if_changed);
            if !self.update_watches() {
                return;
            }
        }
    }

    /// Updates the watches. Returns whether a directory was added. If the system has no room for
    /// all watches, none are kept: with only some, part of a change would be loaded before the
    /// rest, while the poll finds all changes at the same time.
    fn update_watches(&mut self) -> bool {
        let Some(notices) = self.notices.as_mut() else {
            return false;
        };
        notices
            .watch_only(&self.reload.watched_directories())
            .unwrap_or_else(|error| {
                self.notices = None;
                self.reload.log_event(unwatched_event(error));
                false
            })
    }

    /// Waits until the writer has finished, but not longer than [`MAX_UNREST`].
    fn wait_until_quiet(&mut self) -> WakeReason {
        let begun = Instant::now();
        loop {
            let left = MAX_UNREST.saturating_sub(begun.elapsed());
            let reason = self.wait(QUIET.min(left));
            if reason != WakeReason::Notice || begun.elapsed() >= MAX_UNREST {
                return reason;
            }
        }
    }

    /// Waits for a request, an event or the end of the time, whichever comes first.
    fn wait(&mut self, at_most: Duration) -> WakeReason {
        let end = Instant::now() + at_most;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A few seconds, so always in range.
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut events = vec![PollFd::new(&self.wake_receiver, PollFlags::IN)];
            let notices = self.notices.as_ref();
            events.extend(notices.map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)));
            match poll(&mut events, Some(&left)) {
                // A signal interrupted the call.
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(end.saturating_duration_since(Instant::now())),
            }
            let ready: Vec<PollFlags> = events.iter().map(PollFd::revents).collect();
            match ready.as_slice() {
                [request, ..] if request.contains(PollFlags::IN) => {
                    return self.take_request();
                }
                [request, ..] if !request.is_empty() => return WakeReason::Ended,
                [_, notice] if !notice.is_empty() => {
                    notices.iter().for_each(|it| it.drain());
                    return WakeReason::Notice;
                }
                _ if Instant::now() >= end => return WakeReason::Interval,
                _ => {}
            }
        }
    }

    fn take_request(&mut self) -> WakeReason {
        // A request from here on causes another reload.
        let read = self.wake_receiver.read(&mut [0]);
        self.is_requested.store(false, Release);
        if matches!(read, Ok(1)) {
            WakeReason::Requested
        } else {
            WakeReason::Ended
        }
    }
}
