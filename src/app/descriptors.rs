//! File descriptors: as many as the system lets us have, and enough to begin with.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Pipes, of two descriptors each, that have to be there before anything is started: without a few descriptors tokio panics where it would begin to hear signals.
const SPARE_PIPES: usize = 8;

/// Raises the limit as far as it may be raised without a right, and fails if there is next to nothing left. A thousand, which is what many systems begin with, are
/// used up by half as many agents, for each has an upstream socket too.
pub fn claim_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it is refused, what there is has to do.
    let _as_before = setrlimit(Resource::Nofile, raised);
    let spare: io::Result<Vec<_>> = std::iter::repeat_with(io::pipe).take(SPARE_PIPES).collect();
    spare.map(drop)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        // F-163
        super::claim_descriptors().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
