//! The connections that agents reach through one listener.

use std::collections::BTreeSet;

use super::ConnectionId;

/// The connections that a listener serves, and where agents see them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenerScope {
    /// Every connection, each under `/<id>`.
    All,
    /// These connections, each under `/<id>`. For agents, no other connection exists.
    Only(BTreeSet<ConnectionId>),
    /// One connection, at the root: the whole path belongs to it.
    Mounted(ConnectionId),
}

impl ListenerScope {
    /// Returns whether agents may use the connection with this id.
    pub fn serves(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
            Self::Mounted(mounted) => mounted.as_str() == id,
        }
    }

    /// Returns the id of the connection that is mounted at the root, if there is one.
    pub fn mounted_id(&self) -> Option<&ConnectionId> {
        match self {
            Self::Mounted(id) => Some(id),
            Self::All | Self::Only(_) => None,
        }
    }

    /// Returns the ids of the connections under `/<id>`, unless it is every connection.
    pub fn listed_ids(&self) -> Option<Box<[ConnectionId]>> {
        match self {
            Self::Only(ids) => Some(ids.iter().cloned().collect()),
            Self::All | Self::Mounted(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionId, ListenerScope};

    #[test]
    fn a_scope_serves_exactly_its_connections() {
        let id = |text| ConnectionId::parse(text).unwrap();
        let (crm, erp) = (id("crm"), id("erp"));
        let only = ListenerScope::Only([crm.clone()].into());
        let mounted = ListenerScope::Mounted(crm.clone());
        for scope in [&only, &mounted] {
            assert!(scope.serves("crm") && !scope.serves("erp") && !scope.serves(""));
        }
        assert!(ListenerScope::All.serves(erp.as_str()));
        assert_eq!(mounted.mounted_id(), Some(&crm));
        assert_eq!(only.mounted_id(), None);
        assert_eq!(only.listed_ids(), Some([crm].into()));
        assert_eq!(mounted.listed_ids(), None);
    }
}
