//! Activity of one connection as the management API shows it: sums over all workers, since the
//! process started.

use jiff::Timestamp;

/// Activity of one connection. No count decreases while the process lives, not even when the
/// connection is reloaded or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// The time when the last exchange that was sent to the upstream ended.
    pub last_used: Option<Timestamp>,
    /// Exchanges that ended as `RequestOutcome::Forwarded`.
    pub forwarded: u64,
    /// Exchanges that egressd refused.
    pub refused: u64,
    /// Exchanges that the agent cancelled.
    pub agent_cancelled: u64,
    /// Exchanges that failed because of the upstream.
    pub upstream_failed: u64,
    /// Body bytes that agents sent.
    pub request_bytes: u64,
    /// Body bytes that were sent to agents.
    pub response_bytes: u64,
    /// Refusals and failures, one entry per code, in no particular order.
    pub faults: Vec<FaultStats>,
}

/// The exchanges of one connection that ended with one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultStats {
    /// The code, as in `X-Egressd-Error`.
    pub code: &'static str,
    /// The number of these exchanges.
    pub count: u64,
    /// The time when the last exchange with the code ended.
    pub last: Timestamp,
}

impl ConnectionStats {
    /// Returns the number of all exchanges that have ended.
    pub fn exchanges(&self) -> u64 {
        self.forwarded + self.refused + self.agent_cancelled + self.upstream_failed
    }
}
