//! Numbers with one writer and any number of readers.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A number that one thread at a time writes.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number, without an atomic read-modify-write: the caller excludes other writers.
    pub(super) fn add(&self, more: u64) {
        self.set(self.0.load(Relaxed).wrapping_add(more));
    }

    pub(super) fn set(&self, number: u64) {
        self.0.store(number, Release);
    }

    /// Returns the number. A reader that sees a new value also sees everything that was written
    /// before it.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }
}

/// Counts the exchanges that ended with one code.
#[derive(Debug, Default)]
pub(super) struct FaultCounter {
    pub(super) count: Counter,
    /// The exchanges that egressd answered with the code; the others were cut off.
    pub(super) answered: Counter,
    /// The time when the last exchange with the code ended, in Unix milliseconds.
    pub(super) last: Counter,
}

impl FaultCounter {
    /// Adds the counts of another worker.
    pub(super) fn merge(&self, other: &Self) {
        self.count.add(other.count.get());
        self.answered.add(other.answered.get());
        self.last.set(self.last.get().max(other.last.get()));
    }
}
