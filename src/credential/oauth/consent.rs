//! Grants that a person has consented to (RFC 6749 §4.1 and §6). `serve` performs the refresh
//! token grant only; `egressd login` obtains the consent.
//!
//! `ConsentSource` holds the state of one grant (`memory`, `shared`), and adopts the versions that
//! other processes save. `refresh` obtains a token: it reserves space in the token store, spends
//! the refresh token, saves the answer and only then uses it; `later` saves an answer that could
//! not be saved at once.
//!
//! `request`, `answer` and `scopes` are pure, and are also used by `egressd login`.
//!
//! Invariants: a refresh token that is accepted once is sent only with a reservation in the token
//! store, and one refresh token is sent by one process at a time. No refresh token is sent to an
//! upstream, logged or printed.

pub mod answer;
mod endpoint;
mod later;
mod memory;
mod observation;
mod refresh;
pub mod request;
pub mod scopes;
mod shared;
mod source;
mod spend_gate;
mod status;

pub(super) use shared::SharedMemories;
pub(super) use source::{ConsentSource, SourceParts};
pub use status::{ConnectionStatus, StatusName};

#[cfg(test)]
mod tests;
