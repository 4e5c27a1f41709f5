//! The flag that is set while memory is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A flag that is set while memory is short. All clones share one flag. [`super::MemoryMonitor`]
/// sets it, and the parts that then accept less work read it. A flag without a monitor is never
/// set.
#[derive(Clone, Debug, Default)]
pub struct MemoryShortage(Arc<AtomicBool>);

impl MemoryShortage {
    /// Returns whether memory is short.
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets the flag. Called by the monitor, and by unit tests.
    pub(crate) fn set(&self, is_short: bool) {
        self.0.store(is_short, Relaxed);
    }
}
