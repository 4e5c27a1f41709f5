//! The only module that opens sockets towards upstreams.
//!
//! Its interface is [`Client::exchange`]: a request goes in, a response comes out. `resolver` looks
//! up names, [`address_guard`] checks the addresses (by the ranges in [`crate::domain::address`]),
//! `dial` connects to exactly the address that was checked, and `http1` and `http2` implement the
//! two protocols. The module does not use routes or secrets: credentials arrive as header fields
//! that are marked sensitive.

pub mod address_guard;
mod body;
mod client;
mod counted_tcp;
mod descriptor_reserve;
pub mod dial;
mod endpoint;
pub mod failure;
mod frame_budget;
pub mod head;
#[cfg(fuzzing)]
pub mod http1;
#[cfg(not(fuzzing))]
#[expect(unreachable_pub, reason = "public for its fuzz target only")]
mod http1;
pub mod http2;
mod pool;
pub mod resolver;
pub mod tls;
mod tls_stream;

pub use body::{PendingUpload, UpstreamBody};
pub use client::{Client, PoolLimits, Upstreams};
pub use descriptor_reserve::DescriptorReserve;
pub use dial::probe::{ProbeError, ProbeStep, ProbeStepKind};
pub use dial::{DialTarget, DialTimeouts, Dialer, NegotiatedSocket};
pub use endpoint::Endpoint;
pub use failure::Failure;
pub(crate) use head::{DEFAULT_USER_AGENT, expects_body};
pub use head::{Field, Framing, RequestHead};
pub use pool::{ExchangeOptions, RequestSlot, UpstreamPool};
pub use resolver::ResolverSettings;
pub use tls::Trust;

#[cfg(test)]
mod tests;
