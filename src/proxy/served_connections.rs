//! The connections of one generation that a listener serves. To its agents, others do not exist.

use std::sync::Arc;

use crate::domain::{ConnectionId, ListenerScope};
use crate::snapshot::{ConnectionEntry, Snapshot};

/// The connections of one generation, as far as a listener serves them.
#[derive(Clone, Copy)]
pub(super) struct ServedConnections<'s> {
    scope: &'s ListenerScope,
    snapshot: &'s Snapshot,
}

impl<'s> ServedConnections<'s> {
    pub(super) fn new(scope: &'s ListenerScope, snapshot: &'s Snapshot) -> Self {
        Self { scope, snapshot }
    }

    /// Returns the number of the generation.
    pub(super) fn generation(self) -> u64 {
        self.snapshot.generation()
    }

    /// Returns the id of the connection that is mounted at the root of the listener, if there is
    /// one. The connection need not exist.
    pub(super) fn mounted_id(self) -> Option<&'s str> {
        let id = self.scope.mounted_id();
        id.map(ConnectionId::as_str)
    }

    /// Returns the connection of this id, even if it is soft-deleted.
    pub(super) fn find(self, id: &str) -> Option<&'s Arc<ConnectionEntry>> {
        self.snapshot.find(id).filter(|_| self.scope.serves(id))
    }

    /// Returns the connection of this id, unless it is soft-deleted.
    pub(super) fn find_live(self, id: &str) -> Option<&'s Arc<ConnectionEntry>> {
        self.find(id).filter(|entry| entry.is_live())
    }

    /// Returns the connections that agents may use: those that are neither soft-deleted nor
    /// disabled.
    pub(super) fn usable(self) -> impl Iterator<Item = &'s Arc<ConnectionEntry>> {
        self.snapshot.entries().iter().filter(move |entry| {
            let connection = &entry.connection;
            entry.is_live() && connection.enabled && self.scope.serves(connection.id.as_str())
        })
    }
}
