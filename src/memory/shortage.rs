//! The flag that is set while memory is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Set while memory is short. All clones are one flag: [`super::MemoryMonitor`] sets it, and
/// everything that takes less then reads it. A flag without a monitor is never set.
#[derive(Clone, Debug, Default)]
pub struct MemoryShortage(Arc<AtomicBool>);

impl MemoryShortage {
    /// Returns whether memory is short.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets the flag. Besides the monitor only unit tests do.
    pub(crate) fn set(&self, is_short: bool) {
        self.0.store(is_short, Relaxed);
    }
}
