//! The tools of connections as JSON.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::snapshot::ConnectionEntry;
use crate::tools::{EntryCache, build_tools};

/// The maximum size of the cache, in bytes of JSON.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The tools of one connection, as JSON.
#[derive(Clone)]
pub(super) struct ToolsJson(Arc<RawValue>);

/// The tools of the connections that were requested last.
pub(super) struct ToolCache(EntryCache<ToolsJson>);

impl Default for ToolCache {
    fn default() -> Self {
        Self(EntryCache::new(MAX_BYTES, |tools: &ToolsJson| {
            tools.0.get().len()
        }))
    }
}

impl ToolCache {
    /// Returns the tools of this entry.
    pub(super) fn get(&self, entry: &Arc<ConnectionEntry>) -> ToolsJson {
        self.0.get_or_make(entry, ToolsJson::new)
    }
}

impl ToolsJson {
    fn new(entry: &ConnectionEntry) -> Self {
        let mut tools = build_tools(&entry.connection);
        if !entry.is_live() {
            tools.iter_mut().for_each(|tool| tool.is_enabled = false);
        }
        // Strings and JSON values always serialise.
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
    use super::ToolCache;
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
        let (count, limit) = cache.0.count_and_limit(live);
        assert!(count <= limit, "{count}");
    }
}
