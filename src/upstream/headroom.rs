//! The descriptors that upstream sockets must leave free: for agents that may still connect, for
//! management, and for reloads.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The limit for dials.
#[derive(Clone, Debug)]
pub struct Headroom {
    /// The first descriptor that is reserved for management and reloads.
    below: usize,
    /// The free slots for agents' sockets.
    places: Arc<Semaphore>,
}

impl Headroom {
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
    pub(super) fn admits(&self, socket: &impl AsRawFd) -> bool {
        let in_use = usize::try_from(socket.as_raw_fd()).unwrap_or(usize::MAX);
        in_use < self.below.saturating_sub(self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::Headroom;
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
    fn room_is_left_for_every_agent_that_may_still_come() {
        // F-264, F-270
        let places = Arc::new(Semaphore::new(40));
        let headroom = Headroom::new(100, &places);
        assert!(headroom.admits(&Numbered(59)));
        assert!(!headroom.admits(&Numbered(60)));
        // Slots in use no longer count: their sockets have their descriptors already.
        let _come = Arc::clone(&places).try_acquire_many_owned(30).unwrap();
        assert!(headroom.admits(&Numbered(89)));
        assert!(!headroom.admits(&Numbered(90)));
    }
}
