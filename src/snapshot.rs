//! The configuration as requests see it: immutable, swapped whole.
//!
//! Holds nothing that changes: no tokens, no pools, no counters. A request loads the current snapshot once, at its top, and keeps the entry that
//! it found there to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;

use crate::domain::Connection;
use crate::route::RouteTable;

/// One connection and its compiled routes.
pub struct Entry {
    /// A number that no other entry of this process has, whatever its generation.
    pub key: u64,
    /// The connection.
    pub connection: Connection,
    /// Its routes.
    pub routes: RouteTable,
    /// When this process first loaded a connection of this id.
    pub created: Timestamp,
    /// When this process last loaded it changed.
    pub updated: Timestamp,
}

/// One generation of the configuration.
pub struct Snapshot {
    entries: HashMap<Box<str>, Arc<Entry>>,
    ordered: Vec<Arc<Entry>>,
    generation: u64,
}

impl Snapshot {
    /// Compiles connections with distinct ids.
    pub fn compile(connections: Vec<Connection>, generation: u64) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let now = Timestamp::now();
        let ordered: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let (routes, _warned_of_at_load) =
                    RouteTable::compile(std::mem::take(&mut connection.allowed_routes));
                Arc::new(Entry {
                    key: KEYS.fetch_add(1, Ordering::Relaxed),
                    connection,
                    routes,
                    created: now,
                    updated: now,
                })
            })
            .collect();
        let entries = ordered
            .iter()
            .map(|entry| (entry.connection.id.as_str().into(), Arc::clone(entry)))
            .collect();
        Self {
            entries,
            ordered,
            generation,
        }
    }

    /// The entry of this id, soft-deleted ones included.
    pub fn find(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// All entries in the order of the definitions.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.ordered
    }

    /// Counts up with every publication.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The place where the current snapshot is.
pub struct Published(ArcSwap<Snapshot>);

impl Published {
    /// Publishes the first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// Swaps in another: requests that have loaded the old one keep it to their end.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The current one.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }
}
