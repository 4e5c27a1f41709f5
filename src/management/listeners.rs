//! The listeners for agents, as operators see them.

use super::names::first_names;
use crate::domain::{ConnectionId, ListenerScope};

/// One address for agents.
#[derive(Clone, Debug)]
pub struct ListenerOverview {
    /// The address that is bound: `host:port`, or `unix:path`.
    pub address: String,
    /// The connections that agents reach there.
    pub scope: ListenerScope,
}

impl ListenerOverview {
    /// Describes the connections that agents reach.
    pub(super) fn served(&self) -> String {
        match &self.scope {
            ListenerScope::All => "every connection".to_owned(),
            ListenerScope::Only(ids) => {
                first_names(&ids.iter().map(ConnectionId::as_str).collect::<Vec<_>>())
            }
            ListenerScope::Mounted(id) => format!("{id}, at the root"),
        }
    }
}

/// Returns the listeners if one of them does not serve every connection. Otherwise there is nothing
/// to tell apart.
pub(super) fn distinct_listeners(all: &[ListenerOverview]) -> &[ListenerOverview] {
    let is_distinct = all.iter().any(|one| one.scope != ListenerScope::All);
    if is_distinct { all } else { &[] }
}
