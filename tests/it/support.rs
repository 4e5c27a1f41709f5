//! The world that a test acts in: an upstream that records every byte, a token endpoint that says what a test
//! tells it, an agent on a raw socket, and egressd between them.
//!
//! All of it is blocking and on loopback, port 0. Nothing here sleeps in place of an event: what must happen first is awaited, and
//! a wait that takes longer than [`PATIENCE`] fails the test.

pub(crate) mod agent;
pub(crate) mod certs;
pub(crate) mod confined;
pub(crate) mod connection;
pub(crate) mod gate;
pub(crate) mod h2;
pub(crate) mod h2_echo;
pub(crate) mod limited;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod mount;
pub(crate) mod program;
pub(crate) mod records;
pub(crate) mod reply;
pub(crate) mod sidecar;
pub(crate) mod token_answer;
pub(crate) mod token_endpoint;
pub(crate) mod upstream;
pub(crate) mod wire;

pub(crate) use agent::Agent;
pub(crate) use confined::Confined;
pub(crate) use connection::connection;
pub(crate) use gate::Gate;
pub(crate) use metrics::{metrics, scrape_until, scrape_until_contains};
pub(crate) use mount::MountedVolume;
pub(crate) use program::Program;
pub(crate) use sidecar::Sidecar;
pub(crate) use token_answer::TokenAnswer;
pub(crate) use token_endpoint::TokenEndpoint;
pub(crate) use upstream::Upstream;

/// A deadline, in seconds, that some handshakes meet even on a machine that is building, and that
/// is short enough to wait for in a test.
pub(crate) const DEADLINE: u64 = 4;

/// The longest that anything is waited for. Far above what any claim needs: only a hang reaches it.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
