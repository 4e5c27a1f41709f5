//! The environment of a test: an upstream that records every byte, a token endpoint with scripted
//! responses, an agent on a raw socket, and egressd between them.
//!
//! Everything is blocking and on loopback, with ports that the system chooses. Helpers wait for
//! events and never sleep instead. A wait that takes longer than [`PATIENCE`] fails the test.

pub(crate) mod agent;
pub(crate) mod certs;
pub(crate) mod confined;
pub(crate) mod connection;
pub(crate) mod consent_provider;
pub(crate) mod gate;
pub(crate) mod h2;
pub(crate) mod h2_echo;
pub(crate) mod help;
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
pub(crate) use consent_provider::ConsentProvider;
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

/// The time limit of every wait. It is far longer than any wait needs, so only a hang reaches it.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
