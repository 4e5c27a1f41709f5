//! OAuth 2.0 client credentials (RFC 6749 §4.4): tokens, fetched once for all who wait, refreshed in the background, renewed after a 401.
//!
//! [`Grants`] finds the [`Grant`] of a credential; [`Grant`] holds its token. The way of one token request: `request` writes it, `endpoint` sends it, `response`
//! reads the answer, `flight` enters it in the state of the `grant`, and `reporter` tells operators. All numbers are in `policy`.
//!
//! Invariants: tokens live in memory only and are wiped when dropped; nothing that a token endpoint sends reaches an agent but a class of reason.

mod endpoint;
mod flight;
mod grant;
mod grants;
mod policy;
mod reporter;
mod request;
pub mod response;
mod status;
mod token;

pub use grant::{AcquiredToken, Grant};
pub use grants::{Grants, prefetch_tokens};
pub use status::{GrantStatus, LastFailure};
pub use token::Token;

#[cfg(test)]
mod tests;
