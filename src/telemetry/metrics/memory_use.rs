//! What was last seen of the process's memory limit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A memory limit, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be.
    pub limit: u64,
    /// New requests are refused, but for few at a time.
    pub is_short: bool,
}

/// One writer, and readers whom a mixture of two looks does no harm.
#[derive(Debug, Default)]
pub(super) struct MemoryGauge {
    used: AtomicU64,
    /// 0: there is none.
    limit: AtomicU64,
    is_short: AtomicBool,
}

impl MemoryGauge {
    pub(super) fn write(&self, seen: Option<MemoryUse>) {
        let (used, limit) = seen.map_or((0, 0), |seen| (seen.used, seen.limit));
        self.used.store(used, Relaxed);
        self.limit.store(limit, Relaxed);
        self.is_short
            .store(seen.is_some_and(|seen| seen.is_short), Relaxed);
    }

    pub(super) fn read(&self) -> Option<MemoryUse> {
        let limit = self.limit.load(Relaxed);
        (limit > 0).then(|| MemoryUse {
            used: self.used.load(Relaxed),
            limit,
            is_short: self.is_short.load(Relaxed),
        })
    }
}
