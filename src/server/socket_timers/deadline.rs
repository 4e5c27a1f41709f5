//! A time limit that one thread sets and others read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The time of a limit that is not running.
pub(super) const NEVER: u64 = u64::MAX;

/// The due time of a limit that counts as passed at once.
const PASSED: u64 = 0;

/// The time when a limit passes, in milliseconds of the ticker of the socket.
pub(super) struct Deadline(AtomicU64);

impl Deadline {
    pub(super) fn at(due: u64) -> Self {
        Self(AtomicU64::new(due))
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, due: u64) {
        self.0.store(due, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.set(NEVER);
    }

    /// Makes the limit pass at once.
    pub(super) fn expire(&self) {
        self.set(PASSED);
    }

    pub(super) fn is_running(&self) -> bool {
        self.get() != NEVER
    }

    pub(super) fn is_expired(&self) -> bool {
        self.get() == PASSED
    }

    pub(super) fn has_passed(&self, now: u64) -> bool {
        now >= self.get()
    }

    /// Moves a running limit by this many milliseconds.
    pub(super) fn postpone(&self, by: u64) {
        if self.is_running() && !self.is_expired() {
            self.set(self.get().saturating_add(by));
        }
    }
}

/// Returns a duration in milliseconds, or [`NEVER`] if it is too long.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}
