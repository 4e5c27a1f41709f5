//! Child processes with a time limit. Without it, a test that waits for a process that never ends,
//! or for a line that is never written, would block the whole run instead of failing.

use std::io::{self, Write as _};
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::PATIENCE;

/// Longer than [`PATIENCE`], so that a wait with a limit of its own fails first and reports why.
const LIMIT: Duration = PATIENCE.saturating_mul(2);

/// A child process that is killed after `LIMIT`, and when this is dropped.
pub(crate) struct LimitedChild {
    child: Child,
    limit: KillTimer,
}

/// Kills a process after `LIMIT`, or when it is dropped. A pidfd never refers to another process
/// that got the same number.
struct KillTimer {
    process: Arc<OwnedFd>,
    _ended: Sender<()>,
}

impl LimitedChild {
    /// Starts a process.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        let limit = KillTimer::for_child(&child);
        Self { child, limit }
    }

    /// Waits for the end of the process, and returns what it wrote to the pipes that were not
    /// taken.
    pub(crate) fn output(self) -> Output {
        let output = self.child.wait_with_output().unwrap();
        drop(self.limit);
        output
    }
}

impl Deref for LimitedChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for LimitedChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Runs a command to its end, like [`Command::output`].
pub(crate) fn output(command: &mut Command) -> Output {
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    LimitedChild::spawn(pipes.stdin(Stdio::null())).output()
}

impl KillTimer {
    fn for_child(child: &Child) -> Self {
        let process = Arc::new(pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap());
        let (ended, end) = channel();
        let (overdue, id) = (Arc::clone(&process), child.id());
        let thread = std::thread::Builder::new().name("world limit".to_owned());
        let watching = move || {
            if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _unheard = writeln!(io::stderr(), "process {id} was killed after {LIMIT:?}");
                let _ended = pidfd_send_signal(&*overdue, Signal::KILL);
            }
        };
        thread.spawn(watching).unwrap();
        Self {
            process,
            _ended: ended,
        }
    }
}

impl Drop for KillTimer {
    fn drop(&mut self) {
        // The kill fails if the process has already ended, as it does in a test that succeeds.
        let _ended = pidfd_send_signal(&*self.process, Signal::KILL);
    }
}
