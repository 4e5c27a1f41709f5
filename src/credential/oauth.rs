//! OAuth 2.0 client credentials (RFC 6749 §4.4). A token is fetched once for all waiting requests,
//! refreshed in the background, and replaced after a 401.
//!
//! [`Grants`] finds the [`Grant`] of a credential. [`Grant`] is the state machine of its tokens:
//! read its module first. A token request is written by `request`, sent by `endpoint` and counted
//! by `requester`. `response` parses the response, `state` holds everything except the current
//! token, and `reporter` writes to the problem log. `client_auth_probe` serves `egressd probe`. All
//! numbers are in `policy`.
//!
//! Invariants: tokens exist in memory only and are wiped when dropped. An agent receives nothing
//! that a token endpoint sends, except the kind of a failure.

mod client_auth_probe;
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
