//! The configuration as requests see it: immutable, and replaced as a whole.
//!
//! A snapshot contains nothing that changes: no tokens, no pools, no counters. A request loads the
//! current snapshot once, at its start, and keeps the entry that it finds there until its end.

mod difference;
mod fingerprint;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;

use crate::domain::connector::Connector;
use crate::domain::{Ceilings, Connection};

/// A connection, with the times at which it was loaded and changed.
pub struct ConnectionEntry {
    /// The number under which the state of the connection is stored: its sockets and its
    /// credential. It is unique among the connections of all generations. A connection keeps it if
    /// a reload changes nothing but its descriptions.
    pub key: u64,
    /// A number that is unique in this process. An entry that a reload changes in any way gets
    /// another one.
    pub revision: u64,
    /// The connection.
    pub connection: Arc<Connection>,
    /// The time at which this process first loaded a connection of this id.
    pub created: Timestamp,
    /// The time at which this process last loaded a change of the connection.
    pub updated: Timestamp,
    /// The time of the reload that no longer found the connection, if there was one.
    vanished: Option<Timestamp>,
}

/// A generation of the configuration.
pub struct Snapshot {
    entries: HashMap<Box<str>, Arc<ConnectionEntry>, BuildHasherDefault<IdHasher>>,
    ordered: Vec<Arc<ConnectionEntry>>,
    generation: u64,
    ceilings: Ceilings,
    connectors: Vec<Arc<Connector>>,
    hash: Box<str>,
    compiled: Timestamp,
}

impl ConnectionEntry {
    fn new(connection: Connection, created: Timestamp, updated: Timestamp) -> Self {
        Self::with_key(next_number(), connection, created, updated)
    }

    fn with_key(key: u64, connection: Connection, created: Timestamp, updated: Timestamp) -> Self {
        Self {
            key,
            revision: next_number(),
            connection: Arc::new(connection),
            created,
            updated,
            vanished: None,
        }
    }

    fn to_vanished(&self, now: Timestamp) -> Self {
        Self {
            key: next_number(),
            revision: next_number(),
            connection: Arc::clone(&self.connection),
            created: self.created,
            updated: now,
            vanished: Some(now),
        }
    }

    /// Returns the time at which the connection was soft-deleted: by its definition, or because its
    /// definition vanished.
    pub fn delete_time(&self) -> Option<Timestamp> {
        self.vanished.or(self.connection.delete_time)
    }

    /// Returns whether the connection is not soft-deleted. A disabled connection is live, and
    /// refuses requests.
    pub fn is_live(&self) -> bool {
        self.delete_time().is_none()
    }

    /// Returns whether the entry still exists and equals this definition.
    fn matches_definition(&self, connection: &Connection) -> bool {
        self.is_defined() && self.connection.changed_fields(connection).is_empty()
    }

    /// Returns whether the entry still exists and differs from this definition at most in names and
    /// descriptions.
    fn handles_requests_like(&self, connection: &Connection) -> bool {
        self.is_defined() && self.connection.differs_only_in_descriptions(connection)
    }
}

impl Snapshot {
    /// Creates the first generation, from connections with distinct ids.
    pub fn new(connections: Vec<Connection>) -> Self {
        let now = Timestamp::now();
        let fresh = |connection| Arc::new(ConnectionEntry::new(connection, now, now));
        Self::from_entries(connections.into_iter().map(fresh).collect(), 1, now)
    }

    /// Creates the next generation. A connection that did not change keeps its entry. One that
    /// vanished stays, soft-deleted.
    pub fn next_generation(&self, connections: Vec<Connection>) -> Self {
        let now = Timestamp::now();
        let mut ordered: Vec<_> = connections
            .into_iter()
            .map(|connection| match self.find(connection.id.as_str()) {
                Some(entry) if entry.matches_definition(&connection) => Arc::clone(entry),
                Some(entry) if entry.handles_requests_like(&connection) => Arc::new(
                    ConnectionEntry::with_key(entry.key, connection, entry.created, now),
                ),
                earlier => {
                    let created = earlier.map_or(now, |entry| entry.created);
                    Arc::new(ConnectionEntry::new(connection, created, now))
                }
            })
            .collect();
        let found: HashSet<&str> = ordered
            .iter()
            .map(|entry| entry.connection.id.as_str())
            .collect();
        let vanished: Vec<_> = self
            .ordered
            .iter()
            .filter(|entry| !found.contains(entry.connection.id.as_str()))
            // Vanished connections are kept, so that the management API can show them as
            // soft-deleted.
            .map(|entry| match entry.vanished {
                Some(_) => Arc::clone(entry),
                None => Arc::new(entry.to_vanished(now)),
            })
            .collect();
        ordered.extend(vanished);
        Self::from_entries(ordered, self.generation + 1, now)
    }

    fn from_entries(
        ordered: Vec<Arc<ConnectionEntry>>,
        generation: u64,
        compiled: Timestamp,
    ) -> Self {
        let entries = ordered
            .iter()
            .map(|entry| (entry.connection.id.as_str().into(), Arc::clone(entry)))
            .collect();
        // Without vanished connections, so that a process that starts with these definitions has
        // the same hash.
        let there = ordered.iter().filter(|entry| entry.is_defined());
        let hash = fingerprint::fingerprint(there.map(|entry| &**entry));
        Self {
            entries,
            ordered,
            generation,
            ceilings: Ceilings::default(),
            connectors: Vec::new(),
            hash,
            compiled,
        }
    }

    /// Returns the same generation, with the ceilings that its definitions were checked against.
    #[must_use]
    pub fn with_ceilings(self, ceilings: Ceilings) -> Self {
        Self { ceilings, ..self }
    }

    /// Returns the same generation, with the connectors that its definitions could refer to.
    #[must_use]
    pub fn with_connectors(self, connectors: Vec<Arc<Connector>>) -> Self {
        Self { connectors, ..self }
    }

    /// Returns the entry of this id, also if it is soft-deleted.
    pub fn find(&self, id: &str) -> Option<&Arc<ConnectionEntry>> {
        self.entries.get(id)
    }

    /// Returns all entries in the order of the definitions. Those that vanished come last.
    pub fn entries(&self) -> &[Arc<ConnectionEntry>] {
        &self.ordered
    }

    /// Returns the keys of all live entries.
    pub fn live_keys(&self) -> HashSet<u64> {
        let live = self.ordered.iter().filter(|entry| entry.is_live());
        live.map(|entry| entry.key).collect()
    }

    /// Returns the number of the generation. It increases with each publication.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the hash of the definitions, as twelve hexadecimal digits. It is the same in every
    /// process with the same definitions. The values of credentials, `headers` and `extra_params`
    /// are not part of it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the largest limits that the definitions of this generation could set.
    pub fn ceilings(&self) -> Ceilings {
        self.ceilings
    }

    /// Returns the connectors that the definitions of this generation could refer to, in the order
    /// of their slugs.
    pub fn connectors(&self) -> &[Arc<Connector>] {
        &self.connectors
    }

    /// Returns the time at which the snapshot was created.
    pub fn compiled(&self) -> Timestamp {
        self.compiled
    }
}

/// Hashes connection ids. All ids in the table are the operator's, so an agent cannot cause
/// collisions and a keyed hash is not needed. Every request does one lookup.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(26);
        }
    }
}

fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    // A number only has to be unique, so no ordering with other memory is needed.
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// Holds the current snapshot.
pub struct PublishedSnapshot(ArcSwap<Snapshot>);

impl PublishedSnapshot {
    /// Publishes the first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// Replaces the snapshot. Requests that have loaded the old one keep it until their end.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// Returns the current snapshot.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        // A guard is cheaper than a clone of the `Arc`, whose reference count all workers would
        // write.
        self.0.load()
    }
}
