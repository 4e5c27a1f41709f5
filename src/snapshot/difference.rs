//! Compares two generations.

use super::{ConnectionEntry, Snapshot};
use crate::domain::changes::{ChangedConnection, Changes};

impl Snapshot {
    /// Returns the changes from this generation to `next`.
    pub fn changes(&self, next: &Self) -> Changes {
        let mut changes = Changes::default();
        for entry in next.entries() {
            let id = entry.connection.id.clone();
            let before = self.find(id.as_str());
            match (
                before.filter(|before| before.is_defined()),
                entry.is_defined(),
            ) {
                (None, true) => changes.added.push(id),
                (Some(_), false) => changes.removed.push(id),
                // The connection vanished in an earlier generation.
                (None, false) => {}
                (Some(before), true) => {
                    let fields = before.connection.changed_fields(&entry.connection);
                    if !fields.is_empty() {
                        changes.changed.push(ChangedConnection { id, fields });
                    }
                }
            }
        }
        changes
    }
}

impl ConnectionEntry {
    /// Returns whether the definition still exists.
    pub(super) fn is_defined(&self) -> bool {
        self.vanished.is_none()
    }
}
