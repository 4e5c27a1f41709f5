//! File descriptors: raises the limit, checks that there are enough to start, and divides the rest.
//!
//! Agents choose how many sockets they open, so without a division they could take the descriptors
//! that management, reloads and dials need. Half of what the process does not need for itself is
//! for agents' sockets: an exchange on an agent's socket needs an upstream socket as well.
//! Descriptors for management and reloads are reserved first, so they reduce both halves.

use std::io;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::server::MANAGEMENT_SOCKETS;
use crate::telemetry::{Event, ProblemLog};
use crate::upstream::DescriptorReserve;

/// The number of pipes, of two descriptors each, that must be free before the start. Without a few
/// free descriptors, tokio panics when it registers signals.
const SPARE_PIPES: usize = 8;

/// Raises the soft limit to the hard limit, which needs no privilege, and fails if almost no
/// descriptors are free. The soft limit of many systems is 1024; 512 agents use that up, because
/// each exchange needs an upstream socket as well.
pub fn claim_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // If the kernel refuses, the process runs with the limit that it has.
    let _unchanged = setrlimit(Resource::Nofile, raised);
    let spare: io::Result<Vec<_>> = std::iter::repeat_with(io::pipe).take(SPARE_PIPES).collect();
    spare.map(drop)
}

/// Descriptors that each runtime opens: two epoll instances, one to wake it and one for signals.
const PER_RUNTIME: usize = 4;
/// The number of runtimes in addition to those of the workers: one for management and one for
/// credentials.
const OTHER_RUNTIMES: usize = 2;
/// Other descriptors that the process opens after the start: file watches and pipes.
const LATER_FILES: usize = 6;
/// The most descriptors that are reserved for files (a reload, a scrape) and for name lookups.
const MOST_FOR_FILES: usize = 16;
/// The share of all descriptors that is reserved for management, and again for files: a sixteenth.
const PART_KEPT_BACK: usize = 16;
/// The least that is reserved for each of the two, however low the limit is.
const LEAST_KEPT_BACK: usize = 4;

/// The number of descriptors that each kind of socket may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorShares {
    /// The descriptor limit of the process.
    pub(super) limit: usize,
    /// The number for agents' sockets.
    pub(super) agents: usize,
    /// The number for operators' sockets.
    pub(super) management: usize,
    /// The lowest descriptor number that neither agents nor upstreams may use.
    pub(super) kept_back_from: usize,
}

/// The numbers that decide how many descriptors the process needs for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct DescriptorNeeds {
    /// The number of threads that serve agents.
    pub(super) workers: usize,
    /// The number of agents' listeners.
    pub(super) proxy_listeners: usize,
    /// The number of operators' listeners.
    pub(super) management_listeners: usize,
    /// The setting `proxy.max_connections`.
    pub(super) max_connections: usize,
}

impl DescriptorShares {
    /// Divides the descriptor limit of this process. Call it after the listeners are bound and
    /// before the threads start, because the open descriptors are counted.
    pub(super) fn for_process(need: DescriptorNeeds) -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        // `None` means unlimited.
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        // Without /proc: an estimate for a process that a shell started, with its listeners.
        let open = std::fs::read_dir("/proc/self/fd").map_or(32, Iterator::count);
        Self::new(limit, open, need)
    }

    /// Returns the semaphore for agents' sockets and the descriptors that dials must leave free.
    /// Logs a warning if there is room for fewer agents than the settings allow.
    pub(super) fn agent_slots(
        self,
        wanted: usize,
        problems: &ProblemLog,
    ) -> (Arc<Semaphore>, DescriptorReserve) {
        if self.agents < wanted {
            problems.report(Event::FewDescriptors {
                limit: self.limit,
                sockets: self.agents,
                wanted,
            });
        }
        let slots = Arc::new(Semaphore::new(self.agents));
        let descriptor_reserve = DescriptorReserve::new(self.kept_back_from, &slots);
        (slots, descriptor_reserve)
    }

    fn new(limit: usize, open: usize, need: DescriptorNeeds) -> Self {
        let kept_back = |most: usize| (limit / PART_KEPT_BACK).clamp(LEAST_KEPT_BACK, most);
        let management = kept_back(MANAGEMENT_SOCKETS);
        let runtimes = need.workers.saturating_add(OTHER_RUNTIMES);
        // Each listener may hold an accepted socket that waits for a free slot, and each worker has
        // its own copy of a Unix listener.
        let listening =
            need.workers.saturating_mul(need.proxy_listeners * 2) + need.management_listeners * 2;
        let of_process = open
            .saturating_add(runtimes.saturating_mul(PER_RUNTIME))
            .saturating_add(LATER_FILES)
            .saturating_add(listening);
        let kept_back_from = limit.saturating_sub(management + kept_back(MOST_FOR_FILES));
        let half = kept_back_from.saturating_sub(of_process) / 2;
        Self {
            limit,
            // With next to no descriptors, the process still serves one agent at a time.
            agents: need.max_connections.min(half.max(1)),
            management,
            kept_back_from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DescriptorNeeds, DescriptorShares};
    use rustix::process::{Resource, getrlimit};

    fn divided(limit: usize) -> DescriptorShares {
        let need = DescriptorNeeds {
            workers: 2,
            proxy_listeners: 1,
            management_listeners: 1,
            max_connections: 4096,
        };
        DescriptorShares::new(limit, 20, need)
    }

    #[test]
    fn agents_get_half_of_the_descriptors_that_are_not_reserved() {
        // F-264: 20 are open, four runtimes open 16 more, and 12 are for the process and its
        // listeners.
        let few = divided(256);
        assert_eq!((few.management, few.kept_back_from), (16, 224));
        assert_eq!(few.agents, (224 - 48) / 2);
        let many = divided(1 << 20);
        assert_eq!((many.agents, many.management), (4096, 64));
        assert_eq!(divided(usize::MAX).agents, 4096);
        // Even with next to no descriptors the process starts.
        for limit in 0..64 {
            assert!(divided(limit).agents >= 1);
        }
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        // F-163
        super::claim_descriptors().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
