//! The only room that opens sockets towards upstreams.
//!
//! One narrow door: a request's head and body go in, a response's head and body come out ([`Client::exchange`]). Behind it: names are
//! resolved and judged (`resolver`, [`crate::domain::address`]), sockets are dialled to the very address that was judged (`dial`), and the two
//! protocols are spoken (`http1`, `http2`). It does not know what a route is and never sees a secret as such: credentials
//! arrive as fields that are marked sensitive.

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

pub use body::{PendingUpload, UpstreamBody};
pub use client::{Client, PoolLimits, Upstreams};
pub use descriptor_reserve::DescriptorReserve;
pub use dial::probe::{ProbeError, ProbeStep, ProbeStepKind};
pub use dial::{DialTimeouts, Dialer, NegotiatedSocket, Target};
pub use endpoint::Endpoint;
pub use failure::Failure;
pub(crate) use head::{DEFAULT_USER_AGENT, expects_body};
pub use head::{Field, Framing, RequestHead};
pub use pool::{ExchangeLimits, RequestSlot, UpstreamPool};
pub use resolver::ResolverSettings;
pub use tls::Trust;

#[cfg(test)]
mod tests;
