//! A cache of the tools of connections. They are built and serialised once for each entry of a
//! snapshot, because ten thousand routes take longer than a response should.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use moka::sync::Cache;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::snapshot::ConnectionEntry;
use crate::tools::build_tools;

/// The maximum size of the cache, in bytes of JSON.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// The number of added entries after which the tools of replaced connections are removed.
const REMOVAL_INTERVAL: usize = 64;

/// The tools of one connection, as JSON.
#[derive(Clone)]
pub(super) struct ToolsJson(Arc<RawValue>);

/// The tools of the connections that were requested last, by the key of their snapshot entry.
pub(super) struct ToolCache {
    cached: Cache<u64, CachedTools>,
    /// The number of entries added since the start.
    added: AtomicUsize,
}

#[derive(Clone)]
struct CachedTools {
    // A strong reference would keep a replaced connection with its secrets in memory.
    entry: Weak<ConnectionEntry>,
    tools: ToolsJson,
}

impl Default for ToolCache {
    fn default() -> Self {
        let weigh = |_key: &u64, cached: &CachedTools| {
            // moka's weights are `u32`.
            u32::try_from(cached.tools.0.get().len()).unwrap_or(u32::MAX)
        };
        Self {
            cached: Cache::builder()
                .max_capacity(MAX_BYTES)
                .weigher(weigh)
                .build(),
            added: AtomicUsize::new(0),
        }
    }
}

impl ToolCache {
    /// Returns the tools of this entry, and builds them if they are not in the cache.
    pub(super) fn get(&self, entry: &Arc<ConnectionEntry>) -> ToolsJson {
        // moka runs one build for concurrent calls with the same key; the others wait for it.
        let mut is_removal_due = false;
        let cached = self.cached.get_with(entry.key, || {
            let added = self.added.fetch_add(1, Relaxed) + 1;
            is_removal_due = added.is_multiple_of(REMOVAL_INTERVAL);
            CachedTools {
                entry: Arc::downgrade(entry),
                tools: ToolsJson::new(entry),
            }
        });
        if is_removal_due {
            self.remove_replaced();
        }
        cached.tools
    }

    /// Removes the tools of entries that no generation holds any more. A rotated secret makes a new
    /// entry, so without this the cache would grow to its limit.
    fn remove_replaced(&self) {
        for (key, cached) in &self.cached {
            if cached.entry.strong_count() == 0 {
                self.cached.invalidate(&*key);
            }
        }
    }
}

impl ToolsJson {
    fn new(entry: &ConnectionEntry) -> Self {
        // Strings and JSON values always serialise.
        let connection = &entry.connection;
        let tools = build_tools(
            connection.id.as_str(),
            entry.connection.routes.patterns(),
            connection.allow_encoded_slash,
        );
        let written = to_raw_value(&tools).unwrap_or_else(|_never| RawValue::NULL.to_owned());
        Self(Arc::from(written))
    }
}

impl Serialize for ToolsJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::{REMOVAL_INTERVAL, ToolCache};
    use crate::management::view::tests::connections;
    use crate::snapshot::Snapshot;

    #[test]
    fn tools_of_replaced_connections_are_removed() {
        // F-271
        let cache = ToolCache::default();
        let mut snapshot = Snapshot::new(connections("secret-0"));
        let live = snapshot.entries().len();
        for generation in 1..1000 {
            for entry in snapshot.entries() {
                cache.get(entry);
            }
            snapshot = snapshot.next_generation(connections(&format!("secret-{generation}")));
        }
        cache.cached.run_pending_tasks();
        let most = u64::try_from(2 * (REMOVAL_INTERVAL + live)).unwrap();
        assert!(
            cache.cached.entry_count() <= most,
            "{}",
            cache.cached.entry_count()
        );
    }
}
