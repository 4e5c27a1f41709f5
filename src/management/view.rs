//! What the API shows. Its types have no place for a secret: where a definition holds one, there is `Redacted`, which holds nothing.
//!
//! Invariant kept here: no value is built from a secret's bytes, nor from how many there are. What an operator may have put a secret into, though it is no place
//! for one, is judged by its name in `disclosure`, and hidden where in doubt.

mod auth;
mod connection;
mod details;
mod disclosure;
mod scalar;
mod sources;
mod status;
mod types;

pub(super) use connection::{ConnectionView, LiveState};
pub(super) use scalar::{to_timestamp, whole_milliseconds};
pub(super) use status::RpcStatus;
pub(super) use types::{ConnectionType, HTTP, TYPE_NAME};

#[cfg(test)]
pub(super) mod tests;
