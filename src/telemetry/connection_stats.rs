//! The counts of one connection, for people: sums over all workers, since the start of the process.

use jiff::Timestamp;

/// The counts of one connection. They never fall while the process lives, whatever a reload does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// When a request last went up to the upstream.
    pub last_used: Option<Timestamp>,
    /// Exchanges that the upstream answered to the end.
    pub forwarded: u64,
    /// Exchanges that egressd refused.
    pub refused: u64,
    /// Exchanges that the agent left.
    pub agent_cancelled: u64,
    /// Exchanges that failed by the upstream's fault.
    pub upstream_failed: u64,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
    /// Refusals and failures, one entry a code, in no particular order.
    pub faults: Vec<FaultStats>,
}

/// How often a request ended with one code, and when last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultStats {
    /// As in `X-Egressd-Error`.
    pub code: &'static str,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

impl ConnectionStats {
    /// All exchanges that have ended.
    pub fn exchanges(&self) -> u64 {
        self.forwarded + self.refused + self.agent_cancelled + self.upstream_failed
    }
}
