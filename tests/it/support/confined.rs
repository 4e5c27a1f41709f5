//! A thread that is confined like the threads of egressd.

use std::thread::JoinHandle;

use egressd::hardening::{AllowedPaths, Hardening};

/// The state of the measures on such a thread.
pub(crate) struct Confined {
    /// The measures that hold.
    pub(crate) hardening: Hardening,
}

impl Confined {
    /// Returns the measures that this machine supports.
    pub(crate) fn for_this_machine() -> Self {
        let thread = std::thread::spawn(|| Hardening::begin().confine(&AllowedPaths::default()));
        Self {
            hardening: thread.join().unwrap(),
        }
    }

    /// Runs a closure on a confined thread.
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
