//! OAuth 2.0 client credentials (RFC 6749 §4.4): tokens, fetched once for all who wait, refreshed in the background, renewed after a 401.
//!
//! [`Grants`] finds the [`Grant`] of a credential. [`Grant`] is the state machine of its tokens: read
//! its module first. A token request is written by `request`, sent by `endpoint` and counted by
//! `requester`; `response` parses what comes back, `state` keeps what is known beside the token, and
//! `reporter` writes to the problem log. All numbers are in `policy`.
//!
//! Invariants: tokens live in memory only and are wiped when dropped; nothing that a token endpoint sends reaches an agent but a class of reason.

mod endpoint;
mod grant;
mod grants;
mod policy;
mod reporter;
mod request;
mod requester;
pub mod response;
mod state;
mod status;
mod token;

pub use grant::Grant;
pub use grants::{Grants, prefetch_tokens};
pub use status::{GrantStatus, LastFailure};
pub use token::{AcquiredToken, Token};

#[cfg(test)]
mod tests;
