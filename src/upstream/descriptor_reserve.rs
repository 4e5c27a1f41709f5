//! The descriptors that upstream sockets must leave free: for agents that may still connect, for
//! management, and for reloads.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The limit on descriptors that dials may use.
#[derive(Clone, Debug)]
pub struct DescriptorReserve {
    /// The first descriptor that is reserved for management and reloads.
    below: usize,
    /// The free slots for agents' sockets.
    places: Arc<Semaphore>,
}

impl DescriptorReserve {
    /// Creates the limit. Descriptors under `below` are for agents and upstreams; `places` are the
    /// slots of agents.
    pub fn new(below: usize, places: &Arc<Semaphore>) -> Self {
        Self {
            below,
            places: Arc::clone(places),
        }
    }

    /// Returns whether there is room for this socket. A new socket gets the lowest free number
    /// (open(2)), so its number shows how many descriptors are in use.
    pub(super) fn has_room_for(&self, socket: &impl AsRawFd) -> bool {
        let in_use = usize::try_from(socket.as_raw_fd()).unwrap_or(usize::MAX);
        in_use < self.below.saturating_sub(self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::DescriptorReserve;
    use std::os::fd::{AsRawFd, RawFd};
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    struct Numbered(RawFd);

    impl AsRawFd for Numbered {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }

    #[test]
    fn descriptors_stay_free_for_every_free_agent_slot() {
        // F-264, F-270
        let places = Arc::new(Semaphore::new(40));
        let descriptor_reserve = DescriptorReserve::new(100, &places);
        assert!(descriptor_reserve.has_room_for(&Numbered(59)));
        assert!(!descriptor_reserve.has_room_for(&Numbered(60)));
        // Slots in use no longer count: their sockets have their descriptors already.
        let _come = Arc::clone(&places).try_acquire_many_owned(30).unwrap();
        assert!(descriptor_reserve.has_room_for(&Numbered(89)));
        assert!(!descriptor_reserve.has_room_for(&Numbered(90)));
    }
}
