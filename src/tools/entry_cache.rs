//! A cache of what is made from the routes of connections. It is made once for each entry of a
//! snapshot, because ten thousand routes take longer than a response should.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use moka::sync::Cache;

use crate::snapshot::ConnectionEntry;

/// The number of added entries after which the values of replaced connections are removed.
const REMOVAL_INTERVAL: usize = 64;

/// The values of the connections that were requested last, by the revision of their snapshot entry.
pub struct EntryCache<T> {
    cached: Cache<u64, CachedValue<T>>,
    /// The number of entries added since the start.
    added: AtomicUsize,
}

#[derive(Clone)]
struct CachedValue<T> {
    // A strong reference would keep a replaced connection with its secrets in memory.
    entry: Weak<ConnectionEntry>,
    value: T,
}

impl<T: Clone + Send + Sync + 'static> EntryCache<T> {
    /// Creates a cache of at most this many bytes. `size` returns the bytes of a value.
    pub fn new(max_bytes: u64, size: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        let weigh = move |_key: &u64, cached: &CachedValue<T>| {
            // moka's weights are `u32`.
            u32::try_from(size(&cached.value)).unwrap_or(u32::MAX)
        };
        Self {
            cached: Cache::builder()
                .max_capacity(max_bytes)
                .weigher(weigh)
                .build(),
            added: AtomicUsize::new(0),
        }
    }

    /// Returns the value of this entry, and makes it if it is not in the cache.
    pub fn get_or_make(
        &self,
        entry: &Arc<ConnectionEntry>,
        make: impl FnOnce(&ConnectionEntry) -> T,
    ) -> T {
        // moka runs one `make` for concurrent calls with the same key; the others wait for it.
        let mut is_removal_due = false;
        let cached = self.cached.get_with(entry.revision, || {
            let added = self.added.fetch_add(1, Relaxed) + 1;
            is_removal_due = added.is_multiple_of(REMOVAL_INTERVAL);
            CachedValue {
                entry: Arc::downgrade(entry),
                value: make(entry),
            }
        });
        if is_removal_due {
            self.remove_replaced();
        }
        cached.value
    }

    /// Removes the values of entries that no generation holds any more. A rotated secret makes a
    /// new entry, so without this the cache would grow to its limit.
    fn remove_replaced(&self) {
        for (key, cached) in &self.cached {
            if cached.entry.strong_count() == 0 {
                self.cached.invalidate(&*key);
            }
        }
    }

    /// Returns the number of values in the cache, and the most that may be there after connections
    /// were replaced, while this many are live.
    #[cfg(test)]
    pub(crate) fn count_and_limit(&self, live: usize) -> (u64, u64) {
        self.cached.run_pending_tasks();
        let limit = 2 * (REMOVAL_INTERVAL + live);
        (self.cached.entry_count(), limit as u64)
    }
}
