//! What tells two generations apart: ids and field names, never a value.

use super::ConnectionId;

/// The connections by what a reload did to them, each in the order of its generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New, or live again.
    pub added: Vec<ConnectionId>,
    /// No longer there.
    pub removed: Vec<ConnectionId>,
    /// There before and after.
    pub changed: Vec<ChangedConnection>,
}

/// A connection that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedConnection {
    /// Its id.
    pub id: ConnectionId,
    /// The names of the fields, as in a definition.
    pub fields: Vec<&'static str>,
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}
