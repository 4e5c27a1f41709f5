//! When to reload: the operator asks (SIGHUP), the kernel says that something happened (inotify), or it is time to compare (a poll).
//!
//! Only contents decide: whatever wakes the thread, files are read and compared with what was loaded last. So a change is seen within seconds where inotify
//! does not work (some network and overlay file systems, a dead watch, a full queue), and a touched file reloads nothing.
//!
//! One thread, named `reload`, gives way to the workers. It and its inotify instance are made at the start; later it only opens what the configuration names,
//! and a watch that it is refused then costs time, not the change.

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

/// The longest that a change may stay unseen.
const POLL: Duration = Duration::from_secs(5);
/// No word for this long means that whoever writes has finished.
const QUIET: Duration = Duration::from_millis(200);
/// Nobody is waited for longer than this.
const MAX_UNREST: Duration = Duration::from_secs(1);
/// How often it is looked again whether anything changed before the last watch stood.
const MAX_ROUNDS: usize = 3;

/// What is watched, before the thread runs.
pub struct ReloadWatcher {
    notices: Result<DirectoryEvents, Errno>,
    mounted_files: Vec<PathBuf>,
    wake_receiver: PipeReader,
    wake_sender: PipeWriter,
}

/// Asks for reloads. The thread ends when it is dropped.
#[derive(Debug)]
pub struct ReloadHandle {
    wake_sender: PipeWriter,
    is_requested: Arc<AtomicBool>,
}

/// The thread.
struct WatchThread {
    notices: Option<DirectoryEvents>,
    reload: Reload,
    wake_receiver: PipeReader,
    is_requested: Arc<AtomicBool>,
}

/// Why the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WakeReason {
    /// Somebody asks for a reload.
    Asked,
    /// Something happened in a directory.
    Notice,
    /// It is time.
    Time,
    /// Nobody will ask again.
    Ended,
}

impl ReloadWatcher {
    /// Watches what was loaded, and looks for files that will never change under this process. Takes from the system what it will need: to be made before the
    /// process gives up rights.
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

    /// Tells what there is to warn of, and starts the thread. It begins by comparing: what changed since it was loaded is not missed.
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
    /// Asks for a reload, whether anything has changed or not. Who asks while one runs gets one that begins later than this.
    pub fn request_reload(&mut self) {
        if !self.is_requested.swap(true, AcqRel) {
            // One byte lies there at most. Without a thread there is nobody to tell.
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
                WakeReason::Asked => {
                    // It has told the log.
                    let _logged = self.reload.catch_panic(Reload::run);
                    self.reload_if_changed();
                }
                WakeReason::Notice | WakeReason::Time => self.reload_if_changed(),
                WakeReason::Ended => return,
            }
        }
    }

    /// Reloads if anything changed, and watches what is to be watched then.
    fn reload_if_changed(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let _logged = self.reload.catch_panic(Reload::run_if_changed);
            if !self.update_watches() {
                return;
            }
        }
    }

    /// Whether anything is watched that was not before. Half of the watches would tell half of the changes at once: without room for all there are none, and the
    /// poll tells all changes alike.
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

    /// Waits until whoever writes has finished, or long enough.
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

    /// Waits for whatever comes first.
    fn wait(&mut self, at_most: Duration) -> WakeReason {
        let end = Instant::now() + at_most;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Always in range: it is a few seconds.
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut events = vec![PollFd::new(&self.wake_receiver, PollFlags::IN)];
            let notices = self.notices.as_ref();
            events.extend(notices.map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)));
            match poll(&mut events, Some(&left)) {
                // A signal ended it early.
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
                _ if Instant::now() >= end => return WakeReason::Time,
                _ => {}
            }
        }
    }

    fn take_request(&mut self) -> WakeReason {
        // What is asked from here on is another reload.
        let read = self.wake_receiver.read(&mut [0]);
        self.is_requested.store(false, Release);
        if matches!(read, Ok(1)) {
            WakeReason::Asked
        } else {
            WakeReason::Ended
        }
    }
}
