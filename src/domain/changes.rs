//! The differences between two generations: ids and field names, never a value.

use super::ConnectionId;

/// The changed connections, grouped by the kind of change. Each group is in the order of its
/// generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New connections, and those whose definition has come back.
    pub added: Vec<ConnectionId>,
    /// Connections whose definition has vanished.
    pub removed: Vec<ConnectionId>,
    /// Connections whose definition differs.
    pub changed: Vec<ChangedConnection>,
}

/// A connection with a changed definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedConnection {
    /// The id of the connection.
    pub id: ConnectionId,
    /// The names of the changed fields, as in a definition.
    pub fields: Vec<&'static str>,
}

impl Changes {
    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}
