//! An event that one side of a test waits for and the other side triggers.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::PATIENCE;

/// A gate that is closed until it is opened, and then stays open. Clones are the same gate.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Creates a closed gate.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for all present and future waiters.
    pub(crate) fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Returns a guard that opens the gate when it is dropped.
    ///
    /// A failing test drops the guard too, so threads that wait for the gate always end, and no
    /// test waits for them forever.
    pub(crate) fn open_on_drop(&self) -> OpenOnDrop {
        OpenOnDrop(self.clone())
    }

    /// Returns `true` if the gate is open.
    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the gate is open.
    pub(crate) fn wait(&self) {
        let (open, changed) = &*self.0;
        let guard = open.lock().unwrap_or_else(PoisonError::into_inner);
        let (_open, wait) = changed
            .wait_timeout_while(guard, PATIENCE, |open| !*open)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!wait.timed_out(), "a gate was never opened");
    }
}

/// A guard that opens its gate when it is dropped.
#[must_use]
pub(crate) struct OpenOnDrop(Gate);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        self.0.open();
    }
}
