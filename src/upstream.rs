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
pub mod dial;
mod endpoint;
pub mod failure;
mod frame_watch;
pub mod head;
mod headroom;
pub mod http1;
pub mod http2;
mod lane;
pub mod resolver;
pub mod tls;

pub use body::{Uploading, UpstreamBody};
pub use client::{Bounds, Client, PoolTerms, Upstreams};
pub use dial::probe::{Broken, Step, StepKind};
pub use dial::{DialTimes, Dialer, Dialled, Target};
pub use endpoint::Endpoint;
pub use failure::Failure;
pub(crate) use head::expects_body;
pub use head::{Field, Framing, RequestHead};
pub use headroom::Headroom;
pub use lane::{Lane, Slot};
pub use resolver::Names;
pub use tls::Trust;

#[cfg(test)]
mod tests;
