//! OAuth 2.0 client credentials (RFC 6749 §4.4), and grants that a person has consented to. A
//! token is fetched once for all waiting requests, refreshed in the background, and replaced
//! after a 401.
//!
//! [`Grants`] finds the [`Grant`] of a credential. [`Grant`] is the state machine of its tokens:
//! read its module first. `state` holds everything except the current token, and `reporter` writes
//! to the problem log. All numbers are in `policy`.
//!
//! The source of the tokens differs. With client credentials, `requester` counts the requests of
//! `endpoint`, which `request` writes; `response` parses the response. `client_auth_probe` serves
//! `egressd probe`. [`consent`] is the other source: `consent_grant` has the methods of a
//! [`Grant`] that depend on it, and `consent_watch` looks at the token store. Both send their
//! requests with `exchange`, and parse JSON with `json_object`.
//!
//! Invariants: tokens are wiped from memory when dropped, and only those of a consent are stored.
//! An agent receives nothing that a token endpoint sends, except the kind of a failure.

mod client_auth_probe;
pub mod consent;
mod consent_grant;
mod consent_watch;
mod endpoint;
pub mod exchange;
mod grant;
mod grants;
mod json_object;
mod policy;
mod reporter;
pub mod request;
mod requester;
pub mod response;
mod state;
mod status;
mod token;

pub use consent::{ConnectionStatus, StatusName};
pub use grant::Grant;
pub use grants::{Grants, prefetch_tokens};
pub use status::{GrantStatus, LastFailure};
pub use token::{AcquiredToken, Token};

#[cfg(test)]
mod tests;
