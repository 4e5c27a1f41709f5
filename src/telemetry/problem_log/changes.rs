//! The changes that a reload made, as the fields and the sentence of its event.

use std::fmt;

use serde::Serializer;
use serde::ser::SerializeMap as _;

use super::parts::{joined_names, shown_ids};
use crate::domain::{Changes, ConnectionId};

/// The maximum number of connections that the fields of a line list for each kind of change.
const MAX_LISTED: usize = 100;

pub(super) fn serialize_changes<S: Serializer>(
    changes: &Changes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let ids = |ids: &[ConnectionId]| -> Vec<String> {
        ids.iter()
            .take(MAX_LISTED)
            .map(ToString::to_string)
            .collect()
    };
    let changed = changes.changed.iter().take(MAX_LISTED);
    let changed = changed.map(|one| format!("{}: {}", one.id, one.fields.join(", ")));
    let mut map = serializer.serialize_map(Some(3))?;
    map.serialize_entry("added", &ids(&changes.added))?;
    map.serialize_entry("removed", &ids(&changes.removed))?;
    map.serialize_entry("changed", &changed.collect::<Vec<_>>())?;
    map.end()
}

/// Displays changes as `added a; changed b (base_url)`.
pub(super) struct ChangeSummary<'a>(pub(super) &'a Changes);

impl fmt::Display for ChangeSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changes {
            added,
            removed,
            changed,
        } = self.0;
        let changed = changed.iter();
        let changed = changed.map(|one| format!("{} ({})", one.id, one.fields.join(", ")));
        let kinds = [
            ("added", shown_ids(added)),
            ("removed", shown_ids(removed)),
            ("changed", joined_names(changed)),
        ];
        let kinds = kinds.iter().filter(|(_, shown)| !shown.is_empty());
        let kinds: Vec<String> = kinds
            .map(|(kind, shown)| format!("{kind} {shown}"))
            .collect();
        if kinds.is_empty() {
            return f.write_str("nothing changed");
        }
        f.write_str(&kinds.join("; "))
    }
}
