//! The JSON that the API returns. Its types cannot hold a secret: each field of a secret is a
//! `Redacted`, which contains nothing.
//!
//! Invariant: no value is derived from the bytes of a secret or from their number. Operators may
//! put a secret into a field that is not meant for one. `disclosure` decides by the field's name if
//! its value is shown, and hides it if in doubt.

mod auth;
mod connection;
mod connector;
mod consent;
mod details;
mod disclosure;
mod scalar;
mod sources;
mod status;
mod types;

pub(super) use connection::{ConnectionView, LiveState, TOOLS_STATUS};
pub(crate) use connector::ConnectorView;
pub(super) use connector::availability;
pub(super) use scalar::{to_timestamp, whole_milliseconds};
pub(super) use status::RpcStatus;
pub(super) use types::{ConnectionType, HTTP, TYPE_NAME};

#[cfg(test)]
pub(super) mod tests;
