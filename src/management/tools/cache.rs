//! Tools are built and written once for each entry of a snapshot: ten thousand routes take longer than an answer should.

use std::sync::Arc;

use moka::sync::Cache;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::snapshot::Entry;

/// The most bytes of tools that are kept.
const KEPT: u64 = 32 * 1024 * 1024;

/// The tools of one connection, as JSON.
#[derive(Clone)]
pub(in crate::management) struct Tools(Arc<RawValue>);

/// The tools of the connections that were asked for last, by the entry's key.
pub(in crate::management) struct ToolCache(Cache<u64, Tools>);

impl Default for ToolCache {
    fn default() -> Self {
        let weigh =
            |_key: &u64, tools: &Tools| u32::try_from(tools.0.get().len()).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(KEPT).weigher(weigh).build())
    }
}

impl ToolCache {
    /// The tools of this entry.
    pub(in crate::management) fn of(&self, entry: &Entry) -> Tools {
        self.0.get_with(entry.key, || Tools::of(entry))
    }
}

impl Tools {
    fn of(entry: &Entry) -> Self {
        // Texts and JSON values always serialise.
        let connection = &entry.connection;
        let tools = super::of(
            connection.id.as_str(),
            entry.routes.patterns(),
            connection.allow_encoded_slash,
        );
        let written = to_raw_value(&tools).unwrap_or_else(|_never| RawValue::NULL.to_owned());
        Self(Arc::from(written))
    }
}

impl Serialize for Tools {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
