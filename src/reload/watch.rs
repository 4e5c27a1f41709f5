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

use super::notices::Notices;
use super::{Reload, mounts};
use crate::config::Sources;
use crate::telemetry::Event;

/// The longest that a change may stay unseen.
const POLL: Duration = Duration::from_secs(5);
/// No word for this long means that whoever writes has finished.
const QUIET: Duration = Duration::from_millis(200);
/// Nobody is waited for longer than this.
const RESTLESS: Duration = Duration::from_secs(1);
/// How much the thread gives way (`nice`): it is in no hurry, agents are.
const GIVING_WAY: i32 = 10;
/// How often it is looked again whether anything changed before the last watch stood.
const ROUNDS: usize = 3;

/// What is watched, before the thread runs.
pub struct Watch {
    notices: Option<Notices>,
    /// Why there are none, until it is told.
    refused: Option<Errno>,
    alone: Vec<PathBuf>,
    woken: PipeReader,
    wakes: PipeWriter,
}

/// Asks for reloads. The thread ends when it is dropped.
#[derive(Debug)]
pub struct Asking {
    wakes: PipeWriter,
    asked: Arc<AtomicBool>,
}

/// The thread.
struct WatchThread {
    notices: Option<Notices>,
    reload: Reload,
    woken: PipeReader,
    asked: Arc<AtomicBool>,
}

/// Why the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Somebody asks for a reload.
    Asked,
    /// Something happened in a directory.
    Notice,
    /// It is time.
    Time,
    /// Nobody will ask again.
    Ended,
}

impl Watch {
    /// Watches what was loaded, and looks for files that will never change under this process. Takes from the system what it will need: to be made before the
    /// process gives up rights.
    pub fn new(sources: &Sources) -> io::Result<Self> {
        let alone = mounts::single_file_mounts(&mounts::of_this_process(), sources.files());
        let alone = alone.into_iter().map(Path::to_owned).collect();
        let (woken, wakes) = io::pipe()?;
        let made = Notices::new().and_then(|mut notices| {
            notices.follow(&sources.watched_directories())?;
            Ok(notices)
        });
        let (notices, refused) = match made {
            Ok(notices) => (Some(notices), None),
            Err(error) => (None, Some(error)),
        };
        Ok(Self {
            notices,
            refused,
            alone,
            woken,
            wakes,
        })
    }

    /// Tells what there is to warn of, and starts the thread. It begins by comparing: what changed since it was loaded is not missed.
    pub fn start(self, reload: Reload) -> io::Result<Asking> {
        for file in self.alone {
            let file = file.display().to_string().into();
            reload.log_event(Event::MountedAlone { file });
        }
        if let Some(error) = self.refused {
            reload.log_event(unwatched_event(error));
        }
        let asked = Arc::new(AtomicBool::new(false));
        let watching = WatchThread {
            notices: self.notices,
            reload,
            woken: self.woken,
            asked: Arc::clone(&asked),
        };
        std::thread::Builder::new()
            .name("reload".into())
            .spawn(move || watching.run())?;
        let wakes = self.wakes;
        Ok(Asking { wakes, asked })
    }
}

fn unwatched_event(error: Errno) -> Event {
    let why = io::Error::from(error).to_string().into();
    Event::Unwatched { why }
}

impl Asking {
    /// Asks for a reload, whether anything has changed or not. Who asks while one runs gets one that begins later than this.
    pub fn ask(&mut self) {
        if !self.asked.swap(true, AcqRel) {
            // One byte lies there at most. Without a thread there is nobody to tell.
            let _gone = self.wakes.write_all(&[0]);
        }
    }
}

impl WatchThread {
    fn run(mut self) {
        // Linux keeps a priority for each thread, and nobody is forbidden to lower his own. Where it fails all the same, nothing is lost but the courtesy.
        let _unchanged = rustix::process::setpriority_process(None, GIVING_WAY);
        self.look();
        loop {
            let mut cause = self.wait(POLL);
            if cause == Cause::Notice {
                cause = self.settle();
            }
            match cause {
                Cause::Asked => {
                    // It has told the log.
                    let _logged = self.reload.catch_panic(Reload::run);
                    self.look();
                }
                Cause::Notice | Cause::Time => self.look(),
                Cause::Ended => return,
            }
        }
    }

    /// Reloads if anything changed, and watches what is to be watched then.
    fn look(&mut self) {
        for _ in 0..ROUNDS {
            let _logged = self.reload.catch_panic(Reload::run_if_changed);
            if !self.follow() {
                return;
            }
        }
    }

    /// Whether anything is watched that was not before. Half of the watches would tell half of the changes at once: without room for all there are none, and the
    /// poll tells all changes alike.
    fn follow(&mut self) -> bool {
        let Some(notices) = self.notices.as_mut() else {
            return false;
        };
        notices
            .follow(&self.reload.watched())
            .unwrap_or_else(|error| {
                self.notices = None;
                self.reload.log_event(unwatched_event(error));
                false
            })
    }

    /// Waits until whoever writes has finished, or long enough.
    fn settle(&mut self) -> Cause {
        let begun = Instant::now();
        loop {
            let left = RESTLESS.saturating_sub(begun.elapsed());
            let cause = self.wait(QUIET.min(left));
            if cause != Cause::Notice || begun.elapsed() >= RESTLESS {
                return cause;
            }
        }
    }

    /// Waits for whatever comes first.
    fn wait(&mut self, at_most: Duration) -> Cause {
        let end = Instant::now() + at_most;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Always in range: it is a few seconds.
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut events = vec![PollFd::new(&self.woken, PollFlags::IN)];
            let notices = self.notices.as_ref();
            events.extend(notices.map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)));
            match poll(&mut events, Some(&left)) {
                // A signal ended it early.
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(end.saturating_duration_since(Instant::now())),
            }
            let ready: Vec<PollFlags> = events.iter().map(PollFd::revents).collect();
            match ready.as_slice() {
                [asked, ..] if asked.contains(PollFlags::IN) => return self.asked(),
                [asked, ..] if !asked.is_empty() => return Cause::Ended,
                [_, notice] if !notice.is_empty() => {
                    notices.iter().for_each(|it| it.drain());
                    return Cause::Notice;
                }
                _ if Instant::now() >= end => return Cause::Time,
                _ => {}
            }
        }
    }

    fn asked(&mut self) -> Cause {
        // What is asked from here on is another reload.
        let read = self.woken.read(&mut [0]);
        self.asked.store(false, Release);
        if matches!(read, Ok(1)) {
            Cause::Asked
        } else {
            Cause::Ended
        }
    }
}
