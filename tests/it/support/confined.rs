//! A thread that gave up what egressd's own threads give up.

use std::thread::JoinHandle;

use egressd::hardening::{AllowedPaths, Hardening};

/// What became of the measures on such a thread.
pub(crate) struct Confined {
    /// What it can hold.
    pub(crate) hardening: Hardening,
}

impl Confined {
    /// What this machine lets a process give up.
    pub(crate) fn for_this_machine() -> Self {
        let thread = std::thread::spawn(|| Hardening::begin().confine(&AllowedPaths::default()));
        Self {
            hardening: thread.join().unwrap(),
        }
    }

    /// Does this on a confined thread.
    pub(crate) fn run<T: Send + 'static>(
        needs: AllowedPaths,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let thread: JoinHandle<T> = std::thread::spawn(move || {
            let _hardening = Hardening::begin().confine(&needs);
            work()
        });
        thread.join().unwrap()
    }
}
